//! The numbers of a flow that was fitted to a density without rows.

use std::time::Instant;

use anyhow::Result;
use flows_core::tensor::cast;
use flows_core::{Context, Flow, Purpose, Real, stream};
use flows_inference::{LogNormaliser, Weighted};
use flows_report::Estimate;
use flows_report::record::OnTarget;

use super::{AUDIT_ROWS, round_trip};
use crate::CHUNK;
use crate::config::RunConfig;
use crate::density::Density;
use crate::error_account::{ErrorAccount, account};
use crate::rows::Rows;

/// Draws from the flow, whole chunks.
const DRAWS: usize = 25 * CHUNK;

/// Draws from the target, or, where there are none, of the flow, whose densities are timed.
const TARGET_DRAWS: usize = 50_000;

/// How a flow stands to a density that is known up to a constant.
#[derive(Debug)]
pub struct TargetEvaluation {
    /// E_q[log p~ - log q] in nats, at most log Z; `None` where draws lie outside of the support.
    pub evidence_bound: Option<Estimate>,
    /// Draws outside of the support of the density.
    pub zero_weights: usize,
    /// E_q[log q - log p~] + log Z in nats, where log Z is known and all draws lie in the support.
    pub reverse_kl: Option<Estimate>,
    /// Effective sample size of the weights w = p~/q as a fraction, (sum w)^2 / (n sum w^2).
    pub effective_sample_size: f64,
    /// Shape of the tail of the weights.
    pub pareto_k: Option<f64>,
    /// The logarithm of the mean weight.
    pub log_normaliser: LogNormaliser,
    /// log Z, where it is known.
    pub exact_log_normaliser: Option<f64>,
    /// E_p[log p - log q] in nats, over exact draws of the target, where there are any.
    pub forward_kl: Option<Estimate>,
    /// Largest distance of a coordinate of a draw from its image there and back.
    pub round_trip_error: f64,
    /// Network passes or field evaluations of a draw with its log-density.
    pub evaluations: f64,
    /// Rows a second.
    pub log_prob_rows_per_second: f64,
    /// Draws with their log-densities a second.
    pub sample_rows_per_second: f64,
    /// What a log-likelihood of a continuous flow is off by.
    pub account: Option<ErrorAccount>,
}

impl TargetEvaluation {
    /// As the summary of a run has it.
    #[must_use]
    pub fn record(&self) -> OnTarget {
        OnTarget {
            evidence_bound_nats: self.evidence_bound.map(|bound| bound.mean),
            evidence_bound_standard_error: self
                .evidence_bound
                .and_then(|bound| bound.known_error()),
            reverse_kl_nats: self.reverse_kl.map(|kl| kl.mean),
            reverse_kl_standard_error: self.reverse_kl.and_then(|kl| kl.known_error()),
            effective_sample_size: self.effective_sample_size,
            pareto_k: self.pareto_k,
            zero_weights: self.zero_weights as u64,
            log_normaliser_nats: self.log_normaliser.nats,
            log_normaliser_standard_error: self.log_normaliser.standard_error,
            exact_log_normaliser_nats: self.exact_log_normaliser,
            draws: DRAWS as u64,
        }
    }
}

/// Measures a flow against a density, with fresh draws of the flow and, where it has any, of the
/// density.
///
/// # Errors
/// When a computation fails or a log-density is not a number.
pub fn evaluate<E: Real>(
    flow: &mut Flow<E>,
    config: &RunConfig,
    density: &Density,
) -> Result<TargetEvaluation> {
    flow.bijector_mut().set_purpose(Purpose::Reporting)?;
    let clock = Instant::now();
    let target = density.target();
    let weighted = Weighted::draw(flow, target, DRAWS, &mut stream(config.seed, "evaluation"))?;
    let sample_rows_per_second = DRAWS as f64 / clock.elapsed().as_secs_f64();
    let log_z = density.log_normaliser();
    let truth = density.sample(TARGET_DRAWS, &mut stream(config.seed, "target"));
    let own = &weighted.draws[..TARGET_DRAWS * flow.dim()];
    let rows = truth.as_deref().unwrap_or(own);
    let clock = Instant::now();
    let log_q = flow.evaluate(&cast::<E>(rows), &Context::none())?.0;
    let log_prob_rows_per_second = TARGET_DRAWS as f64 / clock.elapsed().as_secs_f64();
    let forward_kl = match (&truth, log_z) {
        (Some(truth), Some(log_z)) => {
            let log_p = target.log_densities(truth)?;
            Some(Estimate::of(log_p.iter().zip(&log_q).map(|(p, q)| p - log_z - q)))
        }
        _ => None,
    };
    let weights = &weighted.log_weights;
    let zero_weights = weights.zeros();
    let evidence_bound =
        (zero_weights == 0).then(|| Estimate::of(weights.values().iter().copied()));
    let audit = Rows::new(rows.to_vec(), flow.dim()).first(AUDIT_ROWS);
    Ok(TargetEvaluation {
        evidence_bound,
        zero_weights,
        reverse_kl: evidence_bound
            .zip(log_z)
            .map(|(bound, log_z)| Estimate { mean: log_z - bound.mean, ..bound }),
        effective_sample_size: weights.effective_share(),
        pareto_k: weights.pareto_k(),
        log_normaliser: weights.log_normaliser(),
        exact_log_normaliser: log_z,
        forward_kl,
        round_trip_error: round_trip(flow, &audit)?,
        evaluations: weighted.work.evaluations() as f64 / (DRAWS / CHUNK) as f64,
        log_prob_rows_per_second,
        sample_rows_per_second,
        account: account(flow, config, &audit)?,
    })
}

//! The numbers of a flow that was fitted to a density without rows.

use std::time::Instant;

use anyhow::Result;
use flows_core::tensor::cast;
use flows_core::{Context, Flow, Purpose, Real, stream};
use flows_inference::{LogNormaliser, LogWeights, Weighted};
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
    /// What weights p~/q of its draws say.
    pub on_target: OnTarget,
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

/// What weights p~/q of draws of a flow q say of it and of log Z, of which the exact value may be known.
#[must_use]
pub fn on_target(weights: &LogWeights, exact: Option<f64>) -> OnTarget {
    let zero_weights = weights.zeros();
    let bound = (zero_weights == 0).then(|| Estimate::of(weights.values().iter().copied()));
    let bound_error = bound.and_then(|bound| bound.known_error());
    let LogNormaliser { nats, standard_error } = weights.log_normaliser();
    OnTarget {
        evidence_bound_nats: bound.map(|bound| bound.mean),
        evidence_bound_standard_error: bound_error,
        reverse_kl_nats: bound.zip(exact).map(|(bound, log_z)| log_z - bound.mean),
        reverse_kl_standard_error: exact.and(bound_error),
        effective_sample_size: weights.effective_share(),
        pareto_k: weights.pareto_k(),
        zero_weights: zero_weights as u64,
        log_normaliser_nats: nats,
        log_normaliser_standard_error: standard_error,
        exact_log_normaliser_nats: exact,
        draws: weights.values().len() as u64,
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
    let audit = Rows::new(rows.to_vec(), flow.dim()).first(AUDIT_ROWS);
    Ok(TargetEvaluation {
        on_target: on_target(&weighted.log_weights, log_z),
        forward_kl,
        round_trip_error: round_trip(flow, &audit)?,
        evaluations: weighted.work.evaluations() as f64 / (DRAWS / CHUNK) as f64,
        log_prob_rows_per_second,
        sample_rows_per_second,
        account: account(flow, config, &audit)?,
    })
}

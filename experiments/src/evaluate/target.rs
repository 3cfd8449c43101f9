//! The numbers of a flow that was fitted to a density without rows.

use std::time::Instant;

use anyhow::{Result, bail};
use flows_bench::targets::KnownTarget;
use flows_core::tensor::cast;
use flows_core::{Context, Flow, Purpose, Real, Stream, Tape, Target, Values, stream};
use flows_report::Estimate;
use flows_report::record::OnTarget;

use super::{AUDIT_ROWS, round_trip};
use crate::CHUNK;
use crate::config::RunConfig;
use crate::error_account::{ErrorAccount, account};
use crate::rows::Rows;

/// Draws from the flow, whole chunks.
const DRAWS: usize = 25 * CHUNK;

/// Draws from the target.
const TARGET_DRAWS: usize = 50_000;

/// How a flow stands to a density with a known normaliser.
#[derive(Debug)]
pub struct TargetEvaluation {
    /// E_q[log q - log p~] + log Z in nats.
    pub reverse_kl: Estimate,
    /// Effective sample size of the weights w = p~/q as a fraction, (sum w)^2 / (n sum w^2).
    pub effective_sample_size: f64,
    /// The logarithm of the mean weight.
    pub log_normaliser: Estimate,
    /// E_p[log p - log q] in nats, over exact draws of the target.
    pub forward_kl: Estimate,
    /// Largest distance of a coordinate of a draw of the target from its image there and back.
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
    pub fn record(&self, target: KnownTarget) -> OnTarget {
        OnTarget {
            reverse_kl_nats: self.reverse_kl.mean,
            reverse_kl_standard_error: self.reverse_kl.standard_error,
            effective_sample_size: self.effective_sample_size,
            log_normaliser_nats: self.log_normaliser.mean,
            log_normaliser_standard_error: self.log_normaliser.standard_error,
            exact_log_normaliser_nats: target.log_normaliser().nats,
            draws: DRAWS as u64,
        }
    }
}

/// Measures a flow against a target, with fresh draws of either.
///
/// # Errors
/// When a computation fails or a log-density is not a number.
pub fn evaluate<E: Real>(
    flow: &mut Flow<E>,
    config: &RunConfig,
    target: KnownTarget,
) -> Result<TargetEvaluation> {
    flow.bijector_mut().set_purpose(Purpose::Reporting)?;
    let clock = Instant::now();
    let (log_weights, evaluations) =
        log_weights(flow, target, DRAWS, &mut stream(config.seed, "evaluation"))?;
    let sample_rows_per_second = DRAWS as f64 / clock.elapsed().as_secs_f64();
    let log_z = target.log_normaliser().nats;
    let truth = target.sample(TARGET_DRAWS, &mut stream(config.seed, "target"));
    let clock = Instant::now();
    let log_q = flow.evaluate(&cast::<E>(&truth), &Context::none())?.0;
    let log_prob_rows_per_second = TARGET_DRAWS as f64 / clock.elapsed().as_secs_f64();
    let log_p = target.log_densities(&truth)?;
    let (effective_sample_size, log_normaliser) = weighted(&log_weights);
    let audit = Rows::new(truth, target.dim()).first(AUDIT_ROWS);
    Ok(TargetEvaluation {
        reverse_kl: Estimate::of(log_weights.iter().map(|w| log_z - w)),
        effective_sample_size,
        log_normaliser,
        forward_kl: Estimate::of(log_p.iter().zip(&log_q).map(|(p, q)| p - log_z - q)),
        round_trip_error: round_trip(flow, &audit)?,
        evaluations,
        log_prob_rows_per_second,
        sample_rows_per_second,
        account: account(flow, config, &audit)?,
    })
}

/// log p~(x) - log q(x) over draws x of the flow, and evaluations for a chunk of them.
///
/// # Errors
/// When a computation fails or a draw or its log-density is not a number.
pub fn log_weights<E: Real>(
    flow: &Flow<E>,
    target: KnownTarget,
    draws: usize,
    rng: &mut Stream,
) -> Result<(Vec<f64>, f64)> {
    let mut weights = Vec::with_capacity(draws);
    let (mut evaluations, mut chunks) = (0, 0_u32);
    while weights.len() < draws {
        let rows = CHUNK.min(draws - weights.len());
        let none = &mut Tape::none();
        let drawn = flow.sample_and_log_prob(rows, &Context::none(), none, rng)?;
        let points: Vec<f64> = drawn.value.values().iter().map(|v| v.as_f64()).collect();
        let log_q = drawn.log_prob.values();
        let log_p = target.log_densities(&points)?;
        weights.extend(log_p.iter().zip(log_q).map(|(p, q)| p - q.as_f64()));
        evaluations += drawn.work.evaluations();
        chunks += 1;
    }
    if let Some(row) = weights.iter().position(|w| !w.is_finite()) {
        bail!("draw {row} (from 0) has the log-weight {}; train longer", weights[row]);
    }
    Ok((weights, evaluations as f64 / f64::from(chunks)))
}

/// Effective sample size as a fraction, and log of the mean weight with its standard error (by the
/// delta method: that of the mean over the mean).
pub fn weighted(log_weights: &[f64]) -> (f64, Estimate) {
    let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights = log_weights.iter().map(|w| (w - largest).exp());
    let count = log_weights.len() as f64;
    let (sum, squares) = weights.clone().fold((0.0, 0.0), |(a, b), w| (a + w, b + w * w));
    let Estimate { mean, standard_error } = Estimate::of(weights);
    let log_mean = Estimate { mean: largest + mean.ln(), standard_error: standard_error / mean };
    (sum * sum / (count * squares), log_mean)
}

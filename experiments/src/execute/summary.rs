//! The summary of a run on rows.

use flows_core::Real;
use flows_report::record::{Family, RunSummary};

use crate::config::RunConfig;
use crate::evaluate::Evaluation;
use crate::preset;
use crate::problem::ProblemData;

/// The record of an evaluated run; counts of its training are the caller's to fill in.
pub(super) fn summarise<E: Real>(
    (problem, flow): (&str, &str),
    config: &RunConfig,
    data: &ProblemData,
    evaluation: &Evaluation,
) -> RunSummary {
    let family = preset::family(&*config.flow);
    RunSummary {
        dim: Some(data.dim()),
        nll_nats: Some(evaluation.nll.mean),
        nll_standard_error: evaluation.nll.known_error(),
        nll_standardised_nats: Some(evaluation.nll.mean + data.log_det),
        bits_per_dimension: data.record.bits_per_dimension(evaluation.nll.mean),
        kl_nats: evaluation.kl.map(|kl| kl.mean),
        kl_standard_error: evaluation.kl.and_then(|kl| kl.known_error()),
        normalisation: evaluation.integral.map(|integral| integral.value),
        normalisation_window: evaluation.integral.map(|integral| integral.window),
        round_trip_error: Some(evaluation.round_trip_error),
        evaluations: Some(evaluation.evaluations),
        log_det: Some(evaluation.log_det.into()),
        precision: Some(E::NAME.to_owned()),
        patience: config.train.patience,
        message: evaluation.audit.as_ref().err().map(|error| format!("no audit: {error}")),
        log_prob_rows_per_second: Some(evaluation.log_prob_rows_per_second.mean),
        sample_rows_per_second: Some(evaluation.sample_rows_per_second.mean),
        log_prob_rate_standard_error: Some(evaluation.log_prob_rows_per_second.standard_error),
        sample_rate_standard_error: Some(evaluation.sample_rows_per_second.standard_error),
        accuracy: (family == Family::Continuous).then(|| preset::accuracy(&*config.flow)).flatten(),
        solver_error_nats: evaluation.account.map(|account| account.solver),
        trace_noise_nats: evaluation.account.map(|account| account.trace),
        distances: evaluation.by_draws.distances.clone(),
        audit: evaluation.audit.clone().ok(),
        ..RunSummary::finished([problem, flow], family, config.seed)
    }
}

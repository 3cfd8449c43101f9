//! All numbers of one run, or of one flow over its seeds.

use super::estimate::Estimate;
use super::gather::{FlowResults, Measure};
use crate::record::{Audit, RunSummary};

/// One row of a table of results. What is absent was not measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    pub(super) kl: Option<Estimate>,
    pub(super) nll: Option<Estimate>,
    pub(super) parameters: Option<Estimate>,
    pub(super) train_seconds: Option<Estimate>,
    pub(super) steps: Option<Estimate>,
    pub(super) train_work: Option<Estimate>,
    pub(super) evaluations: Option<Estimate>,
    pub(super) normalisation: Option<Estimate>,
    pub(super) round_trip_error: Option<f64>,
    pub(super) solver_error: Option<f64>,
    pub(super) trace_noise: Option<f64>,
    pub(super) log_prob_rate: Option<Estimate>,
    pub(super) sample_rate: Option<Estimate>,
    pub(super) audit: Option<Audit>,
    /// Such as `exact, f32`.
    pub(super) log_det: String,
    /// How the run ended, or how many of the runs finished.
    pub(super) status: String,
}

impl Numbers {
    /// The numbers of one run.
    pub(super) fn of_run(run: &RunSummary) -> Self {
        let words = [run.log_det.map(|kind| kind.to_string()), run.precision.clone()];
        let single = |value: Option<f64>| Estimate::new(value, None);
        let count = |value: Option<u64>| single(value.map(|count| count as f64));
        Self {
            kl: Measure::Divergence.of(run),
            nll: Measure::NegativeLogLikelihood.of(run),
            parameters: count(run.parameters),
            train_seconds: single(run.train_seconds),
            steps: count(run.steps),
            train_work: count(run.train_work),
            evaluations: single(run.evaluations),
            normalisation: single(run.normalisation),
            round_trip_error: run.round_trip_error,
            solver_error: run.solver_error_nats,
            trace_noise: run.trace_noise_nats,
            log_prob_rate: Estimate::new(
                run.log_prob_rows_per_second,
                run.log_prob_rate_standard_error,
            ),
            sample_rate: Estimate::new(run.sample_rows_per_second, run.sample_rate_standard_error),
            audit: run.audit.clone(),
            log_det: words.into_iter().flatten().collect::<Vec<_>>().join(", "),
            status: run.status.to_string(),
        }
    }

    /// Means over the finished runs of a flow; of errors and of what is audited, the worst.
    pub(super) fn over_seeds(flow: &FlowResults) -> Self {
        let runs: Vec<Self> = flow.finished().map(Self::of_run).collect();
        let average = |field: fn(&Self) -> Option<Estimate>| {
            Estimate::over_seeds(&runs.iter().filter_map(field).collect::<Vec<_>>())
        };
        let largest = |field: fn(&Self) -> Option<f64>| {
            runs.iter().filter_map(field).max_by(|a, b| a.abs().total_cmp(&b.abs()))
        };
        Self {
            kl: flow.mean(Measure::Divergence),
            nll: flow.mean(Measure::NegativeLogLikelihood),
            parameters: average(|run| run.parameters),
            train_seconds: average(|run| run.train_seconds),
            steps: average(|run| run.steps),
            train_work: average(|run| run.train_work),
            evaluations: average(|run| run.evaluations),
            normalisation: average(|run| run.normalisation),
            round_trip_error: largest(|run| run.round_trip_error),
            solver_error: largest(|run| run.solver_error),
            trace_noise: largest(|run| run.trace_noise),
            log_prob_rate: average(|run| run.log_prob_rate),
            sample_rate: average(|run| run.sample_rate),
            audit: runs.iter().filter_map(|run| run.audit.clone()).reduce(worst),
            log_det: runs.first().map(|run| run.log_det.clone()).unwrap_or_default(),
            status: format!("{} of {} done", runs.len(), flow.runs.len()),
        }
    }
}

/// The worse of two audits, number by number: of integrals, the one farther from one.
fn worst(a: Audit, b: Audit) -> Audit {
    let farther = |a: Option<f64>, b: Option<f64>| {
        let values = a.into_iter().chain(b);
        values.max_by(|a, b| (a - 1.0).abs().total_cmp(&(b - 1.0).abs()))
    };
    Audit {
        round_trip_f32: a.round_trip_f32.max(b.round_trip_f32),
        round_trip_f64: a.round_trip_f64.max(b.round_trip_f64),
        normalisation_f32: farther(a.normalisation_f32, b.normalisation_f32),
        normalisation_f64: farther(a.normalisation_f64, b.normalisation_f64),
        precision_gap_largest: a.precision_gap_largest.max(b.precision_gap_largest),
        precision_gap_median: a.precision_gap_median.max(b.precision_gap_median),
        lipschitz: a.lipschitz.max(b.lipschitz),
        inverse_lipschitz: a.inverse_lipschitz.max(b.inverse_lipschitz),
        condition_median: a.condition_median.max(b.condition_median),
    }
}

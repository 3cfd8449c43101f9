//! All numbers of one run, or of one flow over its seeds.

use super::estimate::{Estimate, mean};
use super::gather::{FlowResults, Measure};
use crate::record::RunSummary;

/// One row of a table of results. What is absent was not measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    pub(super) kl: Option<Estimate>,
    pub(super) nll: Option<Estimate>,
    pub(super) parameters: Option<f64>,
    pub(super) train_seconds: Option<f64>,
    pub(super) steps: Option<f64>,
    pub(super) evaluations: Option<f64>,
    pub(super) normalisation: Option<f64>,
    pub(super) round_trip_error: Option<f64>,
    pub(super) solver_error: Option<f64>,
    pub(super) trace_noise: Option<f64>,
    pub(super) log_prob_rows_per_second: Option<f64>,
    pub(super) sample_rows_per_second: Option<f64>,
    /// Such as `exact, f32`.
    pub(super) log_det: String,
    /// How the run ended, or how many of the runs finished.
    pub(super) status: String,
}

impl Numbers {
    /// The numbers of one run.
    pub(super) fn of_run(run: &RunSummary) -> Self {
        let words = [run.log_det.map(|kind| kind.to_string()), run.precision.clone()];
        Self {
            kl: Measure::Divergence.of(run),
            nll: Measure::NegativeLogLikelihood.of(run),
            parameters: run.parameters.map(|count| count as f64),
            train_seconds: run.train_seconds,
            steps: run.steps.map(|count| count as f64),
            evaluations: run.evaluations,
            normalisation: run.normalisation,
            round_trip_error: run.round_trip_error,
            solver_error: run.solver_error_nats,
            trace_noise: run.trace_noise_nats,
            log_prob_rows_per_second: run.log_prob_rows_per_second,
            sample_rows_per_second: run.sample_rows_per_second,
            log_det: words.into_iter().flatten().collect::<Vec<_>>().join(", "),
            status: run.status.to_string(),
        }
    }

    /// Means over the finished runs of a flow; of errors, the largest.
    pub(super) fn over_seeds(flow: &FlowResults) -> Self {
        let runs: Vec<Self> = flow.finished().map(Self::of_run).collect();
        let average = |field: fn(&Self) -> Option<f64>| mean(runs.iter().filter_map(field));
        let largest = |field: fn(&Self) -> Option<f64>| {
            runs.iter().filter_map(field).max_by(|a, b| a.abs().total_cmp(&b.abs()))
        };
        Self {
            kl: flow.mean(Measure::Divergence),
            nll: flow.mean(Measure::NegativeLogLikelihood),
            parameters: average(|run| run.parameters),
            train_seconds: average(|run| run.train_seconds),
            steps: average(|run| run.steps),
            evaluations: average(|run| run.evaluations),
            normalisation: average(|run| run.normalisation),
            round_trip_error: largest(|run| run.round_trip_error),
            solver_error: largest(|run| run.solver_error),
            trace_noise: largest(|run| run.trace_noise),
            log_prob_rows_per_second: average(|run| run.log_prob_rows_per_second),
            sample_rows_per_second: average(|run| run.sample_rows_per_second),
            log_det: runs.first().map(|run| run.log_det.clone()).unwrap_or_default(),
            status: format!("{} of {} done", runs.len(), flow.runs.len()),
        }
    }
}

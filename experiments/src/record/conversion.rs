//! A run's summary as a row of `summary.csv`, and back as far as the columns reach.

use super::{LogDet, RunSummary, Status, SummaryRow};

impl From<&RunSummary> for SummaryRow {
    fn from(run: &RunSummary) -> Self {
        Self {
            problem: run.problem.clone(),
            flow: run.flow.clone(),
            family: run.family,
            seed: run.seed,
            parameters: run.parameters,
            train_seconds: run.train_seconds,
            steps: run.steps,
            nll_nats: run.nll_nats,
            nll_standard_error: run.nll_standard_error,
            kl_nats: run.kl_nats,
            normalisation: run.normalisation,
            round_trip_error: run.round_trip_error,
            evaluations: run.evaluations,
            kl_standard_error: run.kl_standard_error,
            log_prob_rows_per_second: run.log_prob_rows_per_second,
            sample_rows_per_second: run.sample_rows_per_second,
            solver_error_nats: run.solver_error_nats,
            trace_noise_nats: run.trace_noise_nats,
            status: Some(run.status),
        }
    }
}

impl From<SummaryRow> for RunSummary {
    fn from(row: SummaryRow) -> Self {
        let status = row.status.unwrap_or(match row.nll_nats {
            Some(_) => Status::Finished,
            None => Status::Failed,
        });
        Self {
            status,
            parameters: row.parameters,
            train_seconds: row.train_seconds,
            steps: row.steps,
            nll_nats: row.nll_nats,
            nll_standard_error: row.nll_standard_error,
            kl_nats: row.kl_nats,
            kl_standard_error: row.kl_standard_error,
            normalisation: row.normalisation,
            round_trip_error: row.round_trip_error,
            evaluations: row.evaluations,
            log_prob_rows_per_second: row.log_prob_rows_per_second,
            sample_rows_per_second: row.sample_rows_per_second,
            solver_error_nats: row.solver_error_nats,
            trace_noise_nats: row.trace_noise_nats,
            ..Self::finished([&row.problem, &row.flow], row.family, row.seed)
        }
    }
}

impl From<flows_core::LogDet> for LogDet {
    fn from(log_det: flows_core::LogDet) -> Self {
        match log_det {
            flows_core::LogDet::Exact => Self::Exact,
            flows_core::LogDet::Estimate => Self::Estimate,
        }
    }
}

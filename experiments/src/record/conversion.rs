//! A run's summary as a row of `summary.csv`, and back as far as the columns reach.

use super::{Audit, Exactness, Family, RunSummary, Status, SummaryRow};

impl From<&RunSummary> for SummaryRow {
    fn from(run: &RunSummary) -> Self {
        let audit = run.audit.as_ref();
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
            train_work: run.train_work,
            log_prob_rate_standard_error: run.log_prob_rate_standard_error,
            sample_rate_standard_error: run.sample_rate_standard_error,
            round_trip_f32: audit.map(|audit| audit.round_trip_f32),
            round_trip_f64: audit.map(|audit| audit.round_trip_f64),
            normalisation_f32: audit.and_then(|audit| audit.normalisation_f32),
            normalisation_f64: audit.and_then(|audit| audit.normalisation_f64),
            precision_gap_largest: audit.map(|audit| audit.precision_gap_largest),
            precision_gap_median: audit.map(|audit| audit.precision_gap_median),
            lipschitz: audit.map(|audit| audit.lipschitz),
            inverse_lipschitz: audit.map(|audit| audit.inverse_lipschitz),
            condition_median: audit.map(|audit| audit.condition_median),
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
            audit: audit(&row),
            problem: row.problem,
            flow: row.flow,
            family: row.family,
            seed: row.seed,
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
            train_work: row.train_work,
            log_prob_rate_standard_error: row.log_prob_rate_standard_error,
            sample_rate_standard_error: row.sample_rate_standard_error,
            ..Self::without_result(status)
        }
    }
}

impl From<flows_core::Exactness> for Exactness {
    fn from(log_det: flows_core::Exactness) -> Self {
        match log_det {
            flows_core::Exactness::Exact => Self::Exact,
            flows_core::Exactness::Estimated => Self::Estimate,
        }
    }
}

impl RunSummary {
    /// A run that finished and of which nothing has been measured.
    #[must_use]
    pub fn finished([problem, flow]: [&str; 2], family: Family, seed: u64) -> Self {
        let (problem, flow) = (problem.to_owned(), flow.to_owned());
        Self { problem, flow, family, seed, ..Self::without_result(Status::Finished) }
    }

    /// A run of which only its end is known.
    pub fn without_result(status: Status) -> Self {
        Self {
            problem: String::new(),
            flow: String::new(),
            family: Family::Finite,
            seed: 0,
            dim: None,
            parameters: None,
            train_seconds: None,
            steps: None,
            nll_nats: None,
            nll_standard_error: None,
            kl_nats: None,
            kl_standard_error: None,
            normalisation: None,
            normalisation_window: None,
            round_trip_error: None,
            evaluations: None,
            log_det: None,
            precision: None,
            status,
            message: None,
            log_prob_rows_per_second: None,
            sample_rows_per_second: None,
            accuracy: None,
            solver_error_nats: None,
            trace_noise_nats: None,
            train_work: None,
            log_prob_rate_standard_error: None,
            sample_rate_standard_error: None,
            audit: None,
            on_target: None,
        }
    }
}

fn audit(row: &SummaryRow) -> Option<Audit> {
    Some(Audit {
        round_trip_f32: row.round_trip_f32?,
        round_trip_f64: row.round_trip_f64?,
        normalisation_f32: row.normalisation_f32,
        normalisation_f64: row.normalisation_f64,
        precision_gap_largest: row.precision_gap_largest?,
        precision_gap_median: row.precision_gap_median?,
        lipschitz: row.lipschitz?,
        inverse_lipschitz: row.inverse_lipschitz?,
        condition_median: row.condition_median?,
    })
}

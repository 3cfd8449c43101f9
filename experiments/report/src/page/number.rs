//! The numbers of a run that tables show, each with its head, its unit and its way over seeds.

use super::format;
use super::value::Value;
use crate::record::{Audit, RunSummary};

/// A number of a run: a column of a table.
pub(super) struct Number {
    /// Name with its unit.
    pub(super) head: &'static str,
    /// Its value with its standard error, 0 for what is exact; absent where it was not measured.
    pub(super) of: fn(&RunSummary) -> Option<Value>,
    over_seeds: OverSeeds,
    /// The value as text, without its error.
    pub(super) text: fn(f64) -> String,
    /// Whether it comes from importance weights, which do not know of what the draws missed.
    pub(super) of_weights: bool,
}

/// What stands for the runs of a flow.
enum OverSeeds {
    /// Their mean with its standard error.
    Mean,
    /// The one of largest size: of errors and of what is audited.
    Worst,
}

impl Number {
    const fn mean(
        head: &'static str,
        of: fn(&RunSummary) -> Option<Value>,
        text: fn(f64) -> String,
    ) -> Self {
        Self { head, of, over_seeds: OverSeeds::Mean, text, of_weights: false }
    }

    const fn worst(
        head: &'static str,
        of: fn(&RunSummary) -> Option<Value>,
        text: fn(f64) -> String,
    ) -> Self {
        Self { head, of, over_seeds: OverSeeds::Worst, text, of_weights: false }
    }

    const fn of_weights(self) -> Self {
        Self { of_weights: true, ..self }
    }

    /// Over some runs of a flow.
    pub(super) fn over<'a>(&self, runs: impl Iterator<Item = &'a RunSummary>) -> Option<Value> {
        let seeds: Vec<Value> = runs.filter_map(self.of).collect();
        match self.over_seeds {
            OverSeeds::Mean => Value::over_seeds(&seeds),
            OverSeeds::Worst => {
                seeds.into_iter().max_by(|a, b| a.value.abs().total_cmp(&b.value.abs()))
            }
        }
    }
}

fn count(value: Option<u64>) -> Option<Value> {
    exact(value.map(|count| count as f64))
}

fn exact(value: Option<f64>) -> Option<Value> {
    Value::new(value, Some(0.0))
}

fn audit(run: &RunSummary, field: fn(&Audit) -> Option<f64>) -> Option<Value> {
    exact(run.audit.as_ref().and_then(field))
}

pub(super) static KL: Number =
    Number::mean("KL (nats)", |run| Value::new(run.kl_nats, run.kl_standard_error), format::number);
pub(super) static NLL: Number = Number::mean(
    "NLL, own units (nats)",
    |run| Value::new(run.nll_nats, run.nll_standard_error),
    format::number,
);
pub(super) static REVERSE_KL: Number = Number::mean(
    "Reverse KL (nats)",
    |run| {
        let on = run.on_target?;
        Value::new(on.reverse_kl_nats, on.reverse_kl_standard_error)
    },
    format::number,
);
pub(super) static NEGATIVE_BOUND: Number = Number::mean(
    "\u{2212}ELBO (nats)",
    |run| {
        let on = run.on_target?;
        Value::new(on.evidence_bound_nats.map(|nats| -nats), on.evidence_bound_standard_error)
    },
    format::number,
);
static NLL_STANDARDISED: Number = Number::mean(
    "NLL, standard\u{ad}ised (nats)",
    |run| Value::new(run.nll_standardised_nats, run.nll_standard_error),
    format::number,
);
static BITS: Number = Number::mean(
    "Bits per dimen\u{ad}sion",
    |run| {
        let scale = run.dim? as f64 * std::f64::consts::LN_2;
        Value::new(run.bits_per_dimension, run.nll_standard_error.map(|error| error / scale))
    },
    format::number,
);
pub(super) static PARAMETERS: Number =
    Number::mean("Para\u{ad}meters", |run| count(run.parameters), format::count);
pub(super) static TRAIN_SECONDS: Number =
    Number::mean("Time (s)", |run| exact(run.train_seconds), format::number);
static STEPS: Number = Number::mean("Steps", |run| count(run.steps), format::count);
pub(super) static TRAIN_WORK: Number =
    Number::mean("Row passes", |run| count(run.train_work), format::rate);
pub(super) static EVALUATIONS: Number =
    Number::mean("Evalua\u{ad}tions", |run| exact(run.evaluations), format::count);
static NORMALISATION: Number =
    Number::mean("Normali\u{ad}sation", |run| exact(run.normalisation), format::number);
static ROUND_TRIP_ERROR: Number =
    Number::worst("Round-trip error", |run| exact(run.round_trip_error), format::small);
static SOLVER_ERROR: Number =
    Number::worst("Solver error (nats)", |run| exact(run.solver_error_nats), format::small);
static TRACE_NOISE: Number =
    Number::worst("Trace noise (nats)", |run| exact(run.trace_noise_nats), format::small);
pub(super) static LOG_PROB_RATE: Number = Number::mean(
    "Log-densities / s",
    |run| Value::new(run.log_prob_rows_per_second, run.log_prob_rate_standard_error),
    format::rate,
);
pub(super) static SAMPLE_RATE: Number = Number::mean(
    "Draws / s",
    |run| Value::new(run.sample_rows_per_second, run.sample_rate_standard_error),
    format::rate,
);

/// Columns of the tables of results.
pub(super) static RESULTS: [&Number; 9] = [
    &KL,
    &NLL,
    &NLL_STANDARDISED,
    &BITS,
    &PARAMETERS,
    &TRAIN_SECONDS,
    &STEPS,
    &LOG_PROB_RATE,
    &SAMPLE_RATE,
];

/// Columns of the tables of work and numerical errors.
pub(super) static NUMERICS: [&Number; 6] =
    [&TRAIN_WORK, &EVALUATIONS, &NORMALISATION, &ROUND_TRIP_ERROR, &SOLVER_ERROR, &TRACE_NOISE];

/// Columns of the table of a target.
pub(super) static ON_TARGET: [&Number; 7] = [
    &Number::mean(
        "Forward KL (nats)",
        |run| Value::new(run.kl_nats, run.kl_standard_error),
        format::number,
    ),
    &REVERSE_KL,
    &Number::mean(
        "Effective sample size (%)",
        |run| exact(Some(100.0 * run.on_target?.effective_sample_size)),
        format::number,
    )
    .of_weights(),
    &Number::mean(
        "Pareto k of the weights",
        |run| exact(run.on_target?.pareto_k),
        |k| format!("{k:.2}"),
    ),
    &Number::mean(
        "Evidence lower bound (nats)",
        |run| {
            let on = run.on_target?;
            Value::new(on.evidence_bound_nats, on.evidence_bound_standard_error)
        },
        format::number,
    ),
    &Number::mean(
        "log Z (nats)",
        |run| {
            let on = run.on_target?;
            Value::new(Some(on.log_normaliser_nats), on.log_normaliser_standard_error)
        },
        format::number,
    )
    .of_weights(),
    &Number::mean(
        "log Z, exact (nats)",
        |run| exact(run.on_target?.exact_log_normaliser_nats),
        |nats| format!("{nats:.5}"),
    ),
];

/// Columns of the table of audits.
pub(super) static AUDITS: [&Number; 9] = [
    &Number::worst("Round trip f32", |run| audit(run, |a| Some(a.round_trip_f32)), format::small),
    &Number::worst("Round trip f64", |run| audit(run, |a| Some(a.round_trip_f64)), format::small),
    &Number::worst(
        "Integral less 1, f32",
        |run| audit(run, |a| Some(a.normalisation_f32? - 1.0)),
        format::small,
    ),
    &Number::worst(
        "Integral less 1, f64",
        |run| audit(run, |a| Some(a.normalisation_f64? - 1.0)),
        format::small,
    ),
    &Number::worst(
        "f32 against f64, median (nats)",
        |run| audit(run, |a| Some(a.precision_gap_median)),
        format::small,
    ),
    &Number::worst(
        "f32 against f64, largest (nats)",
        |run| audit(run, |a| Some(a.precision_gap_largest)),
        format::small,
    ),
    &Number::worst(
        "Lipschitz, data to base",
        |run| audit(run, |a| Some(a.lipschitz)),
        format::number,
    ),
    &Number::worst(
        "Lipschitz, base to data",
        |run| audit(run, |a| Some(a.inverse_lipschitz)),
        format::number,
    ),
    &Number::worst(
        "Condition, median",
        |run| audit(run, |a| Some(a.condition_median)),
        format::number,
    ),
];

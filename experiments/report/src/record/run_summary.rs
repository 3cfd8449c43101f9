//! The final numbers of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Audit, Distance, Family, OnTarget, Status, Stop};

/// Whether reported log-determinants carry sampling noise of their own.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exactness {
    /// Exact up to rounding and, for a continuous flow, the solver's tolerance.
    Exact,
    /// An unbiased estimate.
    Estimate,
}

/// Accuracy of a continuous flow's integration, in words such as `rtol 1e-5, exact trace`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Accuracy {
    /// While training.
    pub train: String,
    /// For every reported number.
    pub report: String,
}

/// `summary.json` of a run: the final numbers. A value that is absent was not measured.
///
/// `summary.csv` has most of them as columns: see [`summary_csv`](super::summary_csv).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct RunSummary {
    /// Name of the problem.
    pub problem: String,
    /// Name of the flow.
    pub flow: String,
    /// Finite or continuous.
    pub family: Family,
    /// Seed of the run.
    pub seed: u64,
    /// Number of features.
    #[serde(default)]
    pub dim: Option<usize>,
    /// Learnable numbers.
    #[serde(default)]
    pub parameters: Option<u64>,
    /// Wall-clock seconds spent in training.
    #[serde(default)]
    pub train_seconds: Option<f64>,
    /// Optimiser steps.
    #[serde(default)]
    pub steps: Option<u64>,
    /// Mean negative log-likelihood of the held-out rows, in the data's own units.
    #[serde(default)]
    pub nll_nats: Option<f64>,
    /// Its standard error over rows, that of `nll_standardised_nats` too; absent for a single row.
    #[serde(default)]
    pub nll_standard_error: Option<f64>,
    /// The same of standardised features, which is what papers print: `nll_nats` less the sum of the
    /// logarithms of the scales. Equal to it where nothing is standardised.
    #[serde(default)]
    pub nll_standardised_nats: Option<f64>,
    /// Kullback-Leibler divergence from the truth to the flow.
    #[serde(default)]
    pub kl_nats: Option<f64>,
    /// Its standard error over rows; absent for a single row.
    #[serde(default)]
    pub kl_standard_error: Option<f64>,
    /// Integral of the learned density over a window.
    #[serde(default)]
    pub normalisation: Option<f64>,
    /// `[x0, x1, y0, y1]` of that integral.
    #[serde(default)]
    pub normalisation_window: Option<[f64; 4]>,
    /// Largest distance between a row and its image there and back.
    #[serde(default)]
    pub round_trip_error: Option<f64>,
    /// Network passes or evaluations of the vector field.
    #[serde(default)]
    pub evaluations: Option<f64>,
    /// Exact or estimated log-determinants in the reported numbers.
    #[serde(default)]
    pub log_det: Option<Exactness>,
    /// `f32` or `f64`.
    #[serde(default)]
    pub precision: Option<String>,
    /// How the run ended.
    pub status: Status,
    /// Why, when it did not finish.
    #[serde(default)]
    pub message: Option<String>,
    /// What ended the training of a run that finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// Validations without improvement after which training ends early; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// What gives reason to doubt the numbers, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Rows a second that the log-density handles.
    #[serde(default)]
    pub log_prob_rows_per_second: Option<f64>,
    /// Draws a second.
    #[serde(default)]
    pub sample_rows_per_second: Option<f64>,
    /// Integration accuracy, for continuous flows.
    #[serde(default)]
    pub accuracy: Option<Accuracy>,
    /// Change of the mean log-density when the solver's tolerance is halved.
    #[serde(default)]
    pub solver_error_nats: Option<f64>,
    /// Standard deviation over probes of one row's log-density, with the trace that training uses.
    #[serde(default)]
    pub trace_noise_nats: Option<f64>,
    /// What was measured against the target of reverse KL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_target: Option<OnTarget>,
    /// `[x0, x1, y0, y1]`, the window of every picture of its density.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<[f64; 4]>,
    /// What each picture is given, in words; a single empty one where nothing conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<String>,
    /// The context to the right of the picture, where one feature is shown along it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub along: Option<String>,
    /// Network passes and evaluations of vector fields in training, forwards, times their rows.
    #[serde(default)]
    pub train_work: Option<u64>,
    /// Standard error of the rate, from repeated passes.
    #[serde(default)]
    pub log_prob_rate_standard_error: Option<f64>,
    /// Standard error of the rate, from repeated passes.
    #[serde(default)]
    pub sample_rate_standard_error: Option<f64>,
    /// The negative log-likelihood in bits over the number of features, where all are discrete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits_per_dimension: Option<f64>,
    /// Between draws and held-out rows, by the keys of [`distance_names`](super::distance_names).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub distances: BTreeMap<String, Distance>,
    /// What the map and its density are worth numerically.
    #[serde(default)]
    pub audit: Option<Audit>,
}

impl RunSummary {
    /// A run that finished and of which nothing has been measured.
    #[must_use]
    pub fn finished([problem, flow]: [&str; 2], family: Family, seed: u64) -> Self {
        let (problem, flow) = (problem.to_owned(), flow.to_owned());
        Self { problem, flow, family, seed, ..Self::default() }
    }

    /// Why the numbers on its target cannot be trusted, where there is a reason.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        self.on_target?.doubt(self.kl_nats, self.kl_standard_error)
    }

    /// That training ended before its budget was spent, and why, where it did.
    #[must_use]
    pub fn stopped_early(&self) -> Option<String> {
        if self.stop != Some(Stop::EarlyStop) {
            return None;
        }
        let step = self.steps.map_or_else(String::new, |step| format!(" at step {step}"));
        let patience = match self.patience {
            None => String::new(),
            Some(1) => " for 1 validation".into(),
            Some(count) => format!(" for {count} validations"),
        };
        Some(format!("stopped early{step}: validation had not improved{patience}"))
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

//! `baseline.csv` of a comparison: what became of each quantity since an earlier comparison.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is compared with an earlier comparison.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Number of finished runs, of the seeds of both comparisons.
    FinishedRuns,
    /// Kullback-Leibler divergence from the truth to the flow.
    KlNats,
    /// Kullback-Leibler divergence from the flow to the truth, of densities without exact draws.
    ReverseKlNats,
    /// The evidence lower bound, negative, of densities without log Z.
    NegativeBoundNats,
    /// Negative log-likelihood of the test rows, in the data's own units.
    NllNats,
    /// Log-densities a second.
    LogProbRowsPerSecond,
    /// Draws a second.
    SampleRowsPerSecond,
    /// Optimiser steps a second of training.
    StepsPerSecond,
}

impl Quantity {
    /// Whether it is a rate, of which the ratio is compared and not the difference.
    #[must_use]
    pub fn is_rate(self) -> bool {
        matches!(
            self,
            Self::LogProbRowsPerSecond | Self::SampleRowsPerSecond | Self::StepsPerSecond
        )
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FinishedRuns => "finished runs",
            Self::KlNats => "KL (nats)",
            Self::ReverseKlNats => "reverse KL (nats)",
            Self::NegativeBoundNats => "-ELBO (nats)",
            Self::NllNats => "NLL (nats)",
            Self::LogProbRowsPerSecond => "log-densities / s",
            Self::SampleRowsPerSecond => "draws / s",
            Self::StepsPerSecond => "steps / s",
        })
    }
}

/// What a change is taken for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Worse by more than the tolerance, or no longer finished.
    Worse,
    /// Better by more than the tolerance, or finished for the first time.
    Better,
    /// Within the tolerance.
    Same,
    /// There is no error to judge it by, or the two sides cannot be compared.
    NotJudged,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Same => "same",
            Self::NotJudged => "not judged",
        })
    }
}

/// One quantity of a flow on a problem, now and in an earlier comparison.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Change {
    /// Name of the problem.
    pub problem: String,
    /// Name of the flow.
    pub flow: String,
    /// What is compared.
    pub quantity: Quantity,
    /// Its mean in the earlier comparison, over the seeds that both finished.
    pub old: Option<f64>,
    /// Its mean in this comparison, over the same seeds.
    pub new: Option<f64>,
    /// New less old; of rates new over old, the geometric mean over seeds.
    pub change: Option<f64>,
    /// Standard error of `change`; absent where it is not known.
    pub standard_error: Option<f64>,
    /// Standard errors by which it is worse, below zero where it is better; of rates those of
    /// ln(new / old).
    pub worse_by: Option<f64>,
    /// Test rows that were paired; absent where errors are those of independent estimates.
    pub paired_rows: Option<u64>,
    /// Seeds that both comparisons finished.
    pub seeds: u64,
    /// What it is taken for.
    pub verdict: Verdict,
    /// Why it is not judged, or judged with a larger error; empty where there is nothing to say.
    pub note: String,
    /// Standard errors beyond which it is better or worse.
    pub tolerance: f64,
    /// Folder of the earlier comparison.
    pub baseline: String,
}

//! The records a comparison leaves on disk: what is written when a run ends, and all that figures and
//! reports may read.

mod array;
mod audit;
mod folder;
mod matching;
mod metrics;
mod on_target;
mod pair;
mod run_files;
mod stop;
mod summary_csv;

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use array::Matrix;
pub use audit::Audit;
pub use folder::{Folder, RunKey};
pub use matching::Matching;
pub use metrics::MetricsRow;
pub use on_target::OnTarget;
pub use pair::Pair;
pub use run_files::{RunColumns, RunFiles};
pub use stop::Stop;
pub use summary_csv::{read_summaries, summary_csv};

/// `comparison.json`: what was compared, how, and where.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Comparison {
    /// Version of the program.
    pub version: String,
    /// The command line that started the comparison.
    pub command: String,
    /// Name of the budget, such as `quick` or `full`.
    pub budget: String,
    /// Wall-clock seconds that every run may train for.
    pub seconds_per_run: f64,
    /// What every run was given the same amount of; `None` for comparisons written before this field
    /// existed, which were by seconds.
    #[serde(default)]
    pub matched: Option<Matching>,
    /// What the comparison is for, where it is one of the paper's experiments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
    /// Seeds of every flow on every problem.
    pub seeds: Vec<u64>,
    /// Threads of each run.
    pub threads: usize,
    /// `f32` or `f64`.
    pub precision: String,
    /// The machine.
    pub host: Host,
    /// When the comparison began.
    pub started: Started,
    /// Seconds the whole comparison took.
    pub wall_seconds: f64,
    /// Problems in the order of the report.
    pub problems: Vec<Problem>,
    /// Flows in the order of the report.
    pub flows: Vec<Flow>,
}

/// What a comparison is for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct About {
    /// Title of the page.
    pub title: String,
    /// What the review says.
    pub review: String,
    /// What is measured.
    pub method: String,
}

/// The machine a comparison ran on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Host {
    /// Model name of the processor.
    pub cpu: String,
    /// Cores available to the program.
    pub cores: usize,
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("model name"));
        let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
        Self {
            cpu: name.unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
        }
    }
}

/// A point in time, as a date in words or as seconds since 1970.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Started {
    /// Seconds since 1970-01-01, UTC.
    Unix(f64),
    /// ISO 8601.
    Iso(String),
}

impl Started {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self::Unix(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64()))
    }
}

/// Where a problem's data come from.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// A density known in closed form.
    Toy,
    /// A conditional density known in closed form.
    Conditional,
    /// A density known up to a constant, fitted by reverse KL.
    Target,
    /// Rows of a table.
    Table,
}

/// One problem of a comparison.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Problem {
    /// Folder name.
    pub name: String,
    /// Name for readers.
    pub title: String,
    /// Origin of the data.
    pub kind: ProblemKind,
    /// Arguments of `compare` that name the user's table, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Number of features.
    pub dim: usize,
    /// Names of the features; empty means x1, x2, ...
    #[serde(default)]
    pub columns: Vec<String>,
    /// Names of the columns that condition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<String>,
    /// What each image is given, in words; a single empty one where nothing conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<String>,
    /// The context to the right of the picture, where one feature is shown along it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub along: Option<String>,
    /// `[x0, x1, y0, y1]`, the window of every image.
    #[serde(default)]
    pub window: Option<[f64; 4]>,
    /// Entropy of the true density: the floor of the negative log-likelihood.
    #[serde(default)]
    pub entropy_nats: Option<f64>,
    /// Standard error of the entropy, zero or absent when it is exact.
    #[serde(default)]
    pub entropy_error: Option<f64>,
    /// Held-out rows that the reported numbers are means over.
    pub test_rows: u64,
    /// Rows to train on; absent when every batch is drawn anew.
    #[serde(default)]
    pub training_rows: Option<u64>,
    /// What a look at the data gives reason to doubt, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether its likelihood has no upper bound, as where values repeat exactly: flows are then
    /// not ranked by it.
    #[serde(default)]
    pub unbounded: bool,
}

impl Problem {
    /// Name of feature `index` for an axis.
    pub fn column(&self, index: usize) -> String {
        self.columns.get(index).cloned().unwrap_or_else(|| format!("x{}", index + 1))
    }
}

/// The two kinds of flow that are compared.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// A finite composition of layers.
    #[default]
    Finite,
    /// The solution of an ordinary differential equation.
    Continuous,
}

/// One flow of a comparison.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Flow {
    /// Folder name.
    pub name: String,
    /// Name for readers.
    pub title: String,
    /// Finite or continuous.
    pub family: Family,
    /// One sentence: architecture and sizes.
    pub description: String,
    /// The flow that it is a setting of, where a grid was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Keys and values of its point of the grid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<(String, String)>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Trained until its budget was spent or validation stopped improving, which
    /// [`RunSummary::stop`] tells apart, and evaluated.
    #[default]
    Finished,
    /// A loss or a parameter became non-finite.
    Diverged,
    /// Interrupted before its budget was spent.
    Stopped,
    /// Ended by an error.
    Failed,
}

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
/// `summary.csv` has most of them as columns, which [`summary_csv`] lists.
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

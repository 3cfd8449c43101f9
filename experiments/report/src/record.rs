//! The records a comparison leaves on disk: what is written when a run ends, and all that figures and
//! reports may read.

mod array;
mod audit;
mod change;
mod distance;
mod folder;
mod matching;
mod metrics;
mod on_target;
mod pair;
mod run_files;
mod run_summary;
mod stop;
mod summary_csv;

use std::time::{SystemTime, UNIX_EPOCH};

use flows_core::Shape;
use serde::{Deserialize, Serialize};

pub use array::Matrix;
pub use audit::Audit;
pub use change::{Change, Quantity, Verdict};
pub use distance::{BETWEEN_SAMPLES, Distance, DistanceName, distance_names};
pub(crate) use folder::write_csv;
pub use folder::{Folder, INTERPOLATION_STEPS, RunKey};
pub use matching::Matching;
pub use metrics::MetricsRow;
pub use on_target::OnTarget;
pub use pair::Pair;
pub use run_files::{RunColumns, RunFiles};
pub use run_summary::{Accuracy, Exactness, RunSummary};
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
    /// A density known up to a constant, fitted without rows.
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
    /// The standard table that it is, with its published split, as publications call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<String>,
    /// Number of features.
    pub dim: usize,
    /// Size of the image whose pixels the features are, channel by channel and row by row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Shape>,
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
    /// The size of its images, where draws need no context: runs then have images to look at.
    pub(crate) fn shown_images(&self) -> Option<Shape> {
        self.image.filter(|_| self.context.is_empty())
    }

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

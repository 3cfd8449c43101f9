//! A study: claims examined one after another, as its result file `study.json` holds them.

use serde::{Deserialize, Serialize};

use crate::finding::Findings;
use crate::record::{Host, Started};

/// `study.json`: what was examined, how, and what was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Title of the page.
    pub title: String,
    /// Version of the program.
    pub version: String,
    /// The command line that repeats it.
    pub command: String,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Threads in use.
    pub threads: usize,
    /// The machine.
    pub host: Host,
    /// When it began.
    pub started: Started,
    /// One for each claim.
    pub sections: Vec<Section>,
}

/// One claim and what came out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// `C6`, or the name of the experiment.
    pub id: String,
    /// A few words.
    pub title: String,
    /// What the review says.
    pub review: String,
    /// What is measured.
    pub method: String,
    /// Seconds the check took.
    pub seconds: f64,
    /// What came out.
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was measured.
    Found(Findings),
    /// The measurement could not be made.
    Failed(String),
    /// There is no check yet, for this reason.
    NotBuilt(String),
}

impl Outcome {
    /// A word for it.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match self {
            Self::Found(findings) if findings.pass() => "pass",
            Self::Found(_) => "fail",
            Self::Failed(_) => "error",
            Self::NotBuilt(_) => "not built",
        }
    }
}

impl Study {
    /// How many sections ended with this verdict.
    #[must_use]
    pub fn count(&self, verdict: &str) -> usize {
        self.sections.iter().filter(|section| section.outcome.verdict() == verdict).count()
    }
}

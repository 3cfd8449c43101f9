//! A study: claims examined one after another, kept in a result file, shown on a page.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::claim::{Check, Claim, Setting};
use crate::finding::Findings;
use crate::record::{Host, Started};
use crate::run::write_json;
use crate::{progress, say};

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
    /// As in [`Claim`], like the three below.
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
    /// A study without sections, begun now.
    #[must_use]
    pub fn new(title: &str, setting: &Setting) -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self {
            title: title.to_owned(),
            version: env!("CARGO_PKG_VERSION").into(),
            command: format!("cargo run --release -p experiments -- {}", arguments.join(" ")),
            seed: setting.seed,
            threads: rayon::current_num_threads(),
            host: Host::here(),
            started: Started::now(),
            sections: Vec::new(),
        }
    }

    /// Examines every claim; the file is written after each.
    ///
    /// # Errors
    /// If a file cannot be written. A check that fails is a section of the study.
    pub fn examine<'a>(
        &mut self,
        claims: impl IntoIterator<Item = &'a Claim>,
        setting: &Setting,
        folder: &Path,
    ) -> Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: the folder cannot be made", folder.display()))?;
        for claim in claims {
            let section = examine(claim, setting);
            print(&section)?;
            self.sections.push(section);
            write_json(&folder.join("study.json"), self)?;
        }
        Ok(())
    }

    /// How many sections ended with this verdict.
    #[must_use]
    pub fn count(&self, verdict: &str) -> usize {
        self.sections.iter().filter(|section| section.outcome.verdict() == verdict).count()
    }
}

fn examine(claim: &Claim, setting: &Setting) -> Section {
    let working = progress::working(&format!("{} {}", claim.id, claim.title));
    let clock = Instant::now();
    let outcome = match claim.check {
        Check::NotBuilt(reason) => Outcome::NotBuilt(reason.to_owned()),
        Check::Run(check) => match check(setting) {
            Ok(findings) => Outcome::Found(findings),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        },
    };
    working.finish_and_clear();
    Section {
        id: claim.id.into(),
        title: claim.title.into(),
        review: claim.review.into(),
        method: claim.method.into(),
        seconds: clock.elapsed().as_secs_f64(),
        outcome,
    }
}

/// One line for the claim and one for each number.
fn print(section: &Section) -> Result<()> {
    let (id, title, verdict) = (&section.id, &section.title, section.outcome.verdict());
    say(&format!("{id:<4} {verdict:<9} {:>7.1} s  {title}", section.seconds))?;
    match &section.outcome {
        Outcome::Failed(reason) | Outcome::NotBuilt(reason) => say(&format!("     {reason}")),
        Outcome::Found(findings) => {
            findings.measures.iter().try_for_each(|m| say(&format!("     {}", m.sentence())))
        }
    }
}

//! Everything a report says in numbers, read from the result files.

use anyhow::{Result, ensure};

use super::differences::Differences;
use super::number::{self, Number};
use super::value::Value;
use crate::figure::Look;
use crate::record::{Comparison, Flow, Folder, Problem, RunKey, RunSummary, Status};

/// A comparison with the outcome of each of its runs.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) comparison: Comparison,
    pub(super) problems: Vec<ProblemResults>,
    /// Files of the comparison as a whole that could not be read.
    pub(super) notes: Vec<String>,
}

/// All runs on one problem.
#[derive(Debug)]
pub(super) struct ProblemResults {
    pub(super) problem: Problem,
    pub(super) flows: Vec<FlowResults>,
    pub(super) differences: Differences,
}

/// The runs of one flow on one problem.
#[derive(Debug)]
pub(super) struct FlowResults {
    pub(super) flow: Flow,
    pub(super) look: Look,
    pub(super) runs: Vec<Run>,
}

/// One run, or why nothing is known of it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) summary: Result<RunSummary, String>,
}

/// What flows are ranked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Kullback-Leibler divergence from the truth.
    Divergence,
    /// Negative log-likelihood of held-out rows.
    NegativeLogLikelihood,
}

impl Measure {
    /// Its usual abbreviation.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Divergence => "KL",
            Self::NegativeLogLikelihood => "NLL",
        }
    }

    /// As a number of a run.
    pub(super) fn number(self) -> &'static Number {
        match self {
            Self::Divergence => &number::KL,
            Self::NegativeLogLikelihood => &number::NLL,
        }
    }
}

impl ProblemResults {
    /// The divergence where every finished run has one, else the negative log-likelihood.
    pub(super) fn measure(&self) -> Measure {
        let mut finished = self.flows.iter().flat_map(FlowResults::finished).peekable();
        let known = finished.peek().is_some();
        if known && finished.all(|run| run.kl_nats.is_some()) {
            Measure::Divergence
        } else {
            Measure::NegativeLogLikelihood
        }
    }
}

impl FlowResults {
    /// Runs that were trained and evaluated to the end.
    pub(super) fn finished(&self) -> impl Iterator<Item = &RunSummary> {
        let summaries = self.runs.iter().filter_map(|run| run.summary.as_ref().ok());
        summaries.filter(|summary| summary.status == Status::Finished)
    }

    /// A number over finished runs.
    pub(super) fn over_seeds(&self, number: &Number) -> Option<Value> {
        number.over(self.finished())
    }

    /// Mean of `measure` over finished runs.
    pub(super) fn mean(&self, measure: Measure) -> Option<Value> {
        self.over_seeds(measure.number())
    }

    /// The ways in which the runs ended, each once.
    pub(super) fn ends(&self) -> Vec<String> {
        let end = |run: &Run| match &run.summary {
            Ok(summary) => summary.status.to_string(),
            Err(_) => "no result".into(),
        };
        let mut ends: Vec<String> = self.runs.iter().map(end).collect();
        ends.dedup();
        ends
    }

    /// What became of the runs that did not finish, a sentence for each.
    pub(super) fn losses(&self) -> Vec<String> {
        let loss = |run: &Run| match &run.summary {
            Ok(summary) if summary.status == Status::Finished => {
                let message = summary.message.as_ref()?;
                Some(format!("seed {} finished: {message}", run.seed))
            }
            Ok(summary) => {
                let message = summary.message.as_deref().unwrap_or("no reason was recorded");
                Some(format!("seed {} {}: {message}", run.seed, summary.status))
            }
            Err(message) => Some(format!("seed {}: no result, {message}", run.seed)),
        };
        self.runs.iter().filter_map(loss).collect()
    }
}

/// Reads `comparison.json` and the summaries of all runs it announces.
pub(super) fn gather(folder: &Folder) -> Result<Results> {
    let comparison = folder.comparison()?;
    let problems = comparison.problems.iter().map(|problem| &problem.name);
    let groups = comparison.flows.iter().filter_map(|flow| flow.group.as_ref());
    for name in problems.chain(comparison.flows.iter().map(|flow| &flow.name)).chain(groups) {
        ensure!(is_file_name(name), "comparison.json: the name {name:?} cannot name a folder");
    }
    let (rows, notes) = match folder.summaries() {
        Ok(rows) => (rows, Vec::new()),
        Err(error) => (Vec::new(), vec![format!("{error:#}")]),
    };
    let problems = comparison.problems.iter().map(|problem| {
        let flows = flows(folder, &comparison, problem, &rows);
        let differences = Differences::of(folder, problem, &flows);
        ProblemResults { problem: problem.clone(), flows, differences }
    });
    Ok(Results { problems: problems.collect(), notes, comparison: comparison.clone() })
}

fn flows(
    folder: &Folder,
    comparison: &Comparison,
    problem: &Problem,
    rows: &[RunSummary],
) -> Vec<FlowResults> {
    let results = |(index, flow): (usize, &Flow)| {
        let run = |&seed: &u64| {
            let key = RunKey { problem: &problem.name, flow: &flow.name, seed };
            Run { seed, summary: summary(folder, key, rows) }
        };
        FlowResults {
            flow: flow.clone(),
            look: Look { title: flow.title.clone(), family: flow.family, index },
            runs: comparison.seeds.iter().map(run).collect(),
        }
    };
    comparison.flows.iter().enumerate().map(results).collect()
}

/// The run's own file, or its row of `summary.csv` where that file cannot be read.
fn summary(folder: &Folder, key: RunKey<'_>, rows: &[RunSummary]) -> Result<RunSummary, String> {
    folder.run(key).or_else(|error| {
        let row = rows
            .iter()
            .find(|row| row.problem == key.problem && row.flow == key.flow && row.seed == key.seed);
        let mut summary = row.cloned().ok_or_else(|| format!("{error:#}"))?;
        summary.message = Some(format!("{error:#}; numbers are from summary.csv"));
        Ok(summary)
    })
}

fn is_file_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)
}

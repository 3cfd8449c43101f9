//! Everything a report says in numbers, read from the result files.

use anyhow::{Result, ensure};

use super::differences::{Differences, difference};
use super::flow_results::{FlowResults, Measure, Run};
use super::value::Value;
use crate::figure::Look;
use crate::record::{Comparison, Flow, Folder, Pair, Problem, RunKey, RunSummary};

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

impl ProblemResults {
    /// The divergence where every finished run has one, else the negative log-likelihood.
    pub(super) fn measure(&self) -> Measure {
        Measure::of(self.flows.iter().flat_map(FlowResults::finished))
    }

    /// What the flow at `flow` loses against the one at `against` in what they are ranked by; where
    /// rows cannot be paired, with the error of independent estimates.
    pub(super) fn difference(&self, flow: usize, against: usize) -> Option<Value> {
        let mean = |index: usize| self.flows.get(index)?.mean(self.measure());
        difference(self.differences.paired(flow, against), mean(flow), mean(against))
    }

    /// The rows of `pairs.csv`.
    pub(super) fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        self.differences.pairs.iter().filter_map(|&(flow, against, pair)| {
            Some(Pair {
                problem: self.problem.name.clone(),
                flow: self.flows.get(flow)?.flow.name.clone(),
                against: self.flows.get(against)?.flow.name.clone(),
                difference_nats: pair.difference,
                paired_standard_error: pair.standard_error,
                rows: pair.rows as u64,
                seeds: pair.seeds as u64,
            })
        })
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

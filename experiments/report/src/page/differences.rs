//! Differences between the flows of a problem, paired by rows and seeds where the files allow it.

use super::flow_results::FlowResults;
use super::value::Value;
use crate::paired::{Paired, Scores};
use crate::record::{Folder, Problem, ProblemKind, RunKey};

/// Each flow of a problem against each other one.
#[derive(Debug)]
pub(super) struct Differences {
    /// First flow, second flow, what the first loses against the second; the first comes earlier.
    pub(super) pairs: Vec<(usize, usize, Paired)>,
    /// What keeps some pair from being compared row by row.
    obstacles: Vec<String>,
}

impl Differences {
    /// Compares all flows by the log-densities that their finished runs left of the test rows.
    pub(super) fn of(folder: &Folder, problem: &Problem, flows: &[FlowResults]) -> Self {
        let mut obstacles = Vec::new();
        if problem.kind == ProblemKind::Target {
            // There are no test rows to pair.
            return Self { pairs: Vec::new(), obstacles };
        }
        let scores: Vec<Scores> =
            flows.iter().map(|flow| scores(folder, problem, flow, &mut obstacles)).collect();
        let mut pairs = Vec::new();
        for (first, flow) in scores.iter().enumerate() {
            for (second, against) in scores.iter().enumerate().skip(first + 1) {
                match Paired::of(flow, against) {
                    Some(pair) => pairs.push((first, second, pair)),
                    None if obstacles.is_empty() => obstacles.extend(apart(flows, [first, second])),
                    None => {}
                }
            }
        }
        Self { pairs, obstacles }
    }

    /// What the flow at `flow` loses against the one at `against`, where their rows are paired.
    pub(super) fn paired(&self, flow: usize, against: usize) -> Option<Paired> {
        let of = |a, b| self.pairs.iter().find(|(i, j, _)| (*i, *j) == (a, b)).map(|(.., p)| *p);
        of(flow, against).or_else(|| Some(of(against, flow)?.reversed()))
    }

    /// That some differences are not paired as far as they could be, and why.
    pub(super) fn unpaired(&self) -> Option<String> {
        let first = self.obstacles.first()?;
        let others = match self.obstacles.len() - 1 {
            0 => String::new(),
            count => format!(" (and {count} more)"),
        };
        Some(format!(
            "Some differences have the error of unpaired rows, which is larger, or leave out seeds: \
             {first}{others}"
        ))
    }
}

/// The paired difference; where rows cannot be paired, that of independent means.
pub(super) fn difference(
    paired: Option<Paired>,
    mean: Option<Value>,
    against: Option<Value>,
) -> Option<Value> {
    match paired {
        Some(pair) => Some(Value { value: pair.difference, error: pair.standard_error }),
        None => Some(mean?.less(&against?)),
    }
}

/// Two flows that both finished and still have nothing in common.
fn apart(flows: &[FlowResults], pair: [usize; 2]) -> Option<String> {
    let [first, second] = pair.map(|index| flows.get(index));
    let (first, second) = (first?, second?);
    first.finished().next().and(second.finished().next())?;
    let titles = format!("{} and {}", first.flow.title, second.flow.title);
    Some(format!("{titles} have no seed in common with finite log-densities of the same rows"))
}

/// What the finished runs of a flow left, as far as it can be read.
pub(super) fn scores(
    folder: &Folder,
    problem: &Problem,
    flow: &FlowResults,
    obstacles: &mut Vec<String>,
) -> Scores {
    let mut scores = Scores::default();
    for run in flow.finished() {
        let key = RunKey { problem: &problem.name, flow: &flow.flow.name, seed: run.seed };
        match folder.test_log_prob(key) {
            Ok(log_prob) => scores.add(run.seed, log_prob),
            Err(error) => obstacles.push(format!("{error:#}")),
        }
    }
    scores
}

//! Each flow of a comparison against itself in an earlier comparison.

mod quality;
mod runs;
pub(super) mod section;
mod speed;

use std::path::Path;

use anyhow::Result;

use super::flow_results::{FlowResults, Run};
use super::gather::{ProblemResults, Results, gather};
use crate::record::{Change, Comparison, Folder, Problem, Quantity, Status, Verdict};

/// What changed from the comparison in `earlier` to that in `dir`, each flow on each problem, beyond
/// `tolerance` standard errors or not.
///
/// # Errors
/// As [`gather`].
pub(crate) fn changes(dir: &Path, earlier: &Path, tolerance: f64) -> Result<Vec<Change>> {
    let [new, old] = [Folder::new(dir), Folder::new(earlier)];
    let results = [gather(&new)?, gather(&old)?];
    let mut changes = Vec::new();
    for (problem, flow) in names(&results) {
        let blank = Change {
            problem,
            flow,
            quantity: Quantity::FinishedRuns,
            old: None,
            new: None,
            change: None,
            standard_error: None,
            worse_by: None,
            paired_rows: None,
            seeds: 0,
            verdict: Verdict::NotJudged,
            note: String::new(),
            tolerance,
            baseline: earlier.display().to_string(),
        };
        match (Side::of(&new, &results[0], &blank), Side::of(&old, &results[1], &blank)) {
            (Some(new), Some(old)) => changes.extend(of_flow(&new, &old, &blank)),
            (Some(_), None) => changes.push(only_in("this", blank)),
            (None, Some(_)) => changes.push(only_in("the earlier", blank)),
            (None, None) => {}
        }
    }
    Ok(changes)
}

/// A flow on a problem in one of the two comparisons.
struct Side<'a> {
    folder: &'a Folder,
    comparison: &'a Comparison,
    problem: &'a Problem,
    flow: FlowResults,
}

impl<'a> Side<'a> {
    fn of(folder: &'a Folder, results: &'a Results, names: &Change) -> Option<Self> {
        let mut problems = results.problems.iter();
        let ProblemResults { problem, flows, .. } =
            problems.find(|results| results.problem.name == names.problem)?;
        let flow = flows.iter().find(|flow| flow.flow.name == names.flow)?.clone();
        Some(Self { folder, comparison: &results.comparison, problem, flow })
    }

    fn finished(&self, seed: u64) -> bool {
        self.flow.finished().any(|run| run.seed == seed)
    }

    fn with_seeds(&self, seeds: &[u64]) -> Self {
        let flow = self.flow.with_seeds(|seed| seeds.contains(&seed));
        Self { flow, ..*self }
    }
}

/// Problems with flows, those of the new comparison first.
fn names(results: &[Results; 2]) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for comparison in results.iter().map(|results| &results.comparison) {
        for problem in &comparison.problems {
            for flow in &comparison.flows {
                let name = (problem.name.clone(), flow.name.clone());
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
    }
    names
}

fn only_in(which: &str, blank: Change) -> Change {
    Change { note: format!("only in {which} comparison"), ..blank }
}

/// What became of the runs of a flow; of its quality and speed, over the seeds that both finished.
fn of_flow(new: &Side<'_>, old: &Side<'_>, blank: &Change) -> Vec<Change> {
    let of_new = new.flow.runs.iter().map(|run| run.seed);
    let both: Vec<u64> = of_new.filter(|seed| new.finished(*seed) && old.finished(*seed)).collect();
    let mut changes: Vec<Change> = runs::change(new, old, blank).into_iter().collect();
    let [new, old] = [new, old].map(|side| side.with_seeds(&both));
    let blank = Change { seeds: both.len() as u64, ..blank.clone() };
    changes.extend(quality::change(&new, &old, &blank));
    changes.extend(speed::changes(&new, &old, &blank));
    changes
}

/// What being worse by a number of standard errors is taken for; nothing is made of an unknown one.
fn verdict(worse_by: Option<f64>, tolerance: f64) -> Verdict {
    match worse_by {
        None => Verdict::NotJudged,
        Some(errors) if errors > tolerance => Verdict::Worse,
        Some(errors) if errors < -tolerance => Verdict::Better,
        Some(_) => Verdict::Same,
    }
}

/// Whether a run was trained and evaluated to the end.
fn is_finished(run: &Run) -> bool {
    run.summary.as_ref().is_ok_and(|summary| summary.status == Status::Finished)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_more_than_the_tolerance_is_worse_or_better() {
        let of = |errors| verdict(Some(errors), 3.0);
        assert_eq!([of(3.0), of(3.01)], [Verdict::Same, Verdict::Worse]);
        assert_eq!([of(-3.0), of(-3.01)], [Verdict::Same, Verdict::Better]);
        assert_eq!(of(f64::INFINITY), Verdict::Worse);
        assert_eq!(verdict(None, 3.0), Verdict::NotJudged);
    }
}

//! What gives reason to doubt the numbers of a problem: of its data, of its size, of some runs.

use super::gather::ProblemResults;
use crate::figure::escape;
use crate::record::ProblemKind;

/// Test rows below which a mean and its standard error are little to go by: the error is itself
/// known to 1/sqrt(2 (n - 1)), 13 % for 30.
const FEW_TEST_ROWS: u64 = 30;

/// That flows are not ranked, where the likelihood has no upper bound.
pub(super) const UNBOUNDED: &str =
    "its likelihood has no upper bound, so flows are not ranked by it";

/// All warnings as a list; nothing when there is nothing to warn of.
pub(super) fn section(results: &ProblemResults) -> String {
    let item = |text: &String| format!("<li>{}.</li>\n", escape(text.trim_end_matches('.')));
    let items: String = warnings(results).iter().map(item).collect();
    if items.is_empty() {
        return items;
    }
    let name = &results.problem.name;
    format!(
        "<p class=\"caption\" id=\"warnings-{name}\">Warnings</p>\n\
         <ul class=\"warnings\" aria-labelledby=\"warnings-{name}\">\n{items}</ul>\n"
    )
}

/// Sentences on a problem: first its own, then those of its runs, which are said once where all
/// runs share them and otherwise name the runs.
pub(super) fn warnings(results: &ProblemResults) -> Vec<String> {
    let problem = &results.problem;
    let mut warnings = problem.warnings.clone();
    if problem.unbounded {
        warnings.push(format!("{}: {UNBOUNDED}", problem.title));
    }
    // A target has draws as many as are wanted in place of rows.
    if problem.kind != ProblemKind::Target && problem.test_rows < FEW_TEST_ROWS {
        warnings.push(few(problem.test_rows));
    }
    warnings.extend(results.differences.unpaired());
    warnings.extend(of_runs(results).into_iter().filter(|text| !problem.warnings.contains(text)));
    warnings
}

fn few(rows: u64) -> String {
    if rows < 3 {
        let those = if rows == 1 { "1 test row, which has" } else { "2 test rows, which have" };
        return format!(
            "The likelihood is that of {those} no standard error: no flow can be called best; use a \
             table with more rows"
        );
    }
    format!(
        "The likelihoods are means over {rows} test rows, and their standard errors are rough below \
         {FEW_TEST_ROWS}; use a table with more rows"
    )
}

fn of_runs(results: &ProblemResults) -> Vec<String> {
    let mut known: Vec<(String, Vec<String>)> = Vec::new();
    let mut count = 0;
    for flow in &results.flows {
        for summary in flow.runs.iter().filter_map(|run| run.summary.as_ref().ok()) {
            count += 1;
            for text in summary.warnings.iter().chain(&summary.doubt()) {
                let name = format!("{}, seed {}", flow.flow.title, summary.seed);
                match known.iter_mut().find(|(other, _)| other == text) {
                    Some((_, runs)) => runs.push(name),
                    None => known.push((text.clone(), vec![name])),
                }
            }
        }
    }
    let sentence = |(text, runs): (String, Vec<String>)| match runs.len() {
        all if all == count => text,
        _ => format!("{}: {text}", runs.join("; ")),
    };
    known.into_iter().map(sentence).collect()
}

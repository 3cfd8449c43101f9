//! What was measured against a density without rows.

use super::flow_results::{FlowResults, Run};
use super::gather::ProblemResults;
use super::number::ON_TARGET;
use super::table::{cell, table};
use crate::figure::escape;
use crate::record::ProblemKind;

/// A row for each run on a target; nothing for other problems.
pub(super) fn table_of(results: &ProblemResults) -> String {
    let problem = &results.problem;
    if problem.kind != ProblemKind::Target {
        return String::new();
    }
    let caption = format!(
        "{}: every run against the target. ± is the standard error over draws. The effective sample size \
         and log Z are estimated from draws of the flow alone and do not know of what it has missed; \
         the forward KL and the exact log Z do. Numbers that contradict them are marked.",
        escape(&problem.title)
    );
    let rows =
        results.flows.iter().flat_map(|flow| flow.runs.iter().map(move |run| row(flow, run)));
    table(
        &format!("target-{}", problem.name),
        &caption,
        &["Flow", "Seed"],
        &ON_TARGET,
        &["Effective sample size and log Z"],
        rows,
    )
}

fn row(flow: &FlowResults, run: &Run) -> String {
    let summary = run.summary.as_ref().ok();
    let numbers = ON_TARGET.iter().map(|number| cell(number, summary.and_then(number.of)));
    format!(
        "<th scope=\"row\">{}<span class=\"sub\">{}</span></th><td class=\"number\">{}</td>{}{}",
        escape(&flow.flow.title),
        flow.flow.family,
        run.seed,
        numbers.collect::<String>(),
        match summary.and_then(|summary| summary.on_target.map(|_| summary.doubt())) {
            Some(Some(doubt)) => format!("<td class=\"words none\">{}</td>", escape(&doubt)),
            Some(None) => "<td class=\"words\">not contradicted</td>".into(),
            None => "<td class=\"words\">not measured</td>".into(),
        }
    )
}

//! Which flow is best on each problem, if any can be called so.

use super::format;
use super::gather::{FlowResults, ProblemResults, Results};
use super::leaders;
use super::ranking::{Rank, ranks};
use super::table::scrolling;
use super::value::Value;
use crate::figure::escape;
use crate::record::Family;

const CAPTION: &str = "Mean over seeds ± standard error, in nats; lower is better. <em>best</em>: lower \
    than every other flow by more than two standard errors of the difference. <em>tied</em>: within two \
    standard errors of the lowest.";

/// The table of problems by flows, and a sentence that counts its marks.
pub(super) fn section(results: &Results) -> String {
    let heads: String = results.comparison.flows.iter().map(head).collect();
    let rows: String = results.problems.iter().map(row).collect();
    let table = format!(
        "<table class=\"sortable verdict\" aria-labelledby=\"verdict-table\">\n<thead><tr>\
         <th scope=\"col\">Problem</th>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table>"
    );
    format!(
        "<section id=\"verdict\" aria-labelledby=\"verdict-title\">\n\
         <h2 id=\"verdict-title\">Verdict</h2>\n<p>{}</p>\n{}{}</section>\n",
        count(results),
        scrolling("verdict-table", CAPTION, &table),
        leaders::section(results)
    )
}

fn head(flow: &crate::record::Flow) -> String {
    format!(
        "<th scope=\"col\">{}<span class=\"sub\">{}</span></th>",
        escape(&flow.title),
        flow.family
    )
}

fn row(results: &ProblemResults) -> String {
    let measure = results.measure();
    let means: Vec<_> = results.flows.iter().map(|flow| flow.mean(measure)).collect();
    let cells: String = results
        .flows
        .iter()
        .zip(&means)
        .zip(ranks(&means))
        .map(|((flow, mean), rank)| cell(flow, *mean, rank))
        .collect();
    format!(
        "<tr><th scope=\"row\"><a href=\"#problem-{}\">{}</a><span class=\"sub\">{}</span></th>{cells}</tr>\n",
        results.problem.name,
        escape(&results.problem.title),
        measure.name()
    )
}

fn cell(flow: &FlowResults, mean: Option<Value>, rank: Rank) -> String {
    let Some(mean) = mean else {
        return format!("<td><span class=\"none\">{}</span></td>", flow.ends().join(", "));
    };
    let (finished, all) = (flow.finished().count(), flow.runs.len());
    let seeds = if finished < all {
        format!("<span class=\"seeds\">{finished} of {all} seeds</span>")
    } else {
        String::new()
    };
    let text = format::estimate(mean);
    let (text, mark) = match rank {
        Rank::Best => (format!("<strong>{text}</strong>"), "<span class=\"mark best\">best</span>"),
        Rank::Tied => (text, "<span class=\"mark\">tied</span>"),
        Rank::Unmarked => (text, ""),
    };
    let gap = if mark.is_empty() && seeds.is_empty() { "" } else { "<br>" };
    let value = mean.value;
    format!("<td data-value=\"{value}\">{text}{gap}{mark} {seeds}</td>")
}

/// Which families hold the lead on how many problems, in words.
fn count(results: &Results) -> String {
    let (mut finite, mut continuous, mut both) = (0, 0, 0);
    for problem in &results.problems {
        let leaders = leaders(problem);
        match (leaders.contains(&Family::Finite), leaders.contains(&Family::Continuous)) {
            (true, false) => finite += 1,
            (false, true) => continuous += 1,
            (true, true) => both += 1,
            (false, false) => {}
        }
    }
    let total = results.problems.len();
    let without = match total - finite - continuous - both {
        0 => String::new(),
        count => format!(" On {count} nothing could be compared."),
    };
    format!(
        "Finite flows lead on {finite} of {total} problem{}, continuous flows on {continuous}; on {both} \
         both families are tied.{without}",
        if total == 1 { "" } else { "s" }
    )
}

/// Families of the flows that are best or tied.
fn leaders(problem: &ProblemResults) -> Vec<Family> {
    let measure = problem.measure();
    let means: Vec<_> = problem.flows.iter().map(|flow| flow.mean(measure)).collect();
    let marked = ranks(&means).into_iter().zip(&problem.flows);
    marked.filter(|(rank, _)| *rank != Rank::Unmarked).map(|(_, flow)| flow.flow.family).collect()
}

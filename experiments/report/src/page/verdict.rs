//! Which flow is best on each problem, if any can be called so.

use super::flow_results::FlowResults;
use super::format;
use super::gather::{ProblemResults, Results};
use super::leaders;
use super::ranking::Rank;
use super::table::scrolling;
use super::value::Value;
use super::warnings::{UNBOUNDED, warnings};
use crate::figure::escape;
use crate::record::Family;

const CAPTION: &str = "Mean over seeds ± standard error, in nats; lower is better. Behind a plus, the \
    difference to the lowest ± the standard error of that difference, paired by test rows and seeds: \
    what is hard for all flows cancels in it. <em>best</em>: lower than every other flow by more \
    than two standard errors of the difference. <em>tied</em>: within two standard errors of the lowest.";

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
         <h2 id=\"verdict-title\">Verdict</h2>\n<p>{}</p>\n{}{}{}</section>\n",
        count(results),
        leaders::sentences(results),
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
    let flows = results.flows.iter().zip(results.ranks()).enumerate();
    let cell = |(index, (flow, rank)): (usize, (&FlowResults, Rank))| {
        cell(flow, flow.mean(measure), results.above_lowest(index), rank)
    };
    let cells: String = flows.map(cell).collect();
    format!(
        "<tr><th scope=\"row\"><a href=\"#problem-{}\">{}</a><span class=\"sub\">{}</span>{}</th>{cells}</tr>\n",
        results.problem.name,
        escape(&results.problem.title),
        measure.name(),
        doubts(results)
    )
}

/// That flows are not ranked, and how many warnings the problem's section has.
fn doubts(results: &ProblemResults) -> String {
    let ranked = if results.problem.unbounded { Some("not ranked".to_owned()) } else { None };
    let warnings = match warnings(results).len() {
        0 => None,
        1 => Some("1 warning".to_owned()),
        count => Some(format!("{count} warnings")),
    };
    let doubts: Vec<_> = ranked.into_iter().chain(warnings).collect();
    if doubts.is_empty() {
        return String::new();
    }
    format!("<span class=\"sub seeds\">{}</span>", doubts.join(", "))
}

fn cell(flow: &FlowResults, mean: Option<Value>, above: Option<Value>, rank: Rank) -> String {
    let Some(mean) = mean else {
        return format!("<td><span class=\"none\">{}</span></td>", flow.ends().join(", "));
    };
    let (finished, all) = (flow.finished().count(), flow.runs.len());
    let seeds = if finished < all {
        format!("<span class=\"seeds\">{finished} of {all} seeds</span>")
    } else if finished == 1 && rank == Rank::Best {
        "<span class=\"seeds\">one seed</span>".into()
    } else {
        String::new()
    };
    let above = above.map_or_else(String::new, |above| {
        format!("<span class=\"sub\">{}</span>", format::difference(above))
    });
    let text = format::estimate(mean);
    let (text, mark) = match rank {
        Rank::Best => (format!("<strong>{text}</strong>"), "<span class=\"mark best\">best</span>"),
        Rank::Tied => (text, "<span class=\"mark\">tied</span>"),
        Rank::Unmarked => (text, ""),
    };
    let gap = if !above.is_empty() || mark.is_empty() && seeds.is_empty() { "" } else { "<br>" };
    let value = mean.value;
    format!("<td data-value=\"{value}\">{text}{above}{gap}{mark} {seeds}</td>")
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
        count => format!(" On {count} no flow can be said to lead."),
    };
    let unranked = results.problems.iter().filter(|results| results.problem.unbounded);
    let unranked: String =
        unranked.map(|r| format!(" {}: {UNBOUNDED}.", escape(&r.problem.title))).collect();
    format!(
        "Finite flows lead on {finite} of {total} problem{}, continuous flows on {continuous}; on {both} \
         both families are tied.{without}{unranked} Lower is better, in nats; {}",
        if total == 1 { "" } else { "s" },
        match results.comparison.seeds.len() {
            1 => "one seed says nothing about other initial weights.",
            _ => "± is a standard error.",
        }
    )
}

/// Families of the flows that are best or tied.
fn leaders(problem: &ProblemResults) -> Vec<Family> {
    let marked = problem.ranks().into_iter().zip(&problem.flows);
    marked.filter(|(rank, _)| *rank != Rank::Unmarked).map(|(_, flow)| flow.flow.family).collect()
}

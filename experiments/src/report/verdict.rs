//! Which flow is best on each problem, if any can be called so.

use super::estimate::Estimate;
use super::format;
use super::gather::{FlowResults, ProblemResults, Results};
use super::leaders;
use super::table::scrolling;
use crate::figure::escape;
use crate::record::Family;

/// Rank of a flow on a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Below every other flow by more than two standard errors of the difference.
    Best,
    /// Not clearly above the lowest, and nobody is best.
    Tied,
    /// Clearly above the lowest, or without a rival.
    Unmarked,
}

/// The standing of every flow that has an estimate.
pub(super) fn standings(estimates: &[Option<Estimate>]) -> Vec<Standing> {
    let known = || estimates.iter().flatten();
    let lowest = known().min_by(|a, b| a.value.total_cmp(&b.value));
    let Some(lowest) = lowest.filter(|_| known().count() > 1) else {
        return vec![Standing::Unmarked; estimates.len()];
    };
    let near = |estimate: &Estimate| !lowest.clearly_below(estimate);
    let alone = known().filter(|estimate| near(estimate)).count() == 1;
    let standing = |estimate: &Option<Estimate>| match estimate {
        Some(estimate) if near(estimate) && alone => Standing::Best,
        Some(estimate) if near(estimate) => Standing::Tied,
        _ => Standing::Unmarked,
    };
    estimates.iter().map(standing).collect()
}

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
        .zip(standings(&means))
        .map(|((flow, mean), standing)| cell(flow, *mean, standing))
        .collect();
    format!(
        "<tr><th scope=\"row\"><a href=\"#problem-{}\">{}</a><span class=\"sub\">{}</span></th>{cells}</tr>\n",
        results.problem.name,
        escape(&results.problem.title),
        measure.name()
    )
}

fn cell(flow: &FlowResults, mean: Option<Estimate>, standing: Standing) -> String {
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
    let (text, mark) = match standing {
        Standing::Best => {
            (format!("<strong>{text}</strong>"), "<span class=\"mark best\">best</span>")
        }
        Standing::Tied => (text, "<span class=\"mark\">tied</span>"),
        Standing::Unmarked => (text, ""),
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
        count => format!(" On {count} there is nothing to compare."),
    };
    format!(
        "Flows that are best, or tied with the lowest, are finite only on {finite} of {total} \
         problem{}, continuous only on {continuous}, and of both families on {both}.{without}",
        if total == 1 { "" } else { "s" }
    )
}

/// Families of the flows that are best or tied.
fn leaders(problem: &ProblemResults) -> Vec<Family> {
    let measure = problem.measure();
    let means: Vec<_> = problem.flows.iter().map(|flow| flow.mean(measure)).collect();
    let marked = standings(&means).into_iter().zip(&problem.flows);
    marked
        .filter(|(standing, _)| *standing != Standing::Unmarked)
        .map(|(_, flow)| flow.flow.family)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, error: f64) -> Option<Estimate> {
        Some(Estimate { value, error: Some(error) })
    }

    #[test]
    fn a_clear_lead_is_best() {
        let marks = standings(&[estimate(0.3, 0.01), estimate(0.1, 0.01), None]);
        assert_eq!(marks, [Standing::Unmarked, Standing::Best, Standing::Unmarked]);
    }

    #[test]
    fn a_lead_within_two_errors_is_a_tie() {
        let marks = standings(&[estimate(0.12, 0.01), estimate(0.1, 0.01), estimate(0.2, 0.01)]);
        assert_eq!(marks, [Standing::Tied, Standing::Tied, Standing::Unmarked]);
    }

    #[test]
    fn one_flow_alone_has_no_mark() {
        assert_eq!(standings(&[None, estimate(0.1, 0.1)]), [Standing::Unmarked; 2]);
        assert_eq!(standings(&[]), []);
    }
}

//! Tables of results with all columns.

use super::flow_results::{FlowResults, Run};
use super::format::{self, UNKNOWN};
use super::gather::{ProblemResults, Results};
use super::number::{AUDITS, NUMERICS, Number, RESULTS};
use super::value::Value;
use crate::figure::escape;
use crate::record::{RunSummary, Stop};

/// A table with one row for each flow of a problem: means over its finished runs.
pub(super) fn of_problem(results: &ProblemResults) -> String {
    let caption = format!(
        "{}: means over finished runs ± standard error. Above the lowest: the difference to the flow with the \
         lowest {} ± the standard error of that difference.",
        escape(&results.problem.title),
        results.measure().name(),
    );
    let id = format!("table-{}", results.problem.name);
    let measured = measured(&RESULTS, results.flows.iter());
    let rows = results.flows.iter().enumerate().map(|(index, flow)| {
        let finished = flow.finished().count();
        let status = format!("{finished} of {} done", flow.runs.len());
        of_flow(flow, &above(results.above_lowest(index)), &measured) + &words(&status)
    });
    table(&id, &caption, &["Flow", "Above the lowest (nats)"], &measured, &["Status"], rows)
}

/// The numbers that some run has.
fn measured<'a>(
    numbers: &[&'static Number],
    flows: impl Iterator<Item = &'a FlowResults>,
) -> Vec<&'static Number> {
    let runs: Vec<&RunSummary> = flows.flat_map(FlowResults::finished).collect();
    let has = |number: &&&Number| runs.iter().any(|run| (number.of)(run).is_some());
    numbers.iter().filter(has).copied().collect()
}

/// Work and numerical errors of the flows of a problem.
pub(super) fn of_numerics(results: &ProblemResults) -> String {
    let caption = format!(
        "{}: work and numerical errors, means over finished runs; of the round-trip error, the solver error \
         (tolerance halved) and the trace noise (one row, training's estimate), the largest.",
        escape(&results.problem.title)
    );
    let id = format!("numerics-{}", results.problem.name);
    let rows = results.flows.iter().map(|flow| {
        let log_det = flow.finished().next().map(log_det).unwrap_or_default();
        of_flow(flow, "", &NUMERICS) + &words(&log_det)
    });
    table(&id, &caption, &["Flow"], &NUMERICS, &["Log-det"], rows)
}

/// The audits of the flows of a problem, the worst over seeds.
pub(super) fn of_audits(results: &ProblemResults) -> String {
    let caption = format!(
        "{}: audits, the worst over seeds. The same weights in single and double precision on the same \
         rows and cells; Lipschitz constants and condition numbers from singular values of the \
         Jacobian at held-out rows, so that the constants are lower bounds.",
        escape(&results.problem.title)
    );
    let id = format!("audits-{}", results.problem.name);
    let rows = results.flows.iter().map(|flow| of_flow(flow, "", &AUDITS));
    table(&id, &caption, &["Flow"], &AUDITS, &[], rows)
}

/// A table with one row for each run.
pub(super) fn of_runs(results: &Results) -> String {
    let flows = results.problems.iter().flat_map(|problem| &problem.flows);
    let measured = &measured(&RESULTS, flows);
    let rows = results.problems.iter().flat_map(|problem| {
        let of_flow = move |flow| runs(&problem.problem.title, flow, measured);
        problem.flows.iter().flat_map(of_flow)
    });
    let caption = "Every run. ± is the standard error of the mean over held-out rows.";
    table("table-runs", caption, &["Run", "Seed"], measured, &["Status"], rows)
}

fn runs<'a>(
    problem: &'a str,
    flow: &'a FlowResults,
    numbers: &'a [&'static Number],
) -> impl Iterator<Item = String> + 'a {
    flow.runs.iter().map(move |run| {
        format!(
            "<th scope=\"row\">{}<span class=\"sub\">{}</span></th><td class=\"number\">{}</td>{}",
            escape(problem),
            escape(&flow.flow.title),
            run.seed,
            of_run(run, numbers)
        )
    })
}

fn of_run(run: &Run, numbers: &[&Number]) -> String {
    let status = match &run.summary {
        Ok(summary) => {
            let early = summary.stop == Some(Stop::EarlyStop);
            format!("{}{}", summary.status, if early { ", stopped early" } else { "" })
        }
        Err(_) => "no result".into(),
    };
    let summary = run.summary.as_ref().ok();
    let numbers = numbers.iter().map(|number| cell(number, summary.and_then(number.of)));
    numbers.collect::<String>() + &words(&status)
}

fn of_flow(flow: &FlowResults, before: &str, columns: &[&Number]) -> String {
    let (title, family) = (escape(&flow.flow.title), flow.flow.family);
    let numbers = columns.iter().map(|number| cell(number, flow.over_seeds(number)));
    format!("<th scope=\"row\">{title}<span class=\"sub\">{family}</span></th>{before}")
        + &numbers.collect::<String>()
}

/// A difference to the lowest.
fn above(difference: Option<Value>) -> String {
    let Some(known) = difference else { return format!("<td class=\"number\">{UNKNOWN}</td>") };
    let text = format::difference(known);
    format!("<td class=\"number\" data-value=\"{}\">{text}</td>", known.value)
}

/// Such as `exact, f32`.
fn log_det(run: &RunSummary) -> String {
    let words = [run.log_det.map(|kind| kind.to_string()), run.precision.clone()];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A value with its error, unless it is exact.
pub(super) fn cell(number: &Number, value: Option<Value>) -> String {
    let Some(known) = value else { return format!("<td class=\"number\">{UNKNOWN}</td>") };
    let text = match known.error {
        Some(0.0) => (number.text)(known.value),
        _ => format::estimate(known),
    };
    format!("<td class=\"number\" data-value=\"{}\">{text}</td>", known.value)
}

fn words(text: &str) -> String {
    if text.is_empty() {
        return format!("<td class=\"number\">{UNKNOWN}</td>");
    }
    format!("<td>{}</td>", escape(text))
}

/// A table of numbers with words before and after them.
pub(super) fn table(
    id: &str,
    caption: &str,
    before: &[&str],
    columns: &[&Number],
    after: &[&str],
    rows: impl Iterator<Item = String>,
) -> String {
    let numbers = columns.iter().map(|number| number.head);
    let heads = before.iter().copied().chain(numbers).chain(after.iter().copied());
    let heads: String = heads.map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let rows: String = rows.map(|row| format!("<tr>{row}</tr>\n")).collect();
    let table = format!(
        "<table class=\"sortable\" aria-labelledby=\"{id}\">\n<thead><tr>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table>"
    );
    scrolling(id, caption, &table)
}

/// A table that scrolls sideways under a caption that does not.
pub(super) fn scrolling(id: &str, caption: &str, table: &str) -> String {
    format!(
        "<p class=\"caption\" id=\"{id}\">{caption}</p>\n\
         <div class=\"scroll\" role=\"region\" aria-labelledby=\"{id}\" tabindex=\"0\">\n{table}\n</div>\n"
    )
}

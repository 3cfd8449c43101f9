//! Tables of results with all columns.

use super::estimate::Estimate;
use super::format::{self, UNKNOWN};
use super::gather::{FlowResults, ProblemResults, Results};
use super::numbers::Numbers;
use crate::figure::escape;

/// A column of numbers: its head and the cell of a row.
struct Column {
    head: &'static str,
    cell: fn(&Numbers) -> Cell,
}

/// Text of a cell, and the number it stands for.
struct Cell {
    text: String,
    value: Option<f64>,
}

const COLUMNS: [Column; 14] = [
    Column { head: "KL (nats)", cell: |row| estimate(row.kl) },
    Column { head: "NLL (nats)", cell: |row| estimate(row.nll) },
    Column { head: "Para\u{ad}meters", cell: |row| number(row.parameters, format::count) },
    Column { head: "Time (s)", cell: |row| number(row.train_seconds, format::number) },
    Column { head: "Steps", cell: |row| number(row.steps, format::count) },
    Column { head: "Evalua\u{ad}tions", cell: |row| number(row.evaluations, format::count) },
    Column { head: "Normali\u{ad}sation", cell: |row| number(row.normalisation, format::number) },
    Column { head: "Round-trip error", cell: |row| number(row.round_trip_error, format::small) },
    Column { head: "Solver error (nats)", cell: |row| number(row.solver_error, format::small) },
    Column { head: "Trace noise (nats)", cell: |row| number(row.trace_noise, format::small) },
    Column {
        head: "Log-densities / s",
        cell: |row| number(row.log_prob_rows_per_second, format::rate),
    },
    Column { head: "Draws / s", cell: |row| number(row.sample_rows_per_second, format::rate) },
    Column { head: "Log-det", cell: |row| words(&row.log_det) },
    Column { head: "Status", cell: |row| words(&row.status) },
];

fn estimate(estimate: Option<Estimate>) -> Cell {
    match estimate {
        Some(known) => Cell { text: format::estimate(known), value: Some(known.value) },
        None => Cell { text: UNKNOWN.into(), value: None },
    }
}

fn number(value: Option<f64>, text: fn(f64) -> String) -> Cell {
    Cell { text: value.map_or_else(|| UNKNOWN.into(), text), value }
}

fn words(text: &str) -> Cell {
    Cell { text: if text.is_empty() { UNKNOWN.into() } else { escape(text) }, value: None }
}

/// A table with one row for each flow of a problem: means over its finished runs.
pub(super) fn of_problem(results: &ProblemResults) -> String {
    let rows = results.flows.iter().map(|flow| {
        let (title, family) = (escape(&flow.flow.title), flow.flow.family);
        let head = format!("<th scope=\"row\">{title}<span class=\"sub\">{family}</span></th>");
        (head, Numbers::over_seeds(flow))
    });
    let caption = format!(
        "{}: means over finished runs ± standard error; of the round-trip error, the solver \
         error (tolerance halved) and the trace noise (one row, training's estimate), the largest.",
        escape(&results.problem.title)
    );
    let id = format!("table-{}", results.problem.name);
    table(&id, &caption, &["Flow"], rows)
}

/// A table with one row for each run.
pub(super) fn of_runs(results: &Results) -> String {
    let rows = results.problems.iter().flat_map(|problem| {
        problem.flows.iter().flat_map(move |flow| runs(&problem.problem.title, flow))
    });
    let caption = "Every run. ± is the standard error of the mean over held-out rows.";
    table("table-runs", caption, &["Run", "Seed"], rows)
}

fn runs<'a>(
    problem: &'a str,
    flow: &'a FlowResults,
) -> impl Iterator<Item = (String, Numbers)> + 'a {
    flow.runs.iter().map(move |run| {
        let head = format!(
            "<th scope=\"row\">{}<span class=\"sub\">{}</span></th><td class=\"number\">{}</td>",
            escape(problem),
            escape(&flow.flow.title),
            run.seed
        );
        let numbers = run.summary.as_ref().map_or_else(
            |_| Numbers { status: "no result".into(), ..Numbers::default() },
            Numbers::of_run,
        );
        (head, numbers)
    })
}

fn table(
    id: &str,
    caption: &str,
    heads: &[&str],
    rows: impl Iterator<Item = (String, Numbers)>,
) -> String {
    let heads: String = heads
        .iter()
        .copied()
        .chain(COLUMNS.iter().map(|column| column.head))
        .map(|head| format!("<th scope=\"col\">{head}</th>"))
        .collect();
    let rows: String = rows
        .map(|(head, numbers)| {
            let cells: String = COLUMNS.iter().map(|c| element((c.cell)(&numbers))).collect();
            format!("<tr>{head}{cells}</tr>\n")
        })
        .collect();
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

fn element(cell: Cell) -> String {
    match cell.value {
        Some(value) => {
            format!("<td class=\"number\" data-value=\"{value}\">{}</td>", cell.text)
        }
        None if cell.text == UNKNOWN => format!("<td class=\"number\">{UNKNOWN}</td>"),
        None => format!("<td>{}</td>", cell.text),
    }
}

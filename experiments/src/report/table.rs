//! Tables of results with all columns.

use super::estimate::Estimate;
use super::format::{self, UNKNOWN};
use super::gather::{FlowResults, ProblemResults, Results};
use super::numbers::Numbers;
use crate::figure::escape;
use crate::record::Audit;

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

const COLUMNS: [Column; 15] = [
    Column { head: "KL (nats)", cell: |row| estimate(row.kl, format::number) },
    Column { head: "NLL (nats)", cell: |row| estimate(row.nll, format::number) },
    Column { head: "Para\u{ad}meters", cell: |row| estimate(row.parameters, format::count) },
    Column { head: "Time (s)", cell: |row| estimate(row.train_seconds, format::number) },
    Column { head: "Steps", cell: |row| estimate(row.steps, format::count) },
    Column { head: "Row passes", cell: |row| estimate(row.train_work, format::rate) },
    Column { head: "Evalua\u{ad}tions", cell: |row| estimate(row.evaluations, format::count) },
    Column { head: "Normali\u{ad}sation", cell: |row| estimate(row.normalisation, format::number) },
    Column { head: "Round-trip error", cell: |row| number(row.round_trip_error, format::small) },
    Column { head: "Solver error (nats)", cell: |row| number(row.solver_error, format::small) },
    Column { head: "Trace noise (nats)", cell: |row| number(row.trace_noise, format::small) },
    Column { head: "Log-densities / s", cell: |row| estimate(row.log_prob_rate, format::rate) },
    Column { head: "Draws / s", cell: |row| estimate(row.sample_rate, format::rate) },
    Column { head: "Log-det", cell: |row| words(&row.log_det) },
    Column { head: "Status", cell: |row| words(&row.status) },
];

/// Columns of the table of audits.
const AUDITS: [Column; 9] = [
    Column {
        head: "Round trip f32",
        cell: |row| audit(row, |a| Some(a.round_trip_f32), format::small),
    },
    Column {
        head: "Round trip f64",
        cell: |row| audit(row, |a| Some(a.round_trip_f64), format::small),
    },
    Column {
        head: "Integral less 1, f32",
        cell: |row| audit(row, |a| Some(a.normalisation_f32? - 1.0), format::small),
    },
    Column {
        head: "Integral less 1, f64",
        cell: |row| audit(row, |a| Some(a.normalisation_f64? - 1.0), format::small),
    },
    Column {
        head: "f32 against f64, median (nats)",
        cell: |row| audit(row, |a| Some(a.precision_gap_median), format::small),
    },
    Column {
        head: "f32 against f64, largest (nats)",
        cell: |row| audit(row, |a| Some(a.precision_gap_largest), format::small),
    },
    Column {
        head: "Lipschitz, data to base",
        cell: |row| audit(row, |a| Some(a.lipschitz), format::number),
    },
    Column {
        head: "Lipschitz, base to data",
        cell: |row| audit(row, |a| Some(a.inverse_lipschitz), format::number),
    },
    Column {
        head: "Condition, median",
        cell: |row| audit(row, |a| Some(a.condition_median), format::number),
    },
];

fn audit(row: &Numbers, field: fn(&Audit) -> Option<f64>, text: fn(f64) -> String) -> Cell {
    number(row.audit.as_ref().and_then(field), text)
}

/// A mean with its error, or where it has none, `text`.
fn estimate(estimate: Option<Estimate>, text: fn(f64) -> String) -> Cell {
    let Some(known) = estimate else { return number(None, text) };
    let text = match known.error.filter(|error| *error > 0.0) {
        Some(_) => format::estimate(known),
        None => text(known.value),
    };
    Cell { text, value: Some(known.value) }
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
    table(&id, &caption, (&["Flow"], &COLUMNS), rows)
}

/// The audits of the flows of a problem, the worst over seeds.
pub(super) fn of_audits(results: &ProblemResults) -> String {
    let rows = results.flows.iter().map(|flow| {
        let (title, family) = (escape(&flow.flow.title), flow.flow.family);
        let head = format!("<th scope=\"row\">{title}<span class=\"sub\">{family}</span></th>");
        (head, Numbers::over_seeds(flow))
    });
    let caption = format!(
        "{}: audits, the worst over seeds. The same weights in single and double precision on the same \
         rows and cells; Lipschitz constants and condition numbers from singular values of the \
         Jacobian at held-out rows, so that the constants are lower bounds.",
        escape(&results.problem.title)
    );
    let id = format!("audits-{}", results.problem.name);
    table(&id, &caption, (&["Flow"], &AUDITS), rows)
}

/// A table with one row for each run.
pub(super) fn of_runs(results: &Results) -> String {
    let rows = results.problems.iter().flat_map(|problem| {
        problem.flows.iter().flat_map(move |flow| runs(&problem.problem.title, flow))
    });
    let caption = "Every run. ± is the standard error of the mean over held-out rows.";
    table("table-runs", caption, (&["Run", "Seed"], &COLUMNS), rows)
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
    (heads, columns): (&[&str], &[Column]),
    rows: impl Iterator<Item = (String, Numbers)>,
) -> String {
    let heads: String = heads
        .iter()
        .copied()
        .chain(columns.iter().map(|column| column.head))
        .map(|head| format!("<th scope=\"col\">{head}</th>"))
        .collect();
    let rows: String = rows
        .map(|(head, numbers)| {
            let cells: String = columns.iter().map(|c| element((c.cell)(&numbers))).collect();
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

//! Distances between draws and held-out rows, with their null bands.

use super::flow_results::FlowResults;
use super::format::{self, UNKNOWN};
use super::gather::ProblemResults;
use super::table::scrolling;
use super::value::Value;
use crate::figure::escape;
use crate::record::{Distance, DistanceName, RunSummary, distance_names};

/// A table with one row for each flow of a problem; nothing where nothing was measured.
pub(super) fn table_of(results: &ProblemResults) -> String {
    let columns = measured(results);
    let row = |flow: &FlowResults| {
        let runs: Vec<&RunSummary> = flow.finished().collect();
        let cells: String = columns.iter().map(|column| cell(&runs, column.key)).collect();
        let (title, family) = (escape(&flow.flow.title), flow.flow.family);
        format!(
            "<tr><th scope=\"row\">{title}<span class=\"sub\">{family}</span></th>{cells}</tr>\n"
        )
    };
    let rows = results.flows.iter().map(row).collect();
    table(&results.problem.name, &results.problem.title, &columns, rows)
}

/// The distances that some run of a problem has.
pub(super) fn measured(results: &ProblemResults) -> Vec<DistanceName> {
    let has = |column: &DistanceName| {
        let mut runs = results.flows.iter().flat_map(FlowResults::finished);
        runs.any(|run| run.distances.contains_key(column.key))
    };
    distance_names().filter(has).collect()
}

/// A distance and the end of its band, means over runs.
pub(super) fn over(runs: &[&RunSummary], name: &str) -> Option<[Value; 2]> {
    let mean = |field: fn(&Distance) -> f64| {
        let found = runs.iter().filter_map(|run| run.distances.get(name));
        let values = found.filter_map(|distance| Value::new(Some(field(distance)), Some(0.0)));
        Value::over_seeds(&values.collect::<Vec<Value>>())
    };
    Some([mean(|distance| distance.value)?, mean(|distance| distance.null_95)?])
}

/// A table with one row, that of a single run.
pub(super) fn table_of_run(run: &RunSummary) -> String {
    let measured = |column: &DistanceName| run.distances.contains_key(column.key);
    let columns: Vec<DistanceName> = distance_names().filter(measured).collect();
    let cells: String = columns.iter().map(|column| cell(&[run], column.key)).collect();
    let row = format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(&run.flow));
    table("run", &run.flow, &columns, row)
}

fn table(name: &str, title: &str, columns: &[DistanceName], rows: String) -> String {
    if columns.is_empty() {
        return String::new();
    }
    let heads: String =
        columns.iter().map(|column| format!("<th scope=\"col\">{}</th>", column.title)).collect();
    let caption = format!(
        "{}: distances between draws and held-out rows, in standard deviations of both together. Below each \
         stands what one pair in twenty of one distribution exceeds; * marks a distance above it, which says \
         that the draws are not from the distribution of the rows.",
        escape(title),
    );
    let id = format!("distances-{name}");
    let table = format!(
        "<table class=\"sortable\" aria-labelledby=\"{id}\">\n<thead><tr><th scope=\"col\">Flow</th>{heads}</tr>\
         </thead>\n<tbody>\n{rows}</tbody></table>"
    );
    scrolling(&id, &caption, &table)
}

/// Means over runs; marked where the mean of the distance is above that of the band's end.
fn cell(runs: &[&RunSummary], name: &str) -> String {
    let Some([value, end]) = over(runs, name) else {
        return format!("<td class=\"number\">{UNKNOWN}</td>");
    };
    let mark = if value.value > end.value { " *" } else { "" };
    format!(
        "<td class=\"number\" data-value=\"{}\">{}{mark}<span class=\"sub\">{}</span></td>",
        value.value,
        format::number(value.value),
        format::number(end.value),
    )
}

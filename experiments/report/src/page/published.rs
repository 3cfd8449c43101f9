//! Published test log-likelihoods beside those of a comparison, for the standard tables.

use super::flow_results::{FlowResults, Measure};
use super::format::{self, UNKNOWN};
use super::gather::ProblemResults;
use super::table::scrolling;
use super::value::Value;
use crate::figure::escape;
use crate::published::{ALL, Published};

/// What stands in the place of a publication for results of the comparison.
pub(super) const HERE: &str = "this comparison";

/// What a reader has to know of the published values.
pub(super) const REMARKS: &str = "Values of this comparison are minus the negative log-likelihood ± its standard \
    error. The others are context and no results of this program: other hardware, other budgets, other \
    early stopping. Their ± are as published and not comparable with each other: two standard errors over \
    test rows where Papamakarios et al. or Durkan et al. trained, standard deviations over three runs for \
    FFJORD, NAF, B-NAF and SOS, and not stated here for the rest. UMNN-MAF and OT-Flow are taken from \
    secondary sources. Residual flows publish no such table.";

/// A line of the table.
pub(super) struct Line {
    pub(super) flow: String,
    /// Mean log-likelihood of the test rows with its ±, nats.
    pub(super) value: Option<Value>,
    /// The same as text.
    pub(super) words: String,
    /// What its ± is.
    pub(super) error: &'static str,
    pub(super) source: &'static str,
}

/// The flows of a comparison on one of the standard tables, then what is published; nothing for other
/// problems.
pub(super) fn lines(results: &ProblemResults) -> Vec<Line> {
    let Some(table) = results.problem.published.as_deref() else { return Vec::new() };
    let here = results.flows.iter().map(of_flow);
    here.chain(ALL.iter().filter_map(|published| of_publication(published, table))).collect()
}

fn of_flow(flow: &FlowResults) -> Line {
    let nll = flow.mean(Measure::NegativeLogLikelihood);
    let value = nll.map(|nll| Value { value: -nll.value, ..nll });
    Line {
        flow: flow.flow.title.clone(),
        value,
        words: value.map_or_else(|| UNKNOWN.to_owned(), format::estimate),
        error: "standard error",
        source: HERE,
    }
}

fn of_publication(published: &Published, table: &str) -> Option<Line> {
    let (value, error) = published.on(table)?;
    let number = |text: &str| text.parse().ok();
    let mut words = value.replace('-', "\u{2212}");
    if let Some(error) = error {
        words += &format!(" ± {error}");
    }
    Some(Line {
        flow: published.flow.to_owned(),
        value: Value::new(number(value), error.and_then(number)),
        words,
        error: published.origin.error,
        source: published.origin.source,
    })
}

/// The table, with its heading as caption; nothing for other problems.
pub(super) fn table_of(results: &ProblemResults) -> String {
    let lines = lines(results);
    if lines.is_empty() {
        return String::new();
    }
    let heads = ["Flow", "Test log-likelihood (nats)", "± is", "From"];
    let heads: String = heads.map(|head| format!("<th scope=\"col\">{head}</th>")).concat();
    let row = |line: &Line| {
        let value =
            line.value.map_or_else(String::new, |value| format!(" data-value=\"{}\"", value.value));
        let class = if line.source == HERE { "" } else { " class=\"published\"" };
        format!(
            "<tr{class}><th scope=\"row\">{}</th><td class=\"number\"{value}>{}</td><td>{}</td><td>{}</td></tr>\n",
            escape(&line.flow),
            line.words,
            line.error,
            line.source
        )
    };
    let id = format!("published-{}", results.problem.name);
    let rows: String = lines.iter().map(row).collect();
    let caption = format!(
        "{}: Published test log-likelihoods, mean over test rows in nats; higher is better. {REMARKS}",
        escape(&results.problem.title)
    );
    let table = format!(
        "<table class=\"sortable\" aria-labelledby=\"{id}\">\n<thead><tr>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table>"
    );
    scrolling(&id, &caption, &table)
}

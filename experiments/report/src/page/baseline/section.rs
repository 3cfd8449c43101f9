//! The section of a page that tells what changed since an earlier comparison.

use crate::figure::escape;
use crate::page::format::{self, UNKNOWN};
use crate::page::table::scrolling;
use crate::page::value::Value;
use crate::record::{Change, Verdict};

/// A table with a row for each change; nothing without an earlier comparison.
pub(in crate::page) fn section(changes: &[Change]) -> String {
    let Some(Change { tolerance, baseline, .. }) = changes.first() else { return String::new() };
    let rows: String = changes.iter().map(row).collect();
    let heads = [
        "Run",
        "Quantity",
        "Earlier",
        "Now",
        "Change",
        "Worse by (s.e.)",
        "Seeds",
        "Verdict",
        "Note",
    ];
    let heads: String = heads.map(|head| format!("<th scope=\"col\">{head}</th>")).concat();
    let table = format!(
        "<table class=\"sortable\" aria-labelledby=\"baseline-table\">\n<thead><tr>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table>"
    );
    let caption = format!(
        "Means over the seeds that both comparisons finished. Change: now less earlier in nats, of \
         rates now over earlier, each ± its standard error; paired by test rows and seeds where both \
         are the same. <em>worse</em> and <em>better</em>: by more than {} standard errors. The error \
         of one seed knows nothing of other initial weights.",
        format::short(*tolerance)
    );
    format!(
        "<section id=\"baseline\" aria-labelledby=\"baseline-title\">\n\
         <h2 id=\"baseline-title\">Against the earlier comparison</h2>\n<p>{} The earlier comparison \
         is that in <code>{}</code>.</p>\n{}</section>\n",
        count(changes),
        escape(baseline),
        scrolling("baseline-table", &caption, &table)
    )
}

/// How many changes are of each kind, in words.
fn count(changes: &[Change]) -> String {
    let of = |verdict| changes.iter().filter(|change| change.verdict == verdict).count();
    format!(
        "Worse: {}; better: {}; the same: {}; not judged: {}.",
        of(Verdict::Worse),
        of(Verdict::Better),
        of(Verdict::Same),
        of(Verdict::NotJudged)
    )
}

fn row(change: &Change) -> String {
    let text = if change.quantity.is_rate() { format::rate } else { format::number };
    let cell = |value: Option<f64>, text: String| match value {
        Some(value) => format!("<td class=\"number\" data-value=\"{value}\">{text}</td>"),
        None => format!("<td class=\"number\">{UNKNOWN}</td>"),
    };
    let number = |value: Option<f64>| cell(value, value.map(text).unwrap_or_default());
    let found = change.change.map(|value| Value { value, error: change.standard_error });
    let found = match found {
        // A count has no error.
        Some(count) if change.verdict != Verdict::NotJudged && count.error.is_none() => {
            format::difference(Value { error: Some(0.0), ..count })
        }
        Some(ratio) if change.quantity.is_rate() => format::estimate(ratio),
        Some(nats) => format::difference(nats),
        None => String::new(),
    };
    let mark = match change.verdict {
        Verdict::Worse => "<span class=\"mark best\">worse</span>".to_owned(),
        Verdict::Better => "<span class=\"mark\">better</span>".to_owned(),
        other => other.to_string(),
    };
    format!(
        "<tr><th scope=\"row\">{}<span class=\"sub\">{}</span></th><td>{}</td>{}{}{}{}\
         <td class=\"number\">{}</td><td>{mark}</td><td>{}</td></tr>\n",
        escape(&change.problem),
        escape(&change.flow),
        change.quantity,
        number(change.old),
        number(change.new),
        cell(change.change, found),
        cell(change.worse_by, change.worse_by.map(format::short).unwrap_or_default()),
        change.seeds,
        escape(&change.note),
    )
}

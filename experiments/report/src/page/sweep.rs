//! Grids of settings: what a flow reaches and costs as its settings change.

mod group;

use anyhow::Result;

use self::group::{Group, Key, groups};
use super::figures::Figures;
use super::flow_results::{FlowResults, Measure};
use super::format::UNKNOWN;
use super::gather::ProblemResults;
use super::number::{self, Number};
use super::table;
use crate::figure::{escape, plot};
use crate::finding::{Plot, Scale, Stroke};

/// Curves of one plot that can still be told apart.
const MOST_CURVES: usize = 12;

/// Largest over smallest value from which on an axis is logarithmic.
const DECADE: f64 = 10.0;

/// For each grid of a problem, plots against each of its settings and a table.
pub(super) fn section(results: &ProblemResults, figures: &mut Figures) -> Result<String> {
    groups(results).iter().map(|group| of_group(results, group, figures)).collect()
}

fn of_group(results: &ProblemResults, group: &Group<'_>, figures: &mut Figures) -> Result<String> {
    let (mut html, mut names) = (String::new(), Vec::new());
    for key in &group.keys {
        html += &of_key(results, (group, key), figures, &mut names)?;
    }
    Ok(format!(
        "<h3>Settings of {}</h3>\n{html}{}{}",
        escape(group.name),
        figures.command(&results.problem, None, &names),
        tabulated(results, group)
    ))
}

/// Plots against one key, beside each other.
fn of_key(
    results: &ProblemResults,
    (group, key): (&Group<'_>, &Key<'_>),
    figures: &mut Figures,
    names: &mut Vec<String>,
) -> Result<String> {
    let (problem, measure) = (&results.problem, results.measure());
    let mut charts = String::new();
    for (what, number) in [
        (measure.name(), measure.number()),
        ("parameters", &number::PARAMETERS),
        ("time", &number::TRAIN_SECONDS),
    ] {
        let title = format!("{}, {}: {what} against {}", problem.title, group.name, key.name);
        let axis = number.head.replace('\u{ad}', "");
        let plot = plot((group, key), (number, measure), (title, &axis));
        let name = format!("{}-{}-{}-{what}", problem.name, group.name, key.file_name());
        let element = figures.add_chart(&name, |width| plot::draw(&plot, width))?;
        names.push(name);
        charts += &format!("<div class=\"chart\">{element}</div>\n");
    }
    let others: Vec<&str> = others(group, key).map(|key| key.name).collect();
    let curves = match others[..] {
        [] => String::new(),
        _ => format!(" A curve for each setting of {}.", escape(&others.join(", "))),
    };
    let left_out = match labels(group, key).len().saturating_sub(MOST_CURVES) {
        0 => String::new(),
        count => format!(" {count} curves are left out; the table has all."),
    };
    Ok(format!(
        "<figure class=\"chart\"><div class=\"charts sweep\">\n{charts}</div>\n<figcaption>{} against {}: \
         means over seeds ± one standard error, with parameters and training time \
         beside it.{curves}{left_out}</figcaption></figure>\n",
        measure.name(),
        escape(key.name),
    ))
}

fn others<'g>(group: &'g Group<'_>, key: &'g Key<'_>) -> impl Iterator<Item = &'g Key<'g>> {
    group.keys.iter().filter(move |other| !std::ptr::eq(*other, key))
}

/// The settings of a flow but that of `key`, in words.
fn label(group: &Group<'_>, key: &Key<'_>, flow: &FlowResults) -> String {
    let setting = |key: &Key<'_>| Some(format!("{} {}", key.name, key.of(flow)?));
    let settings: Vec<String> = others(group, key).filter_map(setting).collect();
    if settings.is_empty() { group.name.to_owned() } else { settings.join(", ") }
}

/// The label of each curve, once.
fn labels(group: &Group<'_>, key: &Key<'_>) -> Vec<String> {
    let mut labels = Vec::new();
    for flow in group.flows.iter().filter(|flow| key.of(flow).is_some()) {
        let label = label(group, key, flow);
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    labels
}

fn plot(
    (group, key): (&Group<'_>, &Key<'_>),
    (number, measure): (&Number, Measure),
    (title, y_name): (String, &str),
) -> Plot {
    let point = |flow: &FlowResults| {
        let value = flow.over_seeds(number)?;
        Some([key.place(flow)?, value.value, value.error.unwrap_or(0.0)])
    };
    let points: Vec<(String, [f64; 3])> = group
        .flows
        .iter()
        .filter_map(|flow| Some((label(group, key, flow), point(flow)?)))
        .collect();
    let heights: Vec<f64> = points.iter().map(|(_, [_, y, _])| *y).collect();
    let x = match key.numbers() {
        Some(numbers) => scale(key.name, spread(&numbers) >= DECADE),
        None => Scale::words(key.name, key.words()),
    };
    let is_divergence = measure.is_divergence() && std::ptr::eq(number, measure.number());
    let least = if is_divergence { 1.0 } else { DECADE };
    let mut plot = Plot::new(&title, x, scale(y_name, spread(&heights) >= least));
    for label in labels(group, key).into_iter().take(MOST_CURVES) {
        let own = points.iter().filter(|(other, _)| *other == label).map(|(_, point)| *point);
        let mut own: Vec<[f64; 3]> = own.collect();
        own.sort_by(|a, b| a[0].total_cmp(&b[0]));
        plot.series_with_errors(label, Stroke::Measured, own);
    }
    plot
}

fn scale(name: &str, logarithmic: bool) -> Scale {
    if logarithmic { Scale::log(name) } else { Scale::linear(name) }
}

/// Largest over smallest of positive values; 0 where some are not positive.
fn spread(values: &[f64]) -> f64 {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    if least > 0.0 { values.iter().copied().fold(0.0, f64::max) / least } else { 0.0 }
}

/// A row for each point of the grid.
fn tabulated(results: &ProblemResults, group: &Group<'_>) -> String {
    let columns = [results.measure().number(), &number::PARAMETERS, &number::TRAIN_SECONDS];
    let rows = group.flows.iter().map(|flow| {
        let settings = group.keys.iter().map(|key| setting(key.of(flow)));
        let numbers = columns.iter().map(|number| table::cell(number, flow.over_seeds(number)));
        let (finished, all) = (flow.finished().count(), flow.runs.len());
        let cells = settings.chain(numbers).collect::<String>();
        format!("{cells}<td>{finished} of {all} done</td>")
    });
    let caption = format!(
        "{}: the grid of {}; means over finished runs ± standard error.",
        escape(&results.problem.title),
        escape(group.name)
    );
    let heads: Vec<String> = group.keys.iter().map(|key| escape(key.name)).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let id = format!("grid-{}-{}", results.problem.name, group.name);
    table::table(&id, &caption, &heads, &columns, &["Status"], rows)
}

/// A number to sort by, or a word.
fn setting(value: Option<&str>) -> String {
    let Some(value) = value else { return format!("<td class=\"number\">{UNKNOWN}</td>") };
    match value.parse::<f64>() {
        Ok(number) => {
            format!("<td class=\"number\" data-value=\"{number}\">{}</td>", escape(value))
        }
        Err(_) => format!("<td>{}</td>", escape(value)),
    }
}

//! The section of one problem.

use anyhow::Result;
use flows_core::Shape;

use super::figures::Figures;
use super::flow_results::{FlowResults, Measure};
use super::gather::ProblemResults;
use super::value::Value;
use super::{
    calibration, cost, distances, format, gallery, learning, published, sweep, table, target,
    transport, warnings,
};
use crate::figure::escape;
use crate::record::{Folder, Problem, ProblemKind, RunSummary};

/// Facts, galleries, curves, cost, numbers and remarks of one problem.
pub(super) fn section(
    folder: &Folder,
    results: &ProblemResults,
    figures: &mut Figures,
) -> Result<String> {
    let problem = &results.problem;
    let name = &problem.name;
    Ok(format!(
        "<section id=\"problem-{name}\" aria-labelledby=\"title-{name}\">\n\
         <h2 id=\"title-{name}\">{}</h2>\n<p>{}</p>\n{}{}{}<div class=\"charts costs\">\n{}{}</div>\n{}{}{}{}{}{}\
         </section>\n",
        escape(&problem.title),
        facts(problem, results.measure()),
        warnings::section(results),
        gallery::section(folder, results, figures)?,
        transport::section(folder, results, figures)?,
        learning::section(folder, results, figures)?,
        cost::section(folder, results, figures)?,
        calibration::section(folder, results, figures)?,
        sweep::section(results, figures)?,
        table::of_problem(results) + &target::table_of(results) + &published::table_of(results),
        distances::table_of(results),
        table::of_numerics(results) + &table::of_audits(results),
        remarks(results)
    ))
}

fn facts(problem: &Problem, measure: Measure) -> String {
    let kind = match problem.kind {
        ProblemKind::Toy => "Toy density",
        ProblemKind::Conditional => "Conditional density",
        ProblemKind::Target => "Density without data",
        ProblemKind::Table => "Table",
    };
    let features = match (problem.dim, &problem.context[..]) {
        (count, []) if let Some(Shape { channels, height, width }) = problem.image => {
            format!("{count} features, images of {channels} × {height} × {width}")
        }
        (1, []) => "1 feature".into(),
        (1, given) => format!("1 feature given {}", escape(&given.join(", "))),
        (count, []) => format!("{count} features"),
        (count, given) => format!("{count} features given {}", escape(&given.join(", "))),
    };
    if problem.kind == ProblemKind::Target {
        return format!(
            "{kind} with {features}, known up to a constant; trained on draws of the flow. Flows are \
             ranked by the {}.",
            match measure {
                Measure::Divergence => "forward KL over exact draws of the density",
                other => other.words(),
            }
        );
    }
    let training = match problem.training_rows {
        Some(rows) => format!("{} training rows", format::count(rows as f64)),
        None => "fresh draws for every batch".into(),
    };
    // An error that no figure of the report could show is none.
    let error = problem.entropy_error.filter(|error| *error > 1e-4).unwrap_or(0.0);
    let entropy = match Value::new(problem.entropy_nats, Some(error)) {
        Some(entropy) => {
            let expected = if problem.context.is_empty() { "" } else { "expected " };
            format!("; {expected}entropy of the truth {} nats", format::estimate(entropy))
        }
        None => "; the true density is not known".into(),
    };
    format!(
        "{kind} with {features}; {training}, {} held-out rows{entropy}.",
        format::count(problem.test_rows as f64)
    )
}

/// Runs that were lost, accuracies and windows, as a list; nothing when there is nothing to say.
///
/// What holds for several flows is said once.
fn remarks(results: &ProblemResults) -> String {
    let mut remarks: Vec<(String, Vec<String>)> = Vec::new();
    for flow in &results.flows {
        for text in remarks_on(flow) {
            let title = escape(&flow.flow.title);
            match remarks.iter_mut().find(|(known, _)| *known == text) {
                Some((_, titles)) => titles.push(title),
                None => remarks.push((text, vec![title])),
            }
        }
    }
    let items: String = remarks
        .iter()
        .map(|(text, titles)| {
            let text = escape(text.trim_end_matches('.'));
            format!("<li><strong>{}</strong>: {text}.</li>\n", titles.join(", "))
        })
        .collect();
    if items.is_empty() { items } else { format!("<ul class=\"remarks\">\n{items}</ul>\n") }
}

fn remarks_on(flow: &FlowResults) -> Vec<String> {
    let mut remarks = flow.losses();
    remarks.extend(flow.finished().filter_map(early_stop));
    if let Some(run) = flow.finished().next() {
        remarks.extend(accuracy(run));
        remarks.extend(window(run));
    }
    remarks
}

fn early_stop(run: &RunSummary) -> Option<String> {
    Some(format!("seed {} {}", run.seed, run.stopped_early()?))
}

fn accuracy(run: &RunSummary) -> Option<String> {
    let accuracy = run.accuracy.as_ref()?;
    Some(format!("trained with {}; reported with {}", accuracy.train, accuracy.report))
}

fn window(run: &RunSummary) -> Option<String> {
    run.normalisation?;
    let [x0, x1, y0, y1] = run.normalisation_window?.map(format::short);
    Some(format!("normalisation is the integral over [{x0}, {x1}] × [{y0}, {y1}]"))
}

//! The learning curves of a problem as a figure with its caption.

use anyhow::Result;

use super::figures::Figures;
use super::gather::ProblemResults;
use crate::figure::learning::{self, Curve, Learning, Quantity};
use crate::figure::{Look, Width, escape};
use crate::record::{Folder, MetricsRow, Problem, ProblemKind, RunFiles, RunKey, RunSummary};

/// Curves of all runs, and what a caption has to say about them.
#[derive(Default)]
struct Gathered {
    curves: Vec<Curve>,
    /// Runs whose metrics could not be read, with the reason.
    missing: Vec<String>,
    /// Some run has no validation rows.
    batches: bool,
}

/// All runs of a problem against wall-clock time.
pub(super) fn section(
    folder: &Folder,
    results: &ProblemResults,
    figures: &mut Figures,
) -> Result<String> {
    let problem = &results.problem;
    let gathered = gather(folder, results);
    let figure = figure(problem, &gathered, figures, "a line for each seed; ")?;
    let again = figures.command(problem, None, &[format!("{}-learning", problem.name)]);
    Ok(format!("{figure}{again}</figure>\n"))
}

/// The curve of a single run.
pub(super) fn of_run(
    files: &RunFiles,
    (run, problem): (&RunSummary, &Problem),
    figures: &mut Figures,
) -> Result<String> {
    let look = Look { title: run.flow.clone(), family: run.family, index: 0 };
    let rows = match files.metrics() {
        Ok(rows) => rows,
        Err(error) => {
            return Ok(format!(
                "<p class=\"missing\">No curve: {}.</p>\n",
                escape(&format!("{error:#}"))
            ));
        }
    };
    let (points, validated) = points(&rows, 0.0);
    let gathered =
        Gathered { curves: vec![Curve { look, points }], missing: Vec::new(), batches: !validated };
    let drawn = figure(problem, &gathered, figures, "")?;
    Ok(drawn.replacen("class=\"chart\"", "class=\"chart single\"", 1) + "</figure>\n")
}

/// All curves with their caption, up to the end of the figure.
fn figure(
    problem: &Problem,
    gathered: &Gathered,
    figures: &mut Figures,
    lines: &str,
) -> Result<String> {
    let (quantity, loss) = match (problem.kind, problem.entropy_nats) {
        (ProblemKind::Target, _) => (
            Quantity::Divergence,
            "reverse KL over draws of the flow, unless its settings name another objective",
        ),
        (_, Some(_)) => (Quantity::Divergence, "validation loss minus the entropy of the truth"),
        (_, None) => (Quantity::NegativeLogLikelihood, "validation loss"),
    };
    let title = &problem.title;
    let words = format!("{title}: learning curves of all flows against training time");
    let name = format!("{}-learning", problem.name);
    let draw = |width| learning::draw(&gathered.curves, quantity, words.clone(), width);
    let element = figures.add_chart(&name, |width| Ok(draw(width)?.figure))?;
    let drawn = draw(Width::Page)?;
    let remarks = remarks(&drawn, gathered);
    Ok(format!(
        "<figure class=\"chart\"><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Learning curves: {}\">{element}</div>\n<figcaption>Learning curves: {loss}, {lines}\
         solid for finite flows, dashed for continuous ones.{remarks}</figcaption>\n",
        escape(title)
    ))
}

fn gather(folder: &Folder, results: &ProblemResults) -> Gathered {
    let mut gathered = Gathered::default();
    let problem = &results.problem;
    for flow in &results.flows {
        for run in &flow.runs {
            let (flow_name, seed) = (&flow.flow.name, run.seed);
            let key = RunKey { problem: &problem.name, flow: flow_name, seed };
            match folder.metrics(key) {
                Ok(rows) => {
                    let (points, validated) = points(&rows, problem.entropy_nats.unwrap_or(0.0));
                    gathered.batches |= !validated;
                    gathered.curves.push(Curve { look: flow.look.clone(), points });
                }
                Err(error) => gathered.missing.push(format!("{error:#}")),
            }
        }
    }
    gathered
}

fn remarks(drawn: &Learning, gathered: &Gathered) -> String {
    let mut remarks = String::new();
    if drawn.raised {
        remarks += " Estimates below the lower limit are drawn on it.";
    }
    if drawn.cut {
        remarks += " Values above the upper limit are not shown.";
    }
    if gathered.batches {
        remarks += " Runs without validation rows show their training batches.";
    }
    for reason in &gathered.missing {
        remarks += &format!(" Not shown: {}.", escape(reason));
    }
    remarks
}

/// Seconds and nats above `floor` of the validated steps; of all steps where none was validated.
fn points(rows: &[MetricsRow], floor: f64) -> (Vec<(f64, f64)>, bool) {
    let validated = rows.iter().any(|row| row.validation_nats.is_some());
    let nats = |row: &MetricsRow| {
        if validated { row.validation_nats } else { row.train_nats }
    };
    let points = rows.iter().filter_map(|row| Some((row.seconds, nats(row)? - floor)));
    (points.collect(), validated)
}

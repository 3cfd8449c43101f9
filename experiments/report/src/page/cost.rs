//! What the flows of a problem reach against what they cost, as a figure with its caption.

use anyhow::Result;

use super::figures::Figures;
use super::flow_results::FlowResults;
use super::gather::ProblemResults;
use super::number;
use super::value::Value;
use crate::figure::cost::{self, Cost, Quantity};
use crate::figure::escape;
use crate::record::{Folder, RunKey};

/// All flows with a finished run against time, work, parameters, passes and throughput.
pub(super) fn section(
    folder: &Folder,
    results: &ProblemResults,
    figures: &mut Figures,
) -> Result<String> {
    let measure = results.measure();
    let (quantity, words) = match measure.is_divergence() {
        true => (Quantity::Divergence, measure.words().to_owned()),
        false => (Quantity::Excess, format!("{} above the lowest", measure.words())),
    };
    let costs = costs(folder, results);
    if costs.is_empty() {
        return Ok("<p class=\"missing\">No cost figure: no run finished.</p>\n".into());
    }
    let title = &results.problem.title;
    let description =
        format!("{title}: {words} against training time, work, parameters, passes and throughput");
    let name = format!("{}-cost", results.problem.name);
    let draw = |width| cost::draw(&costs, quantity, description.clone(), width);
    let element = figures.add_chart(&name, draw)?;
    let again = figures.command(&results.problem, None, &[name]);
    let trails = if costs.iter().any(|cost| !cost.trail.is_empty()) {
        " In the first plot a line for each flow follows its lowest validated divergence so far \
         (first finished seed), as far as it is within the axes."
    } else {
        ""
    };
    Ok(format!(
        "<figure class=\"chart\"><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Cost: {}\">{element}</div>\n<figcaption>Cost: {words}, means over seeds ± one \
         standard error, against what it takes; left is cheaper, and for rates right is faster. The \
         thin black line is the Pareto front: what no other flow beats in both.{trails} Triangles are \
         continuous flows.</figcaption>\n{again}</figure>\n",
        escape(title)
    ))
}

fn costs(folder: &Folder, results: &ProblemResults) -> Vec<Cost> {
    let measure = results.measure();
    let means = || results.flows.iter().filter_map(|flow| Some((flow, flow.mean(measure)?)));
    let floor = match measure.is_divergence() {
        true => 0.0,
        false => means().map(|(_, mean)| mean.value).fold(f64::INFINITY, f64::min),
    };
    let cost = |(flow, mean): (&FlowResults, Value)| Cost {
        look: flow.look.clone(),
        nats: mean.value - floor,
        error: mean.error.unwrap_or(0.0),
        spent: [
            &number::TRAIN_SECONDS,
            &number::TRAIN_WORK,
            &number::PARAMETERS,
            &number::EVALUATIONS,
            &number::LOG_PROB_RATE,
            &number::SAMPLE_RATE,
        ]
        .map(|number| Some(flow.over_seeds(number)?.value)),
        trail: trail(folder, results, flow),
    };
    means().map(cost).collect()
}

/// Seconds and the lowest validated divergence so far of the first finished run; nothing where the
/// divergence is not known, because validation and test rows differ.
fn trail(folder: &Folder, results: &ProblemResults, flow: &FlowResults) -> Vec<(f64, f64)> {
    let problem = &results.problem;
    let (Some(entropy), Some(run)) = (problem.entropy_nats, flow.finished().next()) else {
        return Vec::new();
    };
    let key = RunKey { problem: &problem.name, flow: &flow.flow.name, seed: run.seed };
    let mut lowest = f64::INFINITY;
    let rows = folder.metrics(key).unwrap_or_default();
    let points = rows.into_iter().filter_map(|row| {
        lowest = lowest.min(row.validation_nats? - entropy);
        Some((row.seconds, lowest))
    });
    points.collect()
}

//! What the flows of a problem reach against what they cost, as a figure with its caption.

use anyhow::Result;

use super::album::Album;
use super::estimate::Estimate;
use super::gather::{FlowResults, Measure, ProblemResults};
use super::numbers::Numbers;
use crate::figure::cost::{self, Cost, Quantity};

/// All flows with a finished run against parameters and throughput.
pub(super) fn section(results: &ProblemResults, album: &mut Album) -> Result<String> {
    let (quantity, words) = match results.measure() {
        Measure::Divergence => (Quantity::Divergence, "KL divergence"),
        Measure::NegativeLogLikelihood => {
            (Quantity::Excess, "negative log-likelihood above the lowest")
        }
    };
    let costs = costs(results);
    if costs.is_empty() {
        return Ok("<p class=\"missing\">No cost figure: no run finished.</p>\n".into());
    }
    let title = &results.problem.title;
    let description = format!("{title}: {words} against parameters and against throughput");
    let figure = cost::draw(&costs, quantity, description)?;
    let element = album.add(&format!("{}-cost", results.problem.name), &figure)?;
    Ok(format!(
        "<figure class=\"chart\"><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Cost\">{element}</div>\n<figcaption>Cost: {words} against parameters (left is \
         cheaper) and against throughput (right is faster); means over seeds ± one standard error. \
         Triangles are continuous flows.</figcaption></figure>\n"
    ))
}

fn costs(results: &ProblemResults) -> Vec<Cost> {
    let measure = results.measure();
    let means = || results.flows.iter().filter_map(|flow| Some((flow, flow.mean(measure)?)));
    let floor = match measure {
        Measure::Divergence => 0.0,
        Measure::NegativeLogLikelihood => {
            means().map(|(_, mean)| mean.value).fold(f64::INFINITY, f64::min)
        }
    };
    let cost = |(flow, mean): (&FlowResults, Estimate)| {
        let numbers = Numbers::over_seeds(flow);
        Cost {
            look: flow.look.clone(),
            nats: mean.value - floor,
            error: mean.error.unwrap_or(0.0),
            parameters: numbers.parameters,
            rows_per_second: numbers.log_prob_rows_per_second,
        }
    };
    means().map(cost).collect()
}

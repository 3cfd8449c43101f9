//! Presets scaled to a number of weights, so that flows can be compared at equal size.

use anyhow::{Result, bail};
use flows_core::Parameters;

use crate::Usage;
use crate::config::{FlowConfig, RunConfig};

/// How far from the number asked for a flow may be, as a share of it.
const TOLERANCE: f64 = 0.1;

/// Least and greatest factor of the widths.
const FACTORS: [f64; 2] = [1.0 / 128.0, 16.0];

/// Halvings of the interval between them: to less than one unit of any width.
const HALVINGS: usize = 20;

/// The flow of `config` with about `target` weights: its widths times one factor, and where it has
/// none, its number of components or layers. The factor is found by bisection on the count of the
/// flow that is built.
///
/// # Errors
/// [`Usage`] if no factor comes within a tenth of the number; that of the preset if it cannot be built.
pub fn sized(
    config: &RunConfig,
    name: &str,
    (dim, context_dim): (usize, usize),
    target: u64,
) -> Result<FlowConfig> {
    config.build::<f32>(dim, context_dim)?;
    let [mut low, mut high] = FACTORS.map(f64::ln);
    let mut nearest = (f64::INFINITY, 0, config.flow.clone());
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        let flow = config.flow.with(config.flow.scaled(middle.exp()));
        let sized = RunConfig { flow: flow.clone(), ..config.clone() };
        let built = sized.build::<f32>(dim, context_dim);
        // What cannot be built is too large for memory.
        let count = built.map_or(u64::MAX, |flow| flow.count() as u64);
        let distance = (count as f64 / target as f64 - 1.0).abs();
        if distance < nearest.0 {
            nearest = (distance, count, flow);
        }
        if count < target { low = middle } else { high = middle }
    }
    let (distance, count, flow) = nearest;
    if distance > TOLERANCE {
        bail!(Usage(format!(
            "{name}: expected a size within {:.0} % of {target} parameters on {dim} features, the \
             nearest is {count}; give another number, or leave the flow out with --flows",
            100.0 * TOLERANCE
        )));
    }
    Ok(flow)
}

//! Where draws stand on their way from base to data, for animations.

use anyhow::Result;
use flows_core::{Context, Flow, Real, Stream, Values};

/// Draws that are followed.
const DRAWS: usize = 1_200;

/// Most stages that are kept.
const MOST: usize = 12;

/// Rows of stage, x1, x2 for draws from the base: stage 0 is the base, the last one the data. Of many
/// stages, some at equal distances.
///
/// # Errors
/// As [`Bijector::forward`](flows_core::Bijector::forward).
pub fn transport<E: Real>(flow: &Flow<E>, rng: &mut Stream) -> Result<Vec<f32>> {
    let start = flow.base().sample(DRAWS, rng)?;
    let stages = flow.bijector().stages(&start, &Context::none())?;
    let mut rows = Vec::new();
    for index in kept(stages.len()) {
        for point in stages[index].values().chunks_exact(flow.dim()) {
            rows.push(index as f32);
            rows.extend(point.iter().map(|coordinate| coordinate.as_f64() as f32));
        }
    }
    Ok(rows)
}

/// At most [`MOST`] indices below `count`, the first and the last among them.
fn kept(count: usize) -> Vec<usize> {
    let shown = count.min(MOST);
    let last = shown.saturating_sub(1).max(1);
    (0..shown).map(|i| (i * count.saturating_sub(1) + last / 2) / last).collect()
}

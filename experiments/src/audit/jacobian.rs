//! Singular values of the Jacobian of data to base, by central differences in double precision.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use flows_continuous::{Accuracy, Adaptive, ContinuousFlow, Solver};
use flows_core::{Flow, Tape, Values};
use nalgebra::{DMatrix, SVD};

use crate::config::RunConfig;
use crate::rows::Rows;

/// Half the distance of the two points of a difference. With errors of 1e-9 in either image and a third
/// derivative of about one, both kinds of error stay below 1e-5.
const STEP: f64 = 1e-4;

/// Tolerance of an adaptive solver whose solutions are to be differenced.
const TOLERANCE: f64 = 1e-9;

/// Most iterations of a decomposition.
const ITERATIONS: usize = 10_000;

/// The config with an adaptive solver so tight that differences of its solutions are derivatives.
pub(super) fn strict(config: &RunConfig) -> RunConfig {
    let Some(flow) = config.flow.downcast_ref::<ContinuousFlow>() else { return config.clone() };
    let tight =
        |a: Adaptive| Adaptive { rtol: a.rtol.min(TOLERANCE), atol: a.atol.min(TOLERANCE), ..a };
    let solver = match flow.reporting.solver {
        Solver::Dopri5(a) => Solver::Dopri5(tight(a)),
        Solver::Dop853(a) => Solver::Dop853(tight(a)),
        Solver::RowWise(a) => Solver::RowWise(tight(a)),
        equal_steps => equal_steps,
    };
    let reporting = Accuracy { solver, ..flow.reporting };
    let flow = Arc::new(ContinuousFlow { reporting, ..flow.clone() });
    RunConfig { flow: config.flow.with(flow), ..config.clone() }
}

/// Largest and smallest singular value of dz/dx at each of `rows`:
///
/// ```text
/// dz_i/dx_j = (z_i(x + h e_j) - z_i(x - h e_j)) / 2h
/// ```
///
/// # Errors
/// When an image cannot be computed.
pub fn singular_values(flow: &Flow<f64>, rows: &Rows) -> Result<Vec<[f64; 2]>> {
    let dim = flow.dim();
    let images = images(flow, &neighbours(rows))?;
    let spectrum = |(row, images): (usize, &[f64])| {
        // Of feature j stand the images above and below, one after the other.
        let entry = |i: usize, j: usize| {
            (images[2 * j * dim + i] - images[(2 * j + 1) * dim + i]) / (2.0 * STEP)
        };
        let jacobian = DMatrix::from_fn(dim, dim, entry);
        ensure!(
            jacobian.iter().all(|entry| entry.is_finite()),
            "the Jacobian at test row {row} (from 0) is not finite; train at a lower learning_rate"
        );
        let svd = SVD::try_new(jacobian, false, false, f64::EPSILON, ITERATIONS);
        let values = svd.with_context(|| format!("no singular values at test row {row}"))?;
        Ok([values.singular_values.max(), values.singular_values.min()])
    };
    images.chunks(2 * dim * dim).enumerate().map(spectrum).collect()
}

/// For every row and feature the row with the feature larger, and smaller, by a step.
fn neighbours(rows: &Rows) -> Rows {
    let (dim, width) = (rows.dim(), rows.context_dim());
    let (mut points, mut contexts) = (Vec::new(), Vec::new());
    for (index, row) in rows.values().chunks_exact(dim).enumerate() {
        for feature in 0..dim {
            for step in [STEP, -STEP] {
                let start = points.len();
                points.extend_from_slice(row);
                points[start + feature] += step;
                contexts
                    .extend_from_slice(&rows.context_values()[index * width..(index + 1) * width]);
            }
        }
    }
    Rows::new(points, dim).given(contexts, width)
}

fn images(flow: &Flow<f64>, points: &Rows) -> Result<Vec<f64>> {
    let mut images = Vec::with_capacity(points.values().len());
    for batch in points.batches::<f64>() {
        let (_, points, context) = batch?;
        let mapped = flow.bijector().inverse(&points, &context, &mut Tape::none())?;
        images.extend(mapped.value.values());
    }
    Ok(images)
}

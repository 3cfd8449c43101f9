//! Images to look at: draws beside the training images that they are nearest to, and the way from one
//! image to another through base space.

use std::f64::consts::FRAC_PI_2;

use anyhow::Result;
use flows_core::tensor::{batch, cast};
use flows_core::{Context, Flow, Real, Tape, Values};
use flows_report::record::INTERPOLATION_STEPS as STEPS;

use crate::problem::ProblemData;

/// Draws that are shown.
const DRAWS: usize = 40;

/// Pairs of test images between which is interpolated.
const LINES: usize = 4;

/// Images in the data's own units, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageViews {
    /// For each of the first draws the training image at the least Euclidean distance, without noise.
    pub nearest: Vec<f64>,
    /// From each of the first test images to one behind them on a quarter of a circle in base space, a
    /// line of images after another.
    pub interpolations: Vec<f64>,
}

impl ImageViews {
    /// Of a flow on images, with its draws in the data's own units.
    ///
    /// With base points z0 and z1 of two images, the points between are z(a) = z0 cos a + z1 sin a for a
    /// from 0 to pi / 2, which are standard normal where z0 and z1 are (Dinh et al., *Density estimation
    /// using Real NVP*, ICLR 2017, eq. 19).
    ///
    /// # Errors
    /// When a direction of the flow fails.
    pub(super) fn of<E: Real>(flow: &Flow<E>, data: &ProblemData, draws: &[f64]) -> Result<Self> {
        let dim = data.dim();
        let training = data.training_in_own_units()?;
        let shown = draws.chunks_exact(dim).take(DRAWS);
        let nearest: Vec<f64> = shown.flat_map(|draw| nearest(draw, &training)).copied().collect();
        let lines = LINES.min(data.test.count() / 2);
        if lines == 0 {
            return Ok(Self { nearest, interpolations: Vec::new() });
        }
        let ends = data.test.first(2 * lines);
        let x = batch(cast::<E>(ends.values()), ends.count(), dim)?;
        let none = Context::none();
        let base = flow.bijector().inverse(&x, &none, &mut Tape::none())?.value.values();
        let (starts, others) = base.split_at(base.len() / 2);
        let pairs = starts.chunks_exact(dim).zip(others.chunks_exact(dim));
        let lines: Vec<E> = pairs.flat_map(|(start, end)| line(start, end)).collect();
        let rows = lines.len() / dim;
        let (images, _) = flow.bijector().image(&batch(lines, rows, dim)?, &none)?;
        let images = images.values().iter().map(|v| v.as_f64()).collect();
        Ok(Self { nearest, interpolations: data.in_own_units(images)? })
    }
}

/// The row at the least Euclidean distance; the first of several.
fn nearest<'a>(image: &[f64], rows: &'a [f64]) -> &'a [f64] {
    let distance =
        |row: &[f64]| -> f64 { row.iter().zip(image).map(|(a, b)| (a - b).powi(2)).sum() };
    let rows = rows.chunks_exact(image.len());
    rows.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or_default()
}

/// Points on the quarter of a circle from one to another.
fn line<E: Real>(start: &[E], end: &[E]) -> Vec<E> {
    let point = |step: usize| {
        let (sine, cosine) = (FRAC_PI_2 * step as f64 / (STEPS - 1) as f64).sin_cos();
        start.iter().zip(end).map(move |(&a, &b)| E::of(cosine) * a + E::of(sine) * b)
    };
    (0..STEPS).flat_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_row_is_the_first_of_those_at_the_least_distance() {
        let rows = [0.0, 0.0, 3.0, 4.0, 4.0, 3.0, 9.0, 9.0];
        assert_eq!(nearest(&[3.5, 3.5], &rows), [3.0, 4.0]);
        assert_eq!(nearest(&[8.0, 7.0], &rows), [9.0, 9.0]);
    }

    #[test]
    fn a_line_keeps_the_length_of_orthogonal_ends() {
        let points = line(&[3.0, 0.0], &[0.0, 3.0]);
        assert_eq!(points.len(), 2 * STEPS);
        assert_eq!(points[..2], [3.0, 0.0]);
        for point in points.chunks(2) {
            let length = f64::hypot(point[0], point[1]);
            assert!((length - 3.0).abs() < 1e-15, "{length}");
        }
        assert!((points[2 * STEPS - 1] - 3.0).abs() < 1e-15);
    }
}

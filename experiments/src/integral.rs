//! Integrals of densities over a window of the plane.

use anyhow::Result;
use flows_core::tensor::cast;
use flows_core::{Context, Flow, Real};
use flows_report::grid::{centres, integral};

/// Integral of a density over a window by the midpoint rule.
#[derive(Clone, Copy, Debug)]
pub struct Integral {
    /// Its value.
    pub value: f64,
    /// `[x0, x1, y0, y1]`
    pub window: [f64; 4],
}

impl Integral {
    /// That of a flow over `cells` x `cells` cells.
    ///
    /// # Errors
    /// As [`Flow::evaluate`].
    pub fn of<E: Real>(flow: &Flow<E>, window: [f64; 4], cells: usize) -> Result<Self> {
        let (log_prob, _) = flow.evaluate(&cast(&centres(window, cells)), &Context::none())?;
        Ok(Self { value: integral(&log_prob, window, cells), window })
    }
}

/// A window around the same centre, `factor` times as wide and high.
#[must_use]
pub fn widened([x0, x1, y0, y1]: [f64; 4], factor: f64) -> [f64; 4] {
    let widen = |low: f64, high: f64| {
        let (centre, half) = (0.5 * (low + high), 0.5 * (high - low) * factor);
        [centre - half, centre + half]
    };
    let ([x0, x1], [y0, y1]) = (widen(x0, x1), widen(y0, y1));
    [x0, x1, y0, y1]
}

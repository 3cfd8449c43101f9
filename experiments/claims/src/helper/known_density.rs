//! Densities known in closed form, on grids that integrate against them.

use anyhow::Result;
use flows_core::testing::uniform_point;
use flows_core::{Context, Flow, Stream, normals};

/// A mixture of normal distributions on the line: weight, mean and standard deviation of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mixture<'a>(pub(crate) &'a [[f64; 3]]);

/// Points of equal distance with the log-density there. The trapezoidal rule over them is exact to
/// rounding where everything is analytic and the ends are out of reach, and of second order in the
/// distance where a spline has a kink.
pub(crate) struct Grid {
    dim: usize,
    points: Vec<f64>,
    log_density: Vec<f64>,
    cell: f64,
}

impl Mixture<'_> {
    pub(crate) fn log_density(&self, x: f64) -> f64 {
        let terms = self.0.iter().map(|[weight, mean, deviation]| {
            let z = (x - mean) / deviation;
            weight.ln() - 0.5 * z * z - deviation.ln() - 0.5 * std::f64::consts::TAU.ln()
        });
        let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
        largest + terms.map(|term| (term - largest).exp()).sum::<f64>().ln()
    }

    pub(crate) fn sample(&self, rows: usize, rng: &mut Stream) -> Vec<f64> {
        (0..rows).map(|_| self.draw(rng)).collect()
    }

    fn draw(&self, rng: &mut Stream) -> f64 {
        let mut left = 0.5 + 0.5 * uniform_point(1.0)(rng);
        let chosen = self.0.iter().find(|[weight, ..]| {
            left -= weight;
            left < 0.0
        });
        let [_, mean, deviation] = chosen.or(self.0.last()).copied().unwrap_or([1.0, 0.0, 1.0]);
        mean + deviation * normals::<f64>(1, rng)[0]
    }

    /// Nine standard deviations beyond the outermost components: 1e-18 is outside.
    pub(crate) fn ends(&self) -> [f64; 2] {
        let low = self.0.iter().map(|[_, m, s]| m - 9.0 * s).fold(f64::INFINITY, f64::min);
        let high = self.0.iter().map(|[_, m, s]| m + 9.0 * s).fold(f64::NEG_INFINITY, f64::max);
        [low, high]
    }

    /// A grid of 4,001 points.
    pub(crate) fn grid(&self) -> Grid {
        Grid::line(self.ends(), 4001, |x| self.log_density(x))
    }

    pub(crate) fn entropy(&self) -> f64 {
        self.grid().mean(|&[x]| -self.log_density(x))
    }

    /// The smallest divergence to any normal distribution: that to the one with the same mean and
    /// variance, ln(2 pi e variance)/2 less the entropy.
    pub(crate) fn gaussian_floor(&self) -> f64 {
        let grid = self.grid();
        let mean = grid.mean(|&[x]| x);
        let variance = grid.mean(|&[x]| (x - mean).powi(2));
        0.5 * (std::f64::consts::TAU * std::f64::consts::E * variance).ln() - self.entropy()
    }
}

impl Grid {
    pub(crate) fn line([low, high]: [f64; 2], n: usize, log_density: impl Fn(f64) -> f64) -> Self {
        let cell = (high - low) / (n - 1) as f64;
        let points: Vec<f64> = (0..n).map(|i| low + cell * i as f64).collect();
        let log_density = points.iter().map(|&x| log_density(x)).collect();
        Self { dim: 1, points, log_density, cell }
    }

    /// n x n points of `[x0, x1, y0, y1]`.
    pub(crate) fn plane(
        [x0, x1, y0, y1]: [f64; 4],
        n: usize,
        log_density: impl Fn([f64; 2]) -> f64,
    ) -> Self {
        let step = |low: f64, high: f64| (high - low) / (n - 1) as f64;
        let (dx, dy) = (step(x0, x1), step(y0, y1));
        let at = |i: usize| [x0 + dx * (i % n) as f64, y0 + dy * (i / n) as f64];
        let points = (0..n * n).flat_map(at).collect();
        let log_density = (0..n * n).map(|i| log_density(at(i))).collect();
        Self { dim: 2, points, log_density, cell: dx * dy }
    }

    /// The mean of `f` over the density.
    pub(crate) fn mean<const D: usize>(&self, f: impl Fn(&[f64; D]) -> f64) -> f64 {
        let points = self.points.as_chunks().0.iter();
        points.zip(&self.log_density).map(|(x, log)| log.exp() * f(x)).sum::<f64>() * self.cell
    }

    /// The divergence from the density to the flow, nats.
    pub(crate) fn divergence(&self, flow: &Flow<f64>) -> Result<f64> {
        debug_assert_eq!(self.dim, flow.dim());
        let (model, _) = flow.evaluate(&self.points, &Context::none())?;
        let terms =
            self.log_density.iter().zip(model).map(|(log, model)| log.exp() * (log - model));
        Ok(terms.sum::<f64>() * self.cell)
    }
}

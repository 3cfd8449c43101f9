//! Correlated mixtures of normals in any number of dimensions.

use std::f64::consts::TAU;

use flows_core::{Stream, stream};
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use crate::toys::log_sum::LogSum;

/// Components of a mixture.
const COMPONENTS: usize = 3;

/// Three normals in D dimensions at random places, of one random weight each.
///
/// ```text
/// p(x) = sum over k of w_k prod over i of N(x_i; m_ki, s_ki^2)
/// m_ki ~ U(0, 10),   s_ki ~ U(0, 1),   w_k ~ U(0, 1), divided by their sum
/// ```
/// A component is chosen for all features at once, so that features are correlated although each
/// component has a diagonal covariance. It is the construction `MixMultiNormal1` of the code released with
/// the paper; its numbers are drawn here by another generator, so that they are not the paper's.
///
/// # Reference
/// Coccaro, Letizia, Reyes-González, Torre, *Comparison of Affine and Rational Quadratic Spline Coupling and
/// Autoregressive Flows through Robust Statistical Tests*, Symmetry 16(8), 2024.
/// <https://arxiv.org/abs/2302.12024>
#[derive(Clone, Debug, PartialEq)]
pub struct CorrelatedMixture {
    dim: usize,
    components: [Component; COMPONENTS],
}

#[derive(Clone, Debug, PartialEq)]
struct Component {
    weight: f64,
    means: Vec<f64>,
    deviations: Vec<f64>,
}

impl CorrelatedMixture {
    /// The mixture of `dim` features whose numbers are drawn by `seed`.
    #[must_use]
    pub fn new(dim: usize, seed: u64) -> Self {
        let rng = &mut stream(seed, "correlated mixture");
        let mut components = [(); COMPONENTS].map(|()| Component {
            means: (0..dim).map(|_| rng.random_range(0.0..10.0)).collect(),
            // Not zero, where a normal has no density.
            deviations: (0..dim).map(|_| 1.0 - rng.random::<f64>()).collect(),
            weight: rng.random(),
        });
        let sum: f64 = components.iter().map(|component| component.weight).sum();
        components.iter_mut().for_each(|component| component.weight /= sum);
        Self { dim, components }
    }

    /// Features.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Log-density at a point of [`dim`](Self::dim) features, nats.
    #[must_use]
    pub fn log_density(&self, point: &[f64]) -> f64 {
        let terms = self.components.iter().map(|c| c.weight.ln() + c.log_density(point));
        terms.collect::<LogSum>().value()
    }

    /// Draws `rows` points, row by row.
    pub fn sample(&self, rows: usize, rng: &mut impl Rng) -> Vec<f64> {
        (0..rows).flat_map(|_| self.choose(rng).draw(rng)).collect()
    }

    /// Exact mean and standard deviation of each feature.
    #[must_use]
    pub fn moments(&self) -> Vec<[f64; 2]> {
        let covariance = self.covariance();
        let deviation = |feature: usize| covariance[feature * (self.dim + 1)].sqrt();
        self.means().into_iter().enumerate().map(|(i, mean)| [mean, deviation(i)]).collect()
    }

    /// The exact covariance, `(dim, dim)` row by row.
    #[must_use]
    pub fn covariance(&self) -> Vec<f64> {
        let means = self.means();
        let mut covariance = vec![0.0; self.dim * self.dim];
        for Component { weight, means: own, deviations } in &self.components {
            let off: Vec<f64> = own.iter().zip(&means).map(|(own, mean)| own - mean).collect();
            for (i, row) in covariance.chunks_exact_mut(self.dim).enumerate() {
                row.iter_mut().zip(&off).for_each(|(entry, b)| *entry += weight * off[i] * b);
                row[i] += weight * deviations[i].powi(2);
            }
        }
        covariance
    }

    fn means(&self) -> Vec<f64> {
        let mean = |i: usize| self.components.iter().map(|c| c.weight * c.means[i]).sum();
        (0..self.dim).map(mean).collect()
    }

    /// The entropy, nats, by the mean of -log p over `draws` draws, at least two, and its standard error.
    #[must_use]
    pub fn entropy(&self, draws: usize, rng: &mut Stream) -> (f64, f64) {
        let terms: Vec<f64> = (0..draws).map(|_| -self.log_density(&self.sample(1, rng))).collect();
        let count = draws as f64;
        let nats = terms.iter().sum::<f64>() / count;
        let square = terms.iter().map(|term| (term - nats).powi(2)).sum::<f64>() / (count - 1.0);
        (nats, (square / count).sqrt())
    }

    fn choose(&self, rng: &mut impl Rng) -> &Component {
        let [first, second, third] = &self.components;
        match rng.random::<f64>() {
            share if share < first.weight => first,
            share if share < first.weight + second.weight => second,
            _ => third,
        }
    }
}

impl Component {
    fn log_density(&self, point: &[f64]) -> f64 {
        let parts = self.means.iter().zip(&self.deviations).zip(point);
        let term = |((mean, deviation), x): ((&f64, &f64), &f64)| {
            -0.5 * ((x - mean) / deviation).powi(2) - deviation.ln() - 0.5 * TAU.ln()
        };
        parts.map(term).sum()
    }

    fn draw(&self, rng: &mut impl Rng) -> Vec<f64> {
        let parts = self.means.iter().zip(&self.deviations);
        parts
            .map(|(mean, deviation)| mean + deviation * rng.sample::<f64, _>(StandardNormal))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_density_of_one_feature_integrates_to_one() {
        let mixture = CorrelatedMixture::new(1, 3);
        let step = 1e-3;
        let sum: f64 = (-10_000..20_000)
            .map(|i| mixture.log_density(&[f64::from(i) * step]).exp() * step)
            .sum();
        // The trapezoidal rule is exact to rounding where the step is short against the deviations.
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn draws_have_the_moments_and_are_correlated() {
        let (dim, rows) = (6, 40_000);
        let mixture = CorrelatedMixture::new(dim, 1);
        let draws = mixture.sample(rows, &mut stream(2, "draws"));
        let standard: Vec<f64> = draws
            .chunks_exact(dim)
            .flat_map(|row| row.iter().zip(mixture.moments()).map(|(x, [m, s])| (x - m) / s))
            .collect();
        let product = |a: usize, b: usize| {
            let terms = standard.chunks_exact(dim).map(|row| row[a] * row[b]);
            terms.sum::<f64>() / rows as f64
        };
        let (covariance, moments) = (mixture.covariance(), mixture.moments());
        let mut largest = 0.0_f64;
        for i in 0..dim {
            let mean = standard.iter().skip(i).step_by(dim).sum::<f64>() / rows as f64;
            // Five standard errors; the fourth moment of three clusters is below 9.
            assert!(mean.abs() < 5.0 / (rows as f64).sqrt(), "{i}: {mean}");
            assert!((product(i, i) - 1.0).abs() < 15.0 / (rows as f64).sqrt(), "{i}");
            for j in 0..i {
                let correlation = covariance[i * dim + j] / (moments[i][1] * moments[j][1]);
                assert!((product(i, j) - correlation).abs() < 15.0 / (rows as f64).sqrt());
                largest = largest.max(correlation.abs());
            }
        }
        assert!(largest > 0.5, "{largest}");
    }

    #[test]
    fn the_entropy_is_that_of_components_that_are_apart() {
        // In many dimensions they do not overlap: -w ln w, and the entropy of each normal.
        let mixture = CorrelatedMixture::new(100, 5);
        let exact: f64 = mixture
            .components
            .iter()
            .map(|c| {
                let normal = |s: &f64| 0.5 * (TAU * std::f64::consts::E).ln() + s.ln();
                c.weight * (c.deviations.iter().map(normal).sum::<f64>() - c.weight.ln())
            })
            .sum();
        let (nats, error) = mixture.entropy(4_000, &mut stream(1, "entropy"));
        assert!((nats - exact).abs() < 5.0 * error, "{nats} {error} {exact}");
        assert!(error < 0.5, "{error}");
    }

    #[test]
    fn a_seed_is_a_mixture() {
        assert_eq!(CorrelatedMixture::new(4, 1), CorrelatedMixture::new(4, 1));
        assert_ne!(CorrelatedMixture::new(4, 1), CorrelatedMixture::new(4, 2));
    }
}

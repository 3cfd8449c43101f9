//! `circles` and `rings`: concentric circles with Gaussian noise.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::bessel::scaled_bessel_i0;
use super::log_sum::LogSum;
use super::{Card, Entropy};

/// Concentric circles with equal probability, plus Gaussian noise in the plane.
///
/// A circle of radius R under noise of standard deviation s has the density, r = |x|,
/// ```text
/// p(x) = exp(−(r² + R²)/2s²) I₀(rR/s²) / 2πs² = exp(−(r − R)²/2s²) [e⁻ᵘ I₀(u)] / 2πs²,  u = rR/s²
/// ```
/// The right-hand form does not overflow.
#[derive(Debug)]
pub(super) struct Rings<const N: usize> {
    pub(super) card: Card,
    radii: [f64; N],
    noise: f64,
}

/// Radii 1 and 1/2 with noise 0.08, all times 3.
pub(super) const CIRCLES: Rings<2> = Rings {
    card: Card {
        name: "circles",
        window: [-4.2, 4.2, -4.2, 4.2],
        entropy: Entropy { nats: 3.268_135_711_71, error: 1e-10 },
        density_error: 1e-12,
    },
    radii: [3.0, 1.5],
    noise: 0.24,
};

/// Radii 3, 9/4, 3/2 and 3/4; the noise is added after the scaling.
pub(super) const RINGS: Rings<4> = Rings {
    card: Card {
        name: "rings",
        window: [-3.4, 3.4, -3.4, 3.4],
        entropy: Entropy { nats: 2.623_182_770_30, error: 1e-9 },
        density_error: 1e-12,
    },
    radii: [3.0, 2.25, 1.5, 0.75],
    noise: 0.08,
};

impl<const N: usize> Rings<N> {
    pub(super) fn draw(&self, rng: &mut impl Rng) -> [f64; 2] {
        let radius = self.radii[rng.random_range(0..N)];
        let (sin, cos) = (TAU * rng.random::<f64>()).sin_cos();
        [cos, sin].map(|c| radius * c + self.noise * rng.sample::<f64, _>(StandardNormal))
    }

    pub(super) fn log_density(&self, x: [f64; 2]) -> f64 {
        let variance = self.noise * self.noise;
        let r = x[0].hypot(x[1]);
        let log_terms = self.radii.map(|radius| {
            let off = (r - radius) / self.noise;
            scaled_bessel_i0(r * radius / variance).ln() - 0.5 * off * off
        });
        let log_sum: LogSum = log_terms.into_iter().collect();
        log_sum.value() - (N as f64 * TAU * variance).ln()
    }
}

//! `linear-gaussian-8`: a normal whose mean is affine in the context.
//!
//! With c ~ N(0, I) of eight features and x | c ~ N(A c + b, Σ), for i, j = 1 .. 8,
//! ```text
//! Aᵢⱼ = ½ sin(π (2i − 1)(2j − 1) / 32),   bᵢ = (i − 4.5) / 2,
//! Σ = S (I + v vᵀ) S,   S = diag(0.1 (i + 4)),   vᵢ = cos i
//! ```
//! A is the sine transform, which is orthogonal, so that every feature depends on every context
//! and x ~ N(b, I + Σ). The covariance and its inverse S⁻¹ (I − v vᵀ / (1 + |v|²)) S⁻¹ are full.
//! The determinant of Σ is (1 + |v|²) Πᵢ Sᵢᵢ², its eigenvalues are between 0.26 and 3.52.

use std::f64::consts::{PI, TAU};
use std::sync::LazyLock;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::Card;
use crate::toys::Entropy;

const DIM: usize = 8;

pub(super) const CARD: Card = Card {
    name: "linear-gaussian-8",
    description: "a normal of full covariance whose mean is affine in the context",
    dim: DIM,
    contexts: &["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"],
    entropy: Entropy { nats: 10.488_052_238_399_83, error: 1e-14 },
    window: None,
    slices: &[],
};

type Vector = [f64; DIM];

/// The constants of the module's head.
#[derive(Debug)]
struct Model {
    matrix: [Vector; DIM],
    offset: Vector,
    scale: Vector,
    loading: Vector,
    /// 1 + |v|²
    determinant: f64,
}

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let number: Vector = std::array::from_fn(|i| 1.0 + i as f64);
    let odd = number.map(|i| 2.0 * i - 1.0);
    let loading = number.map(f64::cos);
    Model {
        matrix: odd.map(|i| odd.map(|j| 0.5 * (PI * i * j / 32.0).sin())),
        offset: number.map(|i| 0.5 * (i - 4.5)),
        scale: number.map(|i| 0.1 * (i + 4.0)),
        loading,
        determinant: 1.0 + dot(&loading, &loading),
    }
});

fn dot(a: &Vector, b: &Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn normals(rng: &mut impl Rng) -> Vector {
    std::array::from_fn(|_| rng.sample(StandardNormal))
}

impl Model {
    /// A c + b
    fn mean(&self, c: &Vector) -> Vector {
        std::array::from_fn(|i| dot(&self.matrix[i], c) + self.offset[i])
    }
}

pub(super) fn draw_context(rng: &mut impl Rng) -> Vector {
    normals(rng)
}

/// x = A c + b + S (ε + η v) with independent standard normal ε and η, one factor for all features.
pub(super) fn draw(c: Vector, rng: &mut impl Rng) -> Vector {
    let Model { scale, loading, .. } = &*MODEL;
    let (mean, noise) = (MODEL.mean(&c), normals(rng));
    let factor: f64 = rng.sample(StandardNormal);
    std::array::from_fn(|i| mean[i] + scale[i] * (noise[i] + factor * loading[i]))
}

/// With u = S⁻¹ (x − A c − b) and the factor's posterior mean η = vᵀu / (1 + |v|²), the quadratic
/// form is |u|² − (vᵀu)² / (1 + |v|²) = |u − η v|² + η², which does not cancel:
/// ```text
/// ln p(x | c) = −½ (|u − η v|² + η²) − ½ ln(1 + |v|²) − Σᵢ ln Sᵢᵢ − 4 ln 2π
/// ```
pub(super) fn log_density(x: Vector, c: Vector) -> f64 {
    let Model { scale, loading, determinant, .. } = &*MODEL;
    let mean = MODEL.mean(&c);
    let u: Vector = std::array::from_fn(|i| (x[i] - mean[i]) / scale[i]);
    let factor = dot(loading, &u) / determinant;
    let rest: Vector = std::array::from_fn(|i| u[i] - factor * loading[i]);
    let form = dot(&rest, &rest) + factor * factor;
    if !form.is_finite() {
        // Finite x and c so large that a square overflows.
        return f64::NEG_INFINITY;
    }
    let log_scales: f64 = scale.iter().map(|s| s.ln()).sum();
    -0.5 * (form + determinant.ln() + DIM as f64 * TAU.ln()) - log_scales
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{E, TAU};

    use super::{CARD, DIM, MODEL, dot};

    #[test]
    fn the_entropy_is_half_the_log_determinant_of_the_covariance_times_two_pi_e() {
        let log_scales: f64 = MODEL.scale.iter().map(|s| s.ln()).sum();
        let exact = 0.5 * (DIM as f64 * (TAU * E).ln() + MODEL.determinant.ln()) + log_scales;
        // Twenty roundings of numbers below 16.
        let tolerance = CARD.entropy.error + 20.0 * 8.0 * f64::EPSILON;
        assert!((exact - CARD.entropy.nats).abs() < tolerance, "{exact}");
    }

    #[test]
    fn the_matrix_is_orthogonal() {
        for (i, a) in MODEL.matrix.iter().enumerate() {
            for (j, b) in MODEL.matrix.iter().enumerate() {
                let expected = f64::from(u8::from(i == j));
                // Eight products of at most ¼, whose angles are up to 23 with a rounding each.
                let tolerance = 8.0 * 23.0 * f64::EPSILON;
                assert!((dot(a, b) - expected).abs() < tolerance, "{i} {j}");
            }
        }
    }
}

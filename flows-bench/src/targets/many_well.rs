//! `many-well`: four double wells, each paired with a normal.

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::{Card, LogNormaliser};

const PAIRS: usize = 4;

pub(super) const CARD: Card = Card {
    name: "many-well",
    description: "four double wells: 16 modes of unequal mass",
    dim: 2 * PAIRS,
    // 4 (log integral of exp(-x^4 + 6 x^2 + x / 2) + log(2 pi) / 2), the integral 11784.509265127577
    // by the trapezoidal rule, which converges faster than any power of its step.
    log_normaliser: LogNormaliser { nats: 41.173_918_828_295, error: 1e-11 },
    window: [-3.0, 3.0, -4.0, 4.0],
};

/// log p = sum over pairs of -a^4 + 6 a^2 + a / 2 - b^2 / 2; d/da = -4 a^3 + 12 a + 1/2, d/db = -b.
pub(super) fn log_density(point: &[f64], gradient: &mut [f64]) -> f64 {
    let mut sum = 0.0;
    for (pair, gradient) in point.chunks_exact(2).zip(gradient.chunks_exact_mut(2)) {
        let (a, b) = (pair[0], pair[1]);
        gradient[0] = a * (12.0 - 4.0 * a * a) + 0.5;
        gradient[1] = -b;
        sum += a * a * (6.0 - a * a) + 0.5 * a - 0.5 * b * b;
    }
    sum
}

pub(super) fn draw(rng: &mut impl Rng) -> [f64; 2 * PAIRS] {
    let mut point = [0.0; 2 * PAIRS];
    for pair in point.chunks_exact_mut(2) {
        pair[0] = well(rng);
        pair[1] = rng.sample(StandardNormal);
    }
    point
}

/// A draw of exp(-x^4 + 6 x^2 + x / 2), by rejection. With m = sqrt 3,
/// ```text
/// -x^4 + 6 x^2 = 9 - (|x| - m)^2 (|x| + m)^2 <= 9 - 3 (|x| - m)^2
/// ```
/// and the bound times e^(x/2) is, on either side, a normal of variance 1/6 and mean +-m + 1/12, of
/// mass proportional to e^(+-m/2).
fn well(rng: &mut impl Rng) -> f64 {
    let m = 3f64.sqrt();
    let right = 1.0 / (1.0 + (-m).exp());
    loop {
        let side = if rng.random::<f64>() < right { 1.0 } else { -1.0 };
        let normal: f64 = rng.sample(StandardNormal);
        let x = side * m + 1.0 / 12.0 + normal / 6f64.sqrt();
        let off = x * side - m;
        let excess = off * off * ((x * side + m).powi(2) - 3.0);
        if x * side > 0.0 && rng.random::<f64>() < (-excess).exp() {
            return x;
        }
    }
}

//! `cross`: a mixture of two elongated normals at right angles.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::log_sum_exp::log_sum_exp;
use super::{Card, LogNormaliser};

const LONG: f64 = 2.0;
const SHORT: f64 = 0.3;

pub(super) const CARD: Card = Card {
    name: "cross",
    description: "two long normals across each other",
    dim: 2,
    log_normaliser: LogNormaliser { nats: 0.0, error: 0.0 },
    window: [-8.0, 8.0, -8.0, 8.0],
};

/// p = (N(x; 0, diag(2, 0.3)^2) + N(x; 0, diag(0.3, 2)^2)) / 2; with s the posterior weight of the
/// first, d/dx1 = -x1 (s / 2^2 + (1 - s) / 0.3^2), and for x2 with the two exchanged.
pub(super) fn log_density(x: &[f64], gradient: &mut [f64]) -> f64 {
    let [long, short] = [LONG, SHORT].map(|s| 1.0 / (s * s));
    let squares = [x[0] * x[0], x[1] * x[1]];
    let (log_sum, share) = log_sum_exp(
        -0.5 * (long * squares[0] + short * squares[1]),
        -0.5 * (short * squares[0] + long * squares[1]),
    );
    gradient[0] = -x[0] * (share * long + (1.0 - share) * short);
    gradient[1] = -x[1] * (share * short + (1.0 - share) * long);
    log_sum - (2.0 * TAU * LONG * SHORT).ln()
}

pub(super) fn draw(rng: &mut impl Rng) -> [f64; 2] {
    let scales = if rng.random::<bool>() { [LONG, SHORT] } else { [SHORT, LONG] };
    scales.map(|s| s * rng.sample::<f64, _>(StandardNormal))
}

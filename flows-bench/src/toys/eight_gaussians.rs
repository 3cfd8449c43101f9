//! `8gaussians`: a mixture of eight isotropic Gaussians on a circle.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::log_sum::LogSum;
use super::{Card, Entropy};

/// The published generator divides by this rounded number, not by √2.
const DIVISOR: f64 = 1.414;
const RADIUS: f64 = 4.0;
const NOISE: f64 = 0.5;

/// cos and sin of kπ/4.
const DIRECTIONS: [[f64; 2]; 8] = [
    [1.0, 0.0],
    [FRAC_1_SQRT_2, FRAC_1_SQRT_2],
    [0.0, 1.0],
    [-FRAC_1_SQRT_2, FRAC_1_SQRT_2],
    [-1.0, 0.0],
    [-FRAC_1_SQRT_2, -FRAC_1_SQRT_2],
    [0.0, -1.0],
    [FRAC_1_SQRT_2, -FRAC_1_SQRT_2],
];

pub(super) const CARD: Card = Card {
    name: "8gaussians",
    window: [-4.6, 4.6, -4.6, 4.6],
    entropy: Entropy { nats: 2.831_880_406_14, error: 1e-10 },
    density_error: 1e-13,
};

pub(super) fn draw(rng: &mut impl Rng) -> [f64; 2] {
    let centre = DIRECTIONS[rng.random_range(0..DIRECTIONS.len())];
    centre.map(|c| (RADIUS * c + NOISE * rng.sample::<f64, _>(StandardNormal)) / DIVISOR)
}

pub(super) fn log_density(x: [f64; 2]) -> f64 {
    let sigma = NOISE / DIVISOR;
    let u = x.map(|x| x / sigma);
    let log_terms = DIRECTIONS.map(|centre| {
        let [du, dv] = [0, 1].map(|i| u[i] - RADIUS / NOISE * centre[i]);
        -0.5 * (du * du + dv * dv)
    });
    let log_sum: LogSum = log_terms.into_iter().collect();
    log_sum.value() - (8.0 * TAU * sigma * sigma).ln()
}

//! `banana`: a normal distribution bent along a parabola.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::{Card, LogNormaliser};

const SCALE: f64 = 2.0;
const BEND: f64 = 0.25;
const WIDTH: f64 = 0.5;

pub(super) const CARD: Card = Card {
    name: "banana",
    description: "a normal bent along a parabola",
    dim: 2,
    log_normaliser: LogNormaliser { nats: 0.0, error: 0.0 },
    window: [-8.0, 8.0, -4.0, 16.0],
};

/// The conditional mean of x2 given x1; its own mean is 0.
fn centre(x: f64) -> f64 {
    BEND * (x * x - SCALE * SCALE)
}

/// log p = log N(x1; 0, 2^2) + log N(x2; (x1^2 - 4) / 4, 0.5^2); with u = (x2 - centre) / 0.5,
/// d/dx2 = -u / 0.5 and d/dx1 = -x1 / 2^2 + u / 0.5 * x1 / 2.
pub(super) fn log_density(x: &[f64], gradient: &mut [f64]) -> f64 {
    let along = x[0] / SCALE;
    let across = (x[1] - centre(x[0])) / WIDTH;
    gradient[1] = -across / WIDTH;
    gradient[0] = -along / SCALE - gradient[1] * 2.0 * BEND * x[0];
    -0.5 * (along * along + across * across) - (TAU * SCALE * WIDTH).ln()
}

pub(super) fn draw(rng: &mut impl Rng) -> [f64; 2] {
    let [first, second]: [f64; 2] = [(); 2].map(|()| rng.sample(StandardNormal));
    let x = SCALE * first;
    [x, centre(x) + WIDTH * second]
}

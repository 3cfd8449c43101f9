//! `funnel`: normals whose common scale is log-normal.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::{Card, LogNormaliser};

const DIM: usize = 10;
const SCALE: f64 = 3.0;

pub(super) const CARD: Card = Card {
    name: "funnel",
    description: "nine normals whose common scale is log-normal",
    dim: DIM,
    log_normaliser: LogNormaliser { nats: 0.0, error: 0.0 },
    window: [-9.0, 9.0, -12.0, 12.0],
};

/// log p = log N(v; 0, 3^2) + sum over the nine others of log N(x_i; 0, e^v):
/// d/dv = -v / 9 - 9/2 + e^-v |x|^2 / 2, d/dx_i = -e^-v x_i.
pub(super) fn log_density(point: &[f64], gradient: &mut [f64]) -> f64 {
    let (v, others) = (point[0], &point[1..]);
    let precision = (-v).exp();
    let count = others.len() as f64;
    let mut square = 0.0;
    for (gradient, x) in gradient[1..].iter_mut().zip(others) {
        *gradient = -precision * x;
        square += precision * x * x;
    }
    gradient[0] = -v / (SCALE * SCALE) + 0.5 * (square - count);
    let own = v / SCALE;
    -0.5 * (own * own + square + count * v) - SCALE.ln() - 0.5 * (count + 1.0) * TAU.ln()
}

pub(super) fn draw(rng: &mut impl Rng) -> [f64; DIM] {
    let mut point = [(); DIM].map(|()| rng.sample::<f64, _>(StandardNormal));
    point[0] *= SCALE;
    let scale = (0.5 * point[0]).exp();
    point[1..].iter_mut().for_each(|x| *x *= scale);
    point
}

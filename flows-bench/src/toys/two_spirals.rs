//! `2spirals`: two spirals of one and a half turns, rotated by 180 degrees, with uniform and
//! Gaussian noise.

use std::f64::consts::PI;
use std::sync::LazyLock;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::blurred_curve::{BlurredCurve, Node};
use super::boxed_gaussian::BoxedGaussian;
use super::gauss_legendre::composite;
use super::{Card, Entropy};

/// 540 degrees; the angle is n = `LAST` √U, whose density is 2n / `LAST`².
const LAST: f64 = 3.0 * PI;
/// Width of the uniform noise of each axis, before the division.
const WIDTH: f64 = 0.5;
const DIVISOR: f64 = 3.0;
/// Gaussian noise, after the division.
const NOISE: f64 = 0.1;
/// A spiral is 158 noise scales long; a panel takes four of them.
pub(super) const PANELS: usize = 40;
const ORDER: usize = 12;

pub(super) const CARD: Card = Card {
    name: "2spirals",
    window: [-3.9, 3.9, -3.9, 3.9],
    entropy: Entropy { nats: 2.645_450_283_58, error: 1e-9 },
    density_error: 1e-8,
};

fn spiral(n: f64) -> [f64; 2] {
    [-n * n.cos(), n * n.sin()]
}

pub(super) fn draw(rng: &mut impl Rng) -> [f64; 2] {
    let n = LAST * rng.random::<f64>().sqrt();
    let arm = spiral(n).map(|c| c + WIDTH * rng.random::<f64>());
    let sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
    arm.map(|c| sign * c / DIVISOR + NOISE * rng.sample::<f64, _>(StandardNormal))
}

static CURVE: LazyLock<BlurredCurve<BoxedGaussian>> = LazyLock::new(|| curve(PANELS));

pub(super) fn curve(panels: usize) -> BlurredCurve<BoxedGaussian> {
    // Length grows almost like (n + 1)² − 1, in which the edges are equally spaced.
    let all = (LAST + 1.0).powi(2) - 1.0;
    let edge = |i: usize| (1.0 + all * i as f64 / panels as f64).sqrt() - 1.0;
    let edges: Vec<f64> = (0..=panels).map(edge).collect();
    let rule = composite(&edges, ORDER);
    // The uniform noise covers (0, `WIDTH`); its mean joins the curve, and what is left is even, so
    // that the turned arm has the same kernel.
    let nodes = [1.0, -1.0]
        .into_iter()
        .flat_map(|sign| {
            rule.iter().map(move |&(n, weight)| Node {
                position: spiral(n).map(|c| sign * (c + 0.5 * WIDTH) / DIVISOR),
                weight: weight * n / (LAST * LAST),
            })
        })
        .collect();
    BlurredCurve::new(BoxedGaussian::new(0.5 * WIDTH / (DIVISOR * NOISE)), NOISE, nodes)
}

pub(super) fn log_density(x: [f64; 2]) -> f64 {
    CURVE.log_density(x)
}

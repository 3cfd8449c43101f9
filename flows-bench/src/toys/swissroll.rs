//! `swissroll`: an Archimedean spiral of one and a half turns with Gaussian noise.

use std::f64::consts::PI;
use std::sync::LazyLock;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::blurred_curve::{BlurredCurve, Gaussian, Node};
use super::gauss_legendre::composite;
use super::{Card, Entropy};

/// Range of the uniform angle t.
const FIRST: f64 = 1.5 * PI;
const LAST: f64 = 4.5 * PI;
/// Divides the spiral (t cos t, t sin t) and its noise of standard deviation one.
const DIVISOR: f64 = 5.0;
/// The spiral is ninety noise scales long; a panel takes four of them.
pub(super) const PANELS: usize = 24;
const ORDER: usize = 12;

pub(super) const CARD: Card = Card {
    name: "swissroll",
    window: [-2.9, 3.6, -3.3, 3.9],
    entropy: Entropy { nats: 2.669_646_173_88, error: 1e-9 },
    density_error: 1e-9,
};

fn spiral(t: f64) -> [f64; 2] {
    [t * t.cos(), t * t.sin()]
}

pub(super) fn draw(rng: &mut impl Rng) -> [f64; 2] {
    let t = FIRST * (1.0 + 2.0 * rng.random::<f64>());
    spiral(t).map(|c| (c + rng.sample::<f64, _>(StandardNormal)) / DIVISOR)
}

static CURVE: LazyLock<BlurredCurve<Gaussian>> = LazyLock::new(|| curve(PANELS));

pub(super) fn curve(panels: usize) -> BlurredCurve<Gaussian> {
    // Length grows almost like t², so that edges equally spaced in t² make panels of like length.
    let square =
        |i: usize| FIRST.powi(2) + (LAST.powi(2) - FIRST.powi(2)) * i as f64 / panels as f64;
    let edges: Vec<f64> = (0..=panels).map(|i| square(i).sqrt()).collect();
    let node = |(t, weight)| Node {
        position: spiral(t).map(|c| c / DIVISOR),
        weight: weight / (LAST - FIRST),
    };
    let nodes = composite(&edges, ORDER).into_iter().map(node).collect();
    BlurredCurve::new(Gaussian, 1.0 / DIVISOR, nodes)
}

pub(super) fn log_density(x: [f64; 2]) -> f64 {
    CURVE.log_density(x)
}

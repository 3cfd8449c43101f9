//! `moons`: two interleaved half circles with Gaussian noise.

use std::f64::consts::PI;
use std::sync::LazyLock;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::blurred_curve::{BlurredCurve, Gaussian, Node};
use super::gauss_legendre::composite;
use super::{Card, Entropy};

/// Noise of the half circles of radius one, before the scaling.
const NOISE: f64 = 0.1;
const SCALE: f64 = 2.0;
const SHIFT: [f64; 2] = [-1.0, -0.2];
/// Panels of each moon, each four noise scales long.
pub(super) const PANELS: usize = 8;
const ORDER: usize = 12;

pub(super) const CARD: Card = Card {
    name: "moons",
    window: [-4.0, 4.0, -2.2, 2.8],
    entropy: Entropy { nats: 2.393_879_195_97, error: 1e-9 },
    density_error: 1e-9,
};

/// Outer half circle, then the inner one.
const MOONS: [fn(f64) -> [f64; 2]; 2] =
    [|s| [s.cos(), s.sin()], |s| [1.0 - s.cos(), 0.5 - s.sin()]];

fn place(unit: [f64; 2]) -> [f64; 2] {
    [0, 1].map(|i| SCALE * unit[i] + SHIFT[i])
}

pub(super) fn draw(rng: &mut impl Rng) -> [f64; 2] {
    draw_blurred(SCALE * NOISE, rng)
}

/// A draw with noise of standard deviation `sigma` on each axis.
pub(crate) fn draw_blurred(sigma: f64, rng: &mut impl Rng) -> [f64; 2] {
    let moon = MOONS[rng.random_range(0..MOONS.len())];
    let unit = moon(PI * rng.random::<f64>());
    place(unit.map(|c| c + sigma / SCALE * rng.sample::<f64, _>(StandardNormal)))
}

static CURVE: LazyLock<BlurredCurve<Gaussian>> = LazyLock::new(|| curve(PANELS));

pub(super) fn curve(panels: usize) -> BlurredCurve<Gaussian> {
    BlurredCurve::new(Gaussian, SCALE * NOISE, nodes(panels))
}

/// Both half circles without noise, each cut into `panels` of twelve quadrature nodes.
///
/// The density of Gaussian noise around them is good to 1e-9 where panels, of length 2π / `panels`,
/// are at most four noise scales long and the density exceeds exp(−25).
pub(crate) fn nodes(panels: usize) -> Vec<Node> {
    let edges: Vec<f64> = (0..=panels).map(|i| PI * i as f64 / panels as f64).collect();
    let rule = composite(&edges, ORDER);
    MOONS
        .iter()
        .flat_map(|moon| {
            let node = |&(s, weight): &(f64, f64)| Node {
                position: place(moon(s)),
                weight: weight / (2.0 * PI),
            };
            rule.iter().map(node)
        })
        .collect()
}

pub(super) fn log_density(x: [f64; 2]) -> f64 {
    CURVE.log_density(x)
}

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
const PANELS: usize = 8;
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
    let moon = MOONS[rng.random_range(0..MOONS.len())];
    let unit = moon(PI * rng.random::<f64>());
    place(unit.map(|c| c + NOISE * rng.sample::<f64, _>(StandardNormal)))
}

static CURVE: LazyLock<BlurredCurve<Gaussian>> = LazyLock::new(|| curve(PANELS));

fn curve(panels: usize) -> BlurredCurve<Gaussian> {
    let edges: Vec<f64> = (0..=panels).map(|i| PI * i as f64 / panels as f64).collect();
    let rule = composite(&edges, ORDER);
    let nodes = MOONS
        .iter()
        .flat_map(|moon| {
            let node = |&(s, weight): &(f64, f64)| Node {
                position: place(moon(s)),
                weight: weight / (2.0 * PI),
            };
            rule.iter().map(node)
        })
        .collect();
    BlurredCurve::new(Gaussian, SCALE * NOISE, nodes)
}

pub(super) fn log_density(x: [f64; 2]) -> f64 {
    CURVE.log_density(x)
}

#[cfg(test)]
mod tests {
    use super::super::blurred_curve::greatest_difference;
    use super::{CARD, PANELS, curve, log_density};

    #[test]
    fn three_times_the_panels_without_index_agree_within_the_stated_error() {
        let fine = curve(3 * PANELS);
        let difference =
            greatest_difference(CARD.window, log_density, |x| fine.full_log_density(x));
        assert!(difference < CARD.density_error, "{difference}");
    }

    #[test]
    fn the_log_density_agrees_with_adaptive_quadrature() {
        // Integral over the curve in twenty digits, straight from the definition of the sampler.
        for (x, exact) in
            [([0.5, 0.25], -4.075_733_321_347_42), ([-1.5, 1.25], -4.416_218_768_519_42)]
        {
            let value = log_density(x);
            assert!((value - exact).abs() < CARD.density_error, "{x:?}: {value}");
        }
    }

    #[test]
    fn far_out_the_relative_error_is_below_one_percent() {
        let fine = curve(4 * PANELS);
        for x in [[30.0, -30.0], [-8.0, 0.0], [0.0, 1e4], [12.0, 3.0]] {
            let (coarse, fine) = (log_density(x), fine.full_log_density(x));
            assert!((coarse - fine).abs() < 0.01 * fine.abs(), "{x:?}: {coarse} {fine}");
        }
    }
}

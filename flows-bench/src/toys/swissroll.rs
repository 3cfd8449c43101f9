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
const PANELS: usize = 24;
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

fn curve(panels: usize) -> BlurredCurve<Gaussian> {
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
            [([0.5, 0.25], -8.769_700_435_177_22), ([-1.5, 1.25], -2.699_335_719_257_42)]
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

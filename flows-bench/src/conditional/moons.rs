//! `conditional-moons`: two half circles, turned by the first context and blurred by the second.

use std::f64::consts::{PI, TAU};
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use rand::{Rng, RngExt};

use super::Card;
use crate::toys::Entropy;
use crate::toys::blurred_curve::Node;
use crate::toys::moons::{draw_blurred, nodes};

const WIDTHS: RangeInclusive<f64> = 0.1..=0.4;
/// The nodes below suffice for no smaller width.
const SMALLEST_WIDTH: f64 = 0.08;
/// Panels of each half circle of length 2π, each four times the smallest width long.
const PANELS: usize = 20;

pub(super) const CARD: Card = Card {
    name: "conditional-moons",
    description: "two half circles whose angle and width are given",
    dim: 2,
    contexts: &["angle", "width"],
    entropy: Entropy { nats: 2.544_122_083_8, error: 1e-9 },
    window: Some([-5.0, 5.0, -5.0, 5.0]),
    slices: &[&[-2.0, 0.1], &[-0.7, 0.2], &[0.7, 0.3], &[2.0, 0.4]],
};

static NODES: LazyLock<Vec<Node>> = LazyLock::new(|| nodes(PANELS));

pub(super) fn draw_context(rng: &mut impl Rng) -> [f64; 2] {
    [rng.random_range(-PI..PI), rng.random_range(WIDTHS)]
}

/// x = R(α) y, with R(α) the rotation by α and y a draw of the toy `moons` of noise σ.
pub(super) fn draw([angle, width]: [f64; 2], rng: &mut impl Rng) -> [f64; 2] {
    let [y1, y2] = draw_blurred(width, rng);
    let (sin, cos) = angle.sin_cos();
    [cos * y1 - sin * y2, sin * y1 + cos * y2]
}

/// A rotation keeps volumes, so that p(x | α, σ) is the density of the moons at y = R(−α) x. With
/// their half circles cut into quadrature nodes mᵢ of weights wᵢ it is
/// ```text
/// p(x | α, σ) = Σᵢ wᵢ exp(−|y − mᵢ|² / 2σ²) / 2πσ²
/// ```
pub(super) fn log_density([x1, x2]: [f64; 2], [angle, width]: [f64; 2]) -> f64 {
    if width < SMALLEST_WIDTH {
        return f64::NAN;
    }
    let (sin, cos) = angle.sin_cos();
    let y = [cos * x1 + sin * x2, cos * x2 - sin * x1];
    let square = |node: &Node| {
        let [m1, m2] = node.position;
        (y[0] - m1).powi(2) + (y[1] - m2).powi(2)
    };
    // The nearest node is taken out of the sum, so that it does not underflow far away.
    let nearest = NODES.iter().map(square).fold(f64::INFINITY, f64::min);
    if nearest == f64::INFINITY {
        return f64::NEG_INFINITY;
    }
    let precision = 0.5 / (width * width);
    let term = |node: &Node| node.weight * (precision * (nearest - square(node))).exp();
    NODES.iter().map(term).sum::<f64>().ln() - precision * nearest - (TAU * width * width).ln()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::{CARD, PANELS, SMALLEST_WIDTH, WIDTHS, log_density};
    use crate::toys::Toy;
    use crate::toys::gauss_legendre::composite;
    use crate::toys::log_sum::LogSum;
    use crate::toys::moons::nodes;

    /// Points of a grid of `step` that covers the moons of angle 0 and eight widths around them.
    fn grid(width: f64, step: f64) -> impl Iterator<Item = [f64; 2]> {
        let count = move |length: f64| ((length + 16.0 * width) / step).ceil() as i32;
        let at = move |low: f64, i: i32| low - 8.0 * width + step * f64::from(i);
        (0..count(6.0)).flat_map(move |i| (0..count(3.0)).map(move |j| [at(-3.0, i), at(-1.2, j)]))
    }

    /// ∫ −p ln p at a width, by the midpoint rule with a step of three tenths of it.
    fn entropy(width: f64) -> f64 {
        let step = 0.3 * width;
        let term = |x| {
            let log_p = log_density(x, [0.0, width]);
            -log_p * log_p.exp()
        };
        grid(width, step).map(term).sum::<f64>() * step * step
    }

    #[test]
    fn a_width_of_a_fifth_and_no_angle_is_the_toy() {
        for x in grid(0.2, 0.1).filter(|&x| Toy::Moons.log_density(x) > -25.0) {
            let difference = log_density(x, [0.0, 0.2]) - Toy::Moons.log_density(x);
            assert!(difference.abs() < Toy::Moons.density_error(), "{x:?}: {difference}");
        }
    }

    #[test]
    fn three_times_the_nodes_change_nothing_at_the_smallest_width() {
        let fine = nodes(3 * PANELS);
        let width = SMALLEST_WIDTH;
        for x in grid(width, 0.05).filter(|&x| log_density(x, [0.0, width]) > -25.0) {
            let term = |node: &super::Node| {
                let square = (0..2).map(|i| (x[i] - node.position[i]).powi(2)).sum::<f64>();
                node.weight.ln() - 0.5 * square / (width * width)
            };
            let sum: LogSum = fine.iter().map(term).collect();
            let difference =
                log_density(x, [0.0, width]) - sum.value() + (TAU * width * width).ln();
            assert!(difference.abs() < 1e-9, "{x:?}: {difference}");
        }
    }

    #[test]
    fn the_mean_entropy_over_widths_is_the_one_stated() {
        // The entropy is the same at every angle and smooth in the width.
        let (low, high) = WIDTHS.into_inner();
        let rule = composite(&[low, high], 10);
        let sum: f64 = rule.iter().map(|&(width, weight)| weight * entropy(width)).sum();
        let found = sum / (high - low);
        let stated = CARD.entropy;
        assert!((found - stated.nats).abs() <= stated.error, "{found:.13}");
    }
}

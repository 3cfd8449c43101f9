//! `heteroscedastic-mixture`: two normals on the line that part and widen as the context grows.
//!
//! With c uniform on (−1, 1),
//! ```text
//! p(x | c) = w(c) N(x; m₁(c), s₁(c)²) + (1 − w(c)) N(x; m₂(c), s₂(c)²)
//! w = 1 / (1 + exp(−2c)),   m₁, m₂ = ½ sin πc ± (1 + c),
//! s₁ = 0.1 exp(1 + c),      s₂ = 0.2 exp((1 + c) / 2)
//! ```
//! One bump at c = −1, two branches of unequal weight, four apart, at c = 1.

use std::f64::consts::{PI, TAU};

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::Card;
use crate::toys::Entropy;
use crate::toys::log_sum::LogSum;

pub(super) const CARD: Card = Card {
    name: "heteroscedastic-mixture",
    description: "two normals on the line that part and widen as the context grows",
    dim: 1,
    contexts: &["c"],
    entropy: Entropy { nats: 0.801_365_818_165, error: 1e-11 },
    window: Some([-1.0, 1.0, -5.0, 6.0]),
    slices: &[&[-0.9], &[-0.3], &[0.3], &[0.9]],
};

/// Weight, mean and standard deviation of a component.
type Component = [f64; 3];

fn components(c: f64) -> [Component; 2] {
    let logistic = |t: f64| 1.0 / (1.0 + (-t).exp());
    let (middle, reach) = (0.5 * (PI * c).sin(), 1.0 + c);
    [
        [logistic(2.0 * c), middle + reach, 0.1 * reach.exp()],
        [logistic(-2.0 * c), middle - reach, 0.2 * (0.5 * reach).exp()],
    ]
}

pub(super) fn draw_context(rng: &mut impl Rng) -> [f64; 1] {
    [rng.random_range(-1.0..1.0)]
}

pub(super) fn draw([c]: [f64; 1], rng: &mut impl Rng) -> [f64; 1] {
    let [first, second] = components(c);
    let [_, mean, deviation] = if rng.random::<f64>() < first[0] { first } else { second };
    [mean + deviation * rng.sample::<f64, _>(StandardNormal)]
}

pub(super) fn log_density([x]: [f64; 1], [c]: [f64; 1]) -> f64 {
    let term = |[weight, mean, deviation]: Component| {
        let z = (x - mean) / deviation;
        weight.ln() - 0.5 * z * z - deviation.ln()
    };
    components(c).into_iter().map(term).collect::<LogSum>().value() - 0.5 * TAU.ln()
}

#[cfg(test)]
mod tests {
    use super::{CARD, components, log_density};
    use crate::toys::gauss_legendre::composite;

    /// ∫ −p ln p at a context, by the trapezoidal rule with eight cells to the smaller standard deviation.
    fn entropy(c: f64) -> f64 {
        let deviations = components(c).map(|[_, _, deviation]| deviation);
        let step = deviations[0].min(deviations[1]) / 8.0;
        let count = (20.0 / step) as i32;
        let term = |i| {
            let log_p = log_density([step * f64::from(i)], [c]);
            if log_p > -700.0 { -log_p * log_p.exp() } else { 0.0 }
        };
        (-count..=count).map(term).sum::<f64>() * step
    }

    #[test]
    fn the_mean_entropy_over_contexts_is_the_one_stated() {
        let edges: Vec<f64> = (-4..=4).map(|i| 0.25 * f64::from(i)).collect();
        let rule = composite(&edges, 8);
        let found: f64 = rule.iter().map(|&(c, weight)| 0.5 * weight * entropy(c)).sum();
        let stated = CARD.entropy;
        assert!((found - stated.nats).abs() <= stated.error, "{found:.13}");
    }
}

//! Weights of sequential Monte Carlo: the next inverse temperature.

use flows_core::Result;

use super::increments;
use crate::importance::LogWeights;

/// Halvings of the interval of beta: to rounding.
const HALVINGS: usize = 60;

/// The inverse temperature after `beta` at which the weights of a step have this effective share, found
/// by bisection; 1 if they have more there.
pub(super) fn next_temperature(ratios: &[f64], beta: f64, share: f64) -> Result<f64> {
    let at = |next: f64| increments(ratios, next - beta).map(|weights| share_of_support(&weights));
    if at(1.0)? >= share {
        return Ok(1.0);
    }
    let (mut low, mut high) = (beta, 1.0);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if at(middle)? >= share { low = middle } else { high = middle }
    }
    Ok(low)
}

/// Effective share among the weights that are not zero: particles outside of the target's support are
/// lost however small the step is.
pub(super) fn share_of_support(weights: &LogWeights) -> f64 {
    let count = weights.values().len() as f64;
    weights.effective_share() * count / (count - weights.zeros() as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

    use flows_core::stream;

    use super::next_temperature;

    /// Weights exp(b r) of normal r, quantiles of N(0, s^2), have the effective share exp(-b^2 s^2).
    #[test]
    fn a_step_has_the_share_that_was_asked_for() {
        let s = 20.0;
        let ratios = flows_core::normals::<f64>(100_000, &mut stream(1, "ratios"));
        let ratios: Vec<f64> = ratios.into_iter().map(|r| s * r).collect();
        let next = next_temperature(&ratios, 0.25, 0.6).unwrap();
        let exact = 0.25 + (-(0.6_f64.ln())).sqrt() / s;
        // The spread of the ratios is known to 1 / sqrt(2 n), that of their weights to a few times more.
        assert!((next - exact).abs() < 0.02 * (exact - 0.25), "{next}, not {exact}");
        assert_eq!(next_temperature(&ratios, 0.999, 0.6).unwrap(), 1.0);
        // Particles outside of the support do not count.
        let mut some = ratios.clone();
        some.extend(vec![f64::NEG_INFINITY; 100_000]);
        assert_eq!(next_temperature(&some, 0.25, 0.6).unwrap(), next);
    }
}

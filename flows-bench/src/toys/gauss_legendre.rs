//! Gauss–Legendre quadrature, on one interval and along a curve cut into panels.

use std::f64::consts::PI;

/// Abscissa and weight of one node.
pub(crate) type Node = (f64, f64);

/// The `order` nodes on [−1, 1], exact for polynomials of degree 2·`order` − 1.
///
/// Newton's method on the Legendre polynomial; nodes and weights are good to 1e-15.
///
/// # Reference
/// Abramowitz and Stegun, *Handbook of Mathematical Functions*, 25.4.29.
pub(super) fn gauss_legendre(order: usize) -> Vec<Node> {
    (1..=order)
        .map(|i| {
            let mut t = (PI * (i as f64 - 0.25) / (order as f64 + 0.5)).cos();
            // The start is within O(order⁻⁴) of the root, so four steps reach rounding level; the
            // fifth costs nothing.
            for _ in 0..5 {
                let (value, slope) = legendre(order, t);
                t -= value / slope;
            }
            let (_, slope) = legendre(order, t);
            (t, 2.0 / ((1.0 - t * t) * slope * slope))
        })
        .collect()
}

/// P_n(t) and its derivative by the three-term recurrence, for |t| < 1 and n ≥ 1.
fn legendre(order: usize, t: f64) -> (f64, f64) {
    let (mut previous, mut current) = (1.0, t);
    for k in 2..=order {
        let k = k as f64;
        (previous, current) = (current, ((2.0 * k - 1.0) * t * current - (k - 1.0) * previous) / k);
    }
    (current, order as f64 * (previous - t * current) / (1.0 - t * t))
}

/// Nodes of the composite rule: `order` nodes between each two neighbours of `edges`.
pub(crate) fn composite(edges: &[f64], order: usize) -> Vec<Node> {
    let rule = gauss_legendre(order);
    edges
        .windows(2)
        .flat_map(|edge| {
            let (middle, half) = (0.5 * (edge[0] + edge[1]), 0.5 * (edge[1] - edge[0]));
            rule.iter().map(move |&(t, weight)| (middle + half * t, half * weight))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{composite, gauss_legendre};

    #[test]
    fn twelve_nodes_integrate_powers_up_to_degree_23_exactly() {
        for degree in 0..=23 {
            let integral: f64 = gauss_legendre(12).iter().map(|(t, w)| w * t.powi(degree)).sum();
            let exact = if degree % 2 == 0 { 2.0 / f64::from(degree + 1) } else { 0.0 };
            // Twelve roundings of numbers below one, and those of the weights.
            assert!((integral - exact).abs() < 32.0 * f64::EPSILON, "degree {degree}: {integral}");
        }
    }

    #[test]
    fn panels_add_up_to_the_whole_interval() {
        let integral: f64 =
            composite(&[0.0, 0.5, 2.0, 3.0], 12).iter().map(|(t, w)| w * t.exp()).sum();
        // Thirty-six roundings of numbers below exp(3).
        assert!((integral - (3f64.exp() - 1.0)).abs() < 36.0 * 20.0 * f64::EPSILON);
    }
}

//! Quadrature rules on [0, 1], computed once in double precision.

use std::f64::consts::PI;
use std::sync::{Arc, OnceLock};

/// Nodes in [0, 1] and weights, which sum to 1: the integral of f over [0, x] is about
/// x sum_j w_j f(x t_j).
pub(super) type Rule = Arc<[(f64, f64)]>;

/// Newton steps from the usual start: each doubles the digits, and three or four do.
const NEWTON_STEPS: usize = 8;

/// Gauss-Legendre with `count` nodes, exact for polynomials of degree 2 `count` - 1.
///
/// # Reference
/// Davis, Rabinowitz, *Methods of Numerical Integration*, 2nd ed., 1984, Section 2.7.
pub(super) fn gauss_legendre(count: usize) -> Rule {
    (0..count)
        .map(|index| {
            let mut z = (PI * (index as f64 + 0.75) / (count as f64 + 0.5)).cos();
            for _ in 0..NEWTON_STEPS {
                let (value, slope) = legendre(count, z);
                z -= value / slope;
            }
            let (_, slope) = legendre(count, z);
            // On [-1, 1] the weight is 2 / ((1 - z^2) P'(z)^2).
            ((1.0 - z) / 2.0, 1.0 / ((1.0 - z * z) * slope * slope))
        })
        .collect()
}

/// Legendre polynomial and its derivative at |z| < 1, for a degree of 1 or more.
fn legendre(degree: usize, z: f64) -> (f64, f64) {
    let (mut before, mut here) = (1.0, z);
    for n in 1..degree {
        let n = n as f64;
        (before, here) = (here, ((2.0 * n + 1.0) * z * here - n * before) / (n + 1.0));
    }
    (here, degree as f64 * (before - z * here) / (1.0 - z * z))
}

/// Clenshaw-Curtis with `steps` + 1 nodes in increasing order, both ends among them exactly.
///
/// # Reference
/// Clenshaw, Curtis, *A method for numerical integration on an automatic computer*, Numerische
/// Mathematik 2, 1960; the weights as in Waldvogel, *Fast construction of the Fejer and
/// Clenshaw-Curtis quadrature rules*, BIT 46, 2006.
pub(super) fn clenshaw_curtis(steps: usize) -> Rule {
    let cosines: Vec<f64> = (0..2 * steps).map(|j| (PI * j as f64 / steps as f64).cos()).collect();
    (0..=steps)
        .map(|j| {
            let terms = (1..=steps / 2).map(|k| {
                let factor = if 2 * k == steps { 1.0 } else { 2.0 };
                // The angle taken modulo 2 pi as an integer, so that large k lose nothing.
                factor * cosines[2 * j * k % (2 * steps)] / (4.0 * (k * k) as f64 - 1.0)
            });
            let end = if j == 0 || j == steps { 0.5 } else { 1.0 };
            ((1.0 - cosines[j]) / 2.0, end / steps as f64 * (1.0 - terms.sum::<f64>()))
        })
        .collect()
}

/// Most steps of [`Nested`] rules.
const MOST_STEPS: usize = 1 << 14;

/// Clenshaw-Curtis rules of N, 2N, 4N, .. steps up to [`MOST_STEPS`], each computed when it is first
/// asked for; the nodes of one are every other node of the next.
#[derive(Clone, Debug)]
pub(super) struct Nested {
    steps: usize,
    rules: Arc<[OnceLock<Box<[NestedNode]>>]>,
}

/// A node in [0, 1] with its weights in the rules of a quarter of the steps, of half and of all of
/// them, 0 in those that do not have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct NestedNode {
    pub(super) node: f64,
    pub(super) weights: [f64; 3],
}

impl Nested {
    /// Rules from `steps` on, made a multiple of four.
    pub(super) fn new(steps: usize) -> Self {
        let steps = steps.next_multiple_of(4);
        let doublings = (MOST_STEPS / steps).checked_ilog2().unwrap_or(0);
        Self { steps, rules: (0..=doublings).map(|_| OnceLock::new()).collect() }
    }

    /// Number of rules.
    pub(super) fn levels(&self) -> usize {
        self.rules.len()
    }

    /// Steps of rule `level`.
    pub(super) fn steps(&self, level: usize) -> usize {
        self.steps << level
    }

    /// Nodes of rule `level` in increasing order.
    pub(super) fn rule(&self, level: usize) -> &[NestedNode] {
        self.rules[level].get_or_init(|| {
            let rules = [4, 2, 1].map(|share| (share, clenshaw_curtis(self.steps(level) / share)));
            let node = |(index, &(node, _)): (usize, &(f64, f64))| {
                let weight = |(share, rule): &(usize, Rule)| {
                    if index.is_multiple_of(*share) { rule[index / share].1 } else { 0.0 }
                };
                NestedNode { node, weights: [0, 1, 2].map(|which| weight(&rules[which])) }
            };
            rules[2].1.iter().enumerate().map(node).collect()
        })
    }
}

//! The integral of a network over [0, x] by a fixed rule, or by nested rules of more and more nodes.

use flows_core::elementwise::vectorised;
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};

use super::network::{Elu, Weights};
use crate::transformer::lanes::{Lanes, lanes};
use crate::transformer::quadrature::{Nested, Rule, clenshaw_curtis};

/// Units of rounding of a network's [grain](Weights::grain) that are tolerated beside the tolerance.
const ROUNDINGS: f64 = 8.0;

/// How the integral is computed.
#[derive(Clone, Debug)]
pub(super) enum Quadrature {
    Fixed(Rule),
    Adaptive { rules: Nested, tolerance: f64 },
}

/// Which of the nested rules each element takes; all 0 for a fixed rule.
pub(super) type Levels = [usize; LANES];

/// The mean of g over [0, x], which times x is the integral.
pub(super) struct Integral<E> {
    pub(super) mean: Lanes<E>,
    /// s(x).
    pub(super) exponent: Lanes<E>,
    levels: Levels,
}

impl Quadrature {
    /// Clenshaw-Curtis with `steps` + 1 nodes.
    pub(super) fn fixed(steps: usize) -> Self {
        Self::Fixed(clenshaw_curtis(steps))
    }

    /// The same with steps doubled until the tolerance is met.
    pub(super) fn adaptive(steps: usize, tolerance: f64) -> Self {
        Self::Adaptive { rules: Nested::new(steps), tolerance }
    }

    /// The integral for each lane.
    ///
    /// # Errors
    /// [`Error::Stopped`] with the first lane that the finest rule is not enough for.
    pub(super) fn integrate<E: Real>(
        &self,
        x: &[E],
        weights: &Weights<'_, E>,
        hidden: usize,
    ) -> Result<Integral<E>> {
        let mut units = vec![[E::zero(); LANES]; hidden];
        match self {
            Self::Fixed(rule) => Ok(vectorised(
                #[inline(always)]
                || {
                    let (mut mean, mut exponent) = ([E::zero(); LANES], [E::zero(); LANES]);
                    for &(node, weight) in rule.iter() {
                        let u = lanes(|lane| E::of(node) * x[lane]);
                        exponent = weights.exponent(&u, &mut units);
                        for lane in 0..LANES {
                            mean[lane] += E::of(weight) * Elu::new(exponent[lane]).value();
                        }
                    }
                    Integral { mean, exponent, levels: [0; LANES] }
                },
            )),
            Self::Adaptive { rules, tolerance } => {
                let (integral, missed) = refine(rules, *tolerance, x, weights, &mut units);
                match missed {
                    None => Ok(integral),
                    Some((row, error)) => Err(Error::Stopped {
                        method: "quadrature of an integrated network",
                        row: Some(row),
                        reached: format!("{error:.0e} of 1 + |y|, tolerance {tolerance:.0e}"),
                        status: format!("{} steps", rules.steps(rules.levels() - 1)),
                        advice: "check the data for outliers, put act-norm around the layer, or lower \
                                 learning_rate",
                    }),
                }
            }
        }
    }

    /// The rules that [`integrate`](Self::integrate) takes.
    pub(super) fn levels<E: Real>(
        &self,
        x: &[E],
        weights: &Weights<'_, E>,
        hidden: usize,
    ) -> Levels {
        match self {
            Self::Fixed(_) => [0; LANES],
            Self::Adaptive { rules, tolerance } => {
                let mut units = vec![[E::zero(); LANES]; hidden];
                refine(rules, *tolerance, x, weights, &mut units).0.levels
            }
        }
    }

    /// Number of nodes of the finest of these rules.
    pub(super) fn nodes(&self, levels: &Levels) -> usize {
        match self {
            Self::Fixed(rule) => rule.len(),
            Self::Adaptive { rules, .. } => rules.rule(finest(levels)).len(),
        }
    }

    /// A node of the finest of these rules, and its weight in the rule of each lane, 0 if that is a
    /// coarser one without it. The last node is 1.
    #[inline(always)]
    pub(super) fn node<E: Real>(&self, index: usize, levels: &Levels) -> (E, Lanes<E>) {
        match self {
            Self::Fixed(rule) => (E::of(rule[index].0), [E::of(rule[index].1); LANES]),
            Self::Adaptive { rules, .. } => {
                let finest = finest(levels);
                let weight = |lane: usize| {
                    let (level, stride) = (levels[lane], 1 << (finest - levels[lane]));
                    if index.is_multiple_of(stride) {
                        E::of(rules.rule(level)[index / stride].weights[2])
                    } else {
                        E::zero()
                    }
                };
                (E::of(rules.rule(finest)[index].node), lanes(weight))
            }
        }
    }
}

fn finest(levels: &Levels) -> usize {
    levels.iter().copied().max().unwrap_or(0)
}

/// Doubles the steps until every lane is within the tolerance; also the first lane that is not and
/// its estimated error. A lane keeps the sum of the first rule that does, whatever its neighbours
/// need, so that no row depends on the others.
fn refine<E: Real>(
    rules: &Nested,
    tolerance: f64,
    x: &[E],
    weights: &Weights<'_, E>,
    units: &mut [Lanes<E>],
) -> (Integral<E>, Option<(usize, f64)>) {
    let grain = weights.grain();
    let allowed =
        lanes(|lane| E::of(tolerance) + E::of(ROUNDINGS) * E::epsilon() * (E::one() + grain[lane]));
    let turns = weights.turns();
    let zero = [E::zero(); LANES];
    let mut integral = Integral { mean: zero, exponent: zero, levels: [0; LANES] };
    // g at the nodes so far, in their order.
    let mut values: Vec<Lanes<E>> = Vec::new();
    let mut open: Vec<usize> = (0..LANES).collect();
    let (mut errors, mut at_x) = (zero, zero);
    for level in 0..rules.levels() {
        let rule = rules.rule(level);
        let mut known = std::mem::take(&mut values).into_iter();
        let means = vectorised(
            #[inline(always)]
            || {
                let mut means = [zero; 3];
                for (index, node) in rule.iter().enumerate() {
                    let before = if index.is_multiple_of(2) { known.next() } else { None };
                    let value = before.unwrap_or_else(|| {
                        let u = lanes(|lane| E::of(node.node) * x[lane]);
                        integral.exponent = weights.exponent(&u, units);
                        let exponent = &integral.exponent;
                        lanes(|lane| Elu::new(exponent[lane]).value())
                    });
                    for (mean, weight) in means.iter_mut().zip(node.weights.map(E::of)) {
                        for lane in 0..LANES {
                            mean[lane] += weight * value[lane];
                        }
                    }
                    values.push(value);
                }
                means
            },
        );
        if level == 0 {
            at_x = integral.exponent;
        }
        let [quarter, half, all] = &means;
        open.retain(|&lane| {
            let size = E::one() + all[lane].mul_add(x[lane], weights.beta[lane]).abs();
            let distance = |one: &Lanes<E>, other: &Lanes<E>| {
                ((one[lane] - other[lane]) * x[lane]).abs() / size
            };
            let (near, far) = (distance(all, half), distance(half, quarter) * E::of(0.125));
            errors[lane] = if far > near { far } else { near };
            integral.mean[lane] = all[lane];
            integral.levels[lane] = level;
            // Half of what is allowed may be what no node sees.
            let two = E::one() + E::one();
            let unseen = turns.unseen(lane, x[lane], rules.steps(level)) / size * two;
            errors[lane] = if unseen > errors[lane] { unseen } else { errors[lane] };
            // What is not finite is not made so by more nodes, and reported by the caller.
            errors[lane].is_finite() && errors[lane] > allowed[lane]
        });
        if open.is_empty() {
            break;
        }
    }
    integral.exponent = at_x;
    let missed = open.first().map(|&lane| (lane, errors[lane].as_f64()));
    (integral, missed)
}

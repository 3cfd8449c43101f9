//! Stick-breaking: real vectors onto the open simplex.

use flows_core::elementwise::{clamp, exp, ln, sigmoid, softplus, vectorised};
use flows_core::map::{Block, Pull};
use flows_core::operation::LANES;
use flows_core::{Error, HasLayout, Layout, Map, Real, Result, Scratch, Work};

/// The stick-breaking map of R^D onto {x_i > 0, sum of x_i < 1}: the open simplex with D + 1 parts,
/// of which the last is the rest. Nothing is learned.
///
/// ```text
/// t_i = z_i - log(D - i),   x_i = r_i sigmoid(t_i),   r_{i+1} = r_i sigmoid(-t_i),   r_0 = 1
/// z_i = log x_i - log r_{i+1} + log(D - i),           log|det dx/dz| = sum_i log x_i + log r_D
/// ```
/// i counts from 0. The offset maps z = 0 to D + 1 equal parts. The Jacobian is triangular, and the
/// product of its diagonal x_i r_{i+1} / r_i telescopes.
///
/// # Domain and accuracy
/// Forward, the logarithm of the rest is summed up, so that the log-det is finite for all finite z;
/// parts are kept between the square root of the smallest normal number (1e-19 in `f32`) and 1 -
/// epsilon. The inverse takes r_i as the sum of all later parts, so that only the last part is
/// found as 1 - sum; it is known to D epsilon, and taken as at least epsilon. A part that is zero
/// or negative, or a sum that exceeds 1 by more than 2 D epsilon, is outside the open simplex:
/// [`Error::NonFinite`] names the row. Cost O(D) either way.
///
/// # Reference
/// Carpenter et al., *Stan: A Probabilistic Programming Language*, J. Stat. Softw. 76(1), 2017;
/// reference manual, "Unit simplex". Betancourt, *Cruising the Simplex: Hamiltonian Monte
/// Carlo with the Dirichlet Distribution*, 2010. <https://arxiv.org/abs/1010.3436>
#[derive(Clone, Copy, Debug)]
pub struct StickBreaking {
    dim: usize,
}

impl StickBreaking {
    /// The map onto the simplex with `dim` + 1 parts.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }
}

impl HasLayout for StickBreaking {
    fn layout(&self) -> Vec<Layout> {
        Vec::new()
    }
}

impl<E: Real> Map<E> for StickBreaking {
    fn name(&self) -> &'static str {
        "stick-breaking"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn forward(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        split(at.input, at.value, at.log_det);
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        join(at.input, &mut last_part(at.input)?, at.value, at.log_det);
        Ok(Work::default())
    }

    fn forward_gradient(&self, at: Pull<'_, '_, E>, _: &mut Scratch) -> Result<()> {
        split_gradient(at);
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, E>, _: &mut Scratch) -> Result<()> {
        let mut rest = last_part(at.input)?;
        join_gradient(at, &mut rest);
        Ok(())
    }
}

/// log(D - i)
#[inline(always)]
fn offset<E: Real>(dim: usize, feature: usize) -> E {
    E::of(((dim - feature) as f64).ln())
}

/// Limits a part: its reciprocal, the slope of the logarithm, must not overflow.
#[inline(always)]
fn limited<E: Real>(part: E) -> E {
    clamp(part, E::min_positive_value().sqrt(), E::one() - E::epsilon())
}

fn split<E: Real>(z: &[E], x: &mut [E], log_det: &mut [E]) {
    let dim = z.len() / LANES;
    let mut log_rest = [E::zero(); LANES];
    vectorised(
        #[inline(always)]
        || {
            let features = z.chunks_exact(LANES).zip(x.chunks_exact_mut(LANES)).enumerate();
            for (feature, (z, x)) in features {
                let offset = offset(dim, feature);
                for lane in 0..LANES {
                    let t = z[lane] - offset;
                    let log_x = log_rest[lane] - softplus(-t);
                    log_rest[lane] -= softplus(t);
                    log_det[lane] += log_x;
                    x[lane] = limited(exp(log_x));
                }
            }
            for lane in 0..LANES {
                log_det[lane] += log_rest[lane];
            }
        },
    );
}

/// With a_i = g_i x_i + l, the gradient of log x_i, and b_i that of log r_i,
/// ```text
/// dz_i = a_i sigmoid(-t_i) - b_{i+1} sigmoid(t_i),   b_i = a_i + b_{i+1},   b_D = l
/// ```
fn split_gradient<E: Real>(at: Pull<'_, '_, E>) {
    let Pull { input: z, value: parts, d_value: d_parts, d_log_det, d_input: target, .. } = at;
    let dim = z.len() / LANES;
    let mut d_log_rest = [E::zero(); LANES];
    d_log_rest.copy_from_slice(d_log_det);
    vectorised(
        #[inline(always)]
        || {
            let values = z.chunks_exact(LANES).zip(parts.chunks_exact(LANES));
            let gradients = d_parts.chunks_exact(LANES).zip(target.chunks_exact_mut(LANES));
            for (feature, ((z, x), (g, dz))) in values.zip(gradients).enumerate().rev() {
                let offset = offset(dim, feature);
                for lane in 0..LANES {
                    let t = z[lane] - offset;
                    let a = g[lane] * x[lane] + d_log_det[lane];
                    dz[lane] = a * sigmoid(-t) - d_log_rest[lane] * sigmoid(t);
                    d_log_rest[lane] += a;
                }
            }
        },
    );
}

/// r_D = 1 - sum, if the parts are inside the simplex.
fn last_part<E: Real>(x: &[E]) -> Result<[E; LANES]> {
    let slack = E::of(2.0 * (x.len() / LANES) as f64) * E::epsilon();
    let mut rest = [E::one(); LANES];
    let mut inside = [true; LANES];
    for x in x.chunks_exact(LANES) {
        for lane in 0..LANES {
            rest[lane] -= x[lane];
            inside[lane] &= x[lane] > E::zero();
        }
    }
    let inside = |lane: usize| inside[lane] && rest[lane] >= -slack;
    if let Some(row) = (0..LANES).position(|lane| !inside(lane)) {
        let quantity = "base point of a row outside of the open simplex";
        let advice = "every part has to be positive and their sum below 1";
        return Err(Error::NonFinite { quantity, row, advice });
    }
    Ok(rest.map(|rest| clamp(rest, E::epsilon(), E::one())))
}

fn join<E: Real>(x: &[E], rest: &mut [E; LANES], z: &mut [E], log_det: &mut [E]) {
    let dim = x.len() / LANES;
    vectorised(
        #[inline(always)]
        || {
            for lane in 0..LANES {
                log_det[lane] -= ln(rest[lane]);
            }
            let features = x.chunks_exact(LANES).zip(z.chunks_exact_mut(LANES)).enumerate();
            for (feature, (x, z)) in features.rev() {
                let offset = offset(dim, feature);
                for lane in 0..LANES {
                    let part = limited(x[lane]);
                    let log_x = ln(part);
                    z[lane] = log_x - ln(rest[lane]) + offset;
                    log_det[lane] -= log_x;
                    rest[lane] += part;
                }
            }
        },
    );
}

/// ```text
/// dx_i = (g_i - l) / x_i + sum_{j >= i} g_j / r_{j+1} + l / r_D
/// ```
fn join_gradient<E: Real>(at: Pull<'_, '_, E>, rest: &mut [E; LANES]) {
    let Pull { input: x, d_value: d_z, d_log_det, d_input: target, .. } = at;
    let mut sum = [E::zero(); LANES];
    vectorised(
        #[inline(always)]
        || {
            for lane in 0..LANES {
                sum[lane] = d_log_det[lane] / rest[lane];
            }
            let gradients = d_z.chunks_exact(LANES).zip(target.chunks_exact_mut(LANES));
            for (x, (g, dx)) in x.chunks_exact(LANES).zip(gradients).rev() {
                for lane in 0..LANES {
                    let part = limited(x[lane]);
                    sum[lane] += g[lane] / rest[lane];
                    dx[lane] = (g[lane] - d_log_det[lane]) / part + sum[lane];
                    rest[lane] += part;
                }
            }
        },
    );
}

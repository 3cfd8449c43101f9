//! Real vectors onto the open simplex, one piece of a stick after another.

use flows_core::elementwise::{clamp, exp, ln, sigmoid, softplus, vectorised};
use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::check_columns;
use flows_core::{
    Batch, Bijector, Context, Costs, Error, Mapped, Mode, Parameters, Real, Result, SplitTape, Work,
};

/// R^D onto {x_i > 0, sum of x_i < 1}: the open simplex with D + 1 parts, given by the first D of
/// them; the last one is what is left. Nothing is learned and the context is ignored.
///
/// ```text
/// t_i = z_i - log(D - i),   x_i = r_i sigmoid(t_i),   r_{i+1} = r_i sigmoid(-t_i),   r_0 = 1
/// z_i = log x_i - log r_{i+1} + log(D - i),           log|det dx/dz| = sum_i log x_i + log r_D
/// ```
/// i counts from 0. The offset takes z = 0 to the point with D + 1 equal parts. The Jacobian is
/// triangular, and the product of its diagonal x_i r_{i+1} / r_i telescopes.
///
/// # Domain and accuracy
/// Forward, the logarithm of what is left is summed up, so that the log-det is finite for all
/// finite z; parts are kept between the square root of the smallest normal number (1e-19 in `f32`)
/// and 1 - epsilon. The inverse takes r_i as the sum of all later parts, so that only the last part
/// has to be found as 1 - sum; it is known to D epsilon, and at least epsilon is assumed. A part
/// that is zero or negative, or a sum that exceeds 1 by more than 2 D epsilon, is outside of the
/// open simplex: [`Error::NonFinite`] names the row. Cost O(D) either way.
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
    /// Onto the simplex with `dim` + 1 parts.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }

    fn map<E: Real, T: Mode<E>, const INVERSE: bool>(
        &self,
        input: Batch<E, T>,
    ) -> Result<Mapped<E, T>> {
        check_columns("stick-breaking", &input, self.dim)?;
        let (input, mut tape) = input.split_tape();
        let operation = StickBreakingOperation::<INVERSE> { dim: self.dim };
        let mut outputs = apply(operation, &[&input], &[], &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        Ok(Mapped::new(outputs.remove(0), log_det, tape, Work::default()))
    }
}

impl<E: Real> Parameters<E> for StickBreaking {
    fn visit(&self, _: &mut Visitor<'_, E>) {}

    fn visit_mut(&mut self, _: &mut VisitorMut<'_, E>) -> Result<()> {
        Ok(())
    }
}

impl<E: Real> Bijector<E> for StickBreaking {
    fn dim(&self) -> usize {
        self.dim
    }

    fn costs(&self) -> Costs {
        Costs::CLOSED_FORM
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<E, T, false>(z)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<E, T, true>(x)
    }
}

struct StickBreakingOperation<const INVERSE: bool> {
    dim: usize,
}

impl<E: Real, const INVERSE: bool> Operation<E> for StickBreakingOperation<INVERSE> {
    /// The parts of the forward direction.
    type Workspace = Vec<E>;

    fn name(&self) -> &'static str {
        "stick-breaking"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim, 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        _: &[&[E]],
        parts: &mut Vec<E>,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [value, log_det] = outputs else {
            return Ok(());
        };
        if INVERSE {
            let mut rest = last_part(inputs[0])?;
            join(inputs[0], &mut rest, value, log_det);
        } else {
            split(inputs[0], value, log_det);
            parts.clear();
            parts.extend_from_slice(value);
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, Vec<E>>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        _: &mut [&mut [E]],
    ) {
        let (input, target) = (block.inputs[0], &mut *input_gradients[0]);
        if !INVERSE {
            split_gradient(input, block.workspace, output_gradients, target);
        } else if let Ok(mut rest) = last_part(input) {
            // The forward pass of the same block has found its last part, or there is no tape.
            join_gradient(input, &mut rest, output_gradients, target);
        }
    }
}

/// log(D - i)
#[inline(always)]
fn offset<E: Real>(dim: usize, feature: usize) -> E {
    E::of(((dim - feature) as f64).ln())
}

/// Range of a part: its reciprocal, the slope of the logarithm, has to stay far from overflow.
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
fn split_gradient<E: Real>(z: &[E], parts: &[E], outer: &[&[E]], target: &mut [E]) {
    let [d_parts, d_log_det] = outer else {
        return;
    };
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

/// r_D = 1 - sum, where the parts are inside of the simplex.
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
fn join_gradient<E: Real>(x: &[E], rest: &mut [E; LANES], outer: &[&[E]], target: &mut [E]) {
    let [d_z, d_log_det] = outer else {
        return;
    };
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

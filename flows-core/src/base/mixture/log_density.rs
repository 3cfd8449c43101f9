//! The log-density of a mixture of normals, by log-sum-exp over its components.

use crate::base::normal::HALF_LN_TWO_PI;
use crate::elementwise::{exp, ln, vectorised};
use crate::operation::{LANES, Operation, Recorded};
use crate::{Real, Result, Scratch};

/// L = ln sum_k exp(a_k), a_k = ln w_k - sum of u^2/2 + s_k + ln(2 pi)/2, u = e^-s_k (z - m_k).
///
/// With r_k = exp(a_k - L): d/dz = -sum_k r_k u e^-s_k, d/dm_k = r_k u e^-s_k, d/ds_k = r_k (u^2 - 1),
/// d/dlogit_k = r_k - w_k.
pub(super) struct LogDensity;

/// Terms of a block, component by component, and their log-sum-exp behind them.
type Terms<E> = Vec<E>;

/// ln w, the logarithm of the softmax.
fn log_weights<E: Real>(logits: &[E]) -> Vec<E> {
    let wide: Vec<f64> = logits.iter().map(|v| v.as_f64()).collect();
    let total = super::expectation::log_sum_exp(&wide);
    wide.iter().map(|l| E::of(l - total)).collect()
}

/// u and e^-s.
#[inline(always)]
fn standard<E: Real>(z: E, location: E, inverse: E) -> E {
    (z - location) * inverse
}

impl<E: Real> Operation<E> for LogDensity {
    fn name(&self) -> &'static str {
        "mixture log-density"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [logits, location, log_scale] = [parameters[0], parameters[1], parameters[2]];
        let dim = inputs[0].len() / LANES;
        let terms: &mut Terms<E> = scratch.or_default();
        terms.clear();
        for (k, log_weight) in log_weights(logits).into_iter().enumerate() {
            let scales = &log_scale[k * dim..(k + 1) * dim];
            let constant = E::of(HALF_LN_TWO_PI * dim as f64) + scales.iter().copied().sum();
            terms.resize((k + 1) * LANES, log_weight - constant);
            for (i, z) in inputs[0].chunks_exact(LANES).enumerate() {
                let (location, inverse) = (location[k * dim + i], (-scales[i]).exp());
                let terms = &mut terms[k * LANES..];
                vectorised(
                    #[inline(always)]
                    || {
                        for (term, &z) in terms.iter_mut().zip(z) {
                            let u = standard(z, location, inverse);
                            *term -= E::of(0.5) * u * u;
                        }
                    },
                );
            }
        }
        log_sum_exp(terms, outputs[0]);
        terms.extend_from_slice(outputs[0]);
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()> {
        let (inputs, outer) = (block.inputs[0], output_gradients[0]);
        let [logits, location, log_scale] =
            [block.parameters[0], block.parameters[1], block.parameters[2]];
        let dim = inputs.len() / LANES;
        let (terms, total) = block.scratch.left::<Terms<E>>().split_at_mut(logits.len() * LANES);
        let all: E = outer.iter().copied().sum();
        for (k, (shares, log_weight)) in
            terms.chunks_exact_mut(LANES).zip(log_weights(logits)).enumerate()
        {
            weigh(shares, total, outer);
            parameter_gradients[0][k] += shares.iter().copied().sum::<E>() - log_weight.exp() * all;
            for (i, z) in inputs.chunks_exact(LANES).enumerate() {
                let at = k * dim + i;
                let inner = &mut input_gradients[0][i * LANES..(i + 1) * LANES];
                let scales = [location[at], (-log_scale[at]).exp()];
                let [d_location, d_log_scale] = component(z, shares, scales, inner);
                parameter_gradients[1][at] += d_location;
                parameter_gradients[2][at] += d_log_scale;
            }
        }
        Ok(())
    }
}

/// Over components, lane by lane; minus infinity where every term is.
fn log_sum_exp<E: Real>(terms: &[E], result: &mut [E]) {
    vectorised(
        #[inline(always)]
        || {
            for (lane, result) in result.iter_mut().enumerate() {
                let mut largest = E::min_value();
                for &term in terms[lane..].iter().step_by(LANES) {
                    // NaN must not become a number by the comparison.
                    largest = if term <= largest { largest } else { term };
                }
                let mut sum = E::zero();
                for &term in terms[lane..].iter().step_by(LANES) {
                    sum += exp(term - largest);
                }
                *result = largest + ln(sum);
            }
        },
    );
}

/// Terms become shares of the outer gradient, r g.
fn weigh<E: Real>(terms: &mut [E], total: &[E], outer: &[E]) {
    vectorised(
        #[inline(always)]
        || {
            for ((term, &total), &outer) in terms.iter_mut().zip(total).zip(outer) {
                *term = exp(*term - total) * outer;
            }
        },
    );
}

/// What a feature of one component adds to the gradients of z, location and log-scale.
fn component<E: Real>(
    z: &[E],
    shares: &[E],
    [location, inverse]: [E; 2],
    inner: &mut [E],
) -> [E; 2] {
    let mut sums = [E::zero(); 2];
    vectorised(
        #[inline(always)]
        || {
            for ((inner, &z), &share) in inner.iter_mut().zip(z).zip(shares) {
                let u = standard(z, location, inverse);
                let slope = share * u * inverse;
                *inner -= slope;
                sums[0] += slope;
                sums[1] += share * (u * u - E::one());
            }
        },
    );
    sums
}

//! The log-density of a Gaussian mixture, by log-sum-exp over its components.
//!
//! ```text
//! L = ln sum_k exp(a_k),   a_k = ln w_k - sum of u^2/2 + s_k + ln(2 pi)/2,   u = e^-s_k (z - m_k)
//! ```
//! With r_k = exp(a_k - L): d/dz = -sum_k r_k u e^-s_k, d/dm_k = r_k u e^-s_k, d/ds_k = r_k (u^2 - 1),
//! d/dlogit_k = r_k - w_k.

use crate::Real;
use crate::base::normal::HALF_LN_TWO_PI;
use crate::elementwise::{exp, ln, vectorised};
use crate::lanes::{named, named_mut};
use crate::operation::{LANES, Recorded};

/// Terms of a block, component by component, and their log-sum-exp behind them.
pub(super) type Terms<E> = Vec<E>;

/// ln w, in the precision of the kernel.
fn log_weights<E: Real>(logits: &[E]) -> Vec<E> {
    let wide: Vec<f64> = logits.iter().map(|v| v.as_f64()).collect();
    super::log_weights(&wide).into_iter().map(E::of).collect()
}

/// u
#[inline(always)]
fn standard<E: Real>(z: E, location: E, inverse: E) -> E {
    (z - location) * inverse
}

/// Writes L and leaves the terms.
pub(super) fn forward<E: Real>(
    z: &[E],
    parameters: &[&[E]],
    terms: &mut Terms<E>,
    log_density: &mut [E],
) {
    let [logits, location, log_scale] = named(parameters);
    let dim = z.len() / LANES;
    terms.clear();
    for (k, log_weight) in log_weights(logits).into_iter().enumerate() {
        let scales = &log_scale[k * dim..(k + 1) * dim];
        let constant = E::of(HALF_LN_TWO_PI * dim as f64) + scales.iter().copied().sum();
        terms.resize((k + 1) * LANES, log_weight - constant);
        for (i, z) in z.chunks_exact(LANES).enumerate() {
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
    log_sum_exp(terms, log_density);
    terms.extend_from_slice(log_density);
}

/// The gradients of z and of the parameters, from the terms that [`forward`] left.
pub(super) fn pull<E: Real>(
    at: Recorded<'_, E>,
    outer: &[E],
    d_z: &mut [E],
    d_parameters: &mut [&mut [E]],
) {
    let [logits, location, log_scale] = named(at.parameters);
    let [d_logits, d_location, d_log_scale] = named_mut(d_parameters);
    let (z, dim) = (at.inputs[0], d_z.len() / LANES);
    let (terms, total) = at.scratch.left::<Terms<E>>().split_at_mut(logits.len() * LANES);
    let all: E = outer.iter().copied().sum();
    let components = terms.chunks_exact_mut(LANES).zip(log_weights(logits));
    for (k, (shares, log_weight)) in components.enumerate() {
        weigh(shares, total, outer);
        d_logits[k] += shares.iter().copied().sum::<E>() - log_weight.exp() * all;
        let features = z.chunks_exact(LANES).zip(d_z.chunks_exact_mut(LANES));
        for (i, (z, d_z)) in features.enumerate() {
            let at = k * dim + i;
            let scales = [location[at], (-log_scale[at]).exp()];
            let [of_location, of_log_scale] = component(z, shares, scales, d_z);
            d_location[at] += of_location;
            d_log_scale[at] += of_log_scale;
        }
    }
}

/// Log-sum-exp over components, lane by lane; minus infinity if every term is.
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

/// Turns the terms into responsibilities times the outer gradient, r g.
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

/// Adds the terms of one feature of one component to the gradients of z, location and log-scale.
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

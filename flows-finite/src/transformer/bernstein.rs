//! The monotone Bernstein polynomial transformer.

use std::sync::Arc;

use flows_core::elementwise::{clamp, ln, sigmoid, softplus, vectorised};
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};
use serde::{Deserialize, Serialize};

use super::check_finite::check_finite;
use super::lanes::{Lanes, lanes};
use super::root::invert;
use super::{Inner, Outer, SharedTransformer, Transformer, TransformerConfig};

/// Settings of [`Bernstein`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BernsteinConfig {
    /// Degree.
    pub degree: usize,
    /// It acts on [-bound, bound], with straight tails.
    pub bound: f64,
}

impl Default for BernsteinConfig {
    fn default() -> Self {
        Self { degree: 16, bound: 4.0 }
    }
}

#[typetag::serde(name = "bernstein")]
impl TransformerConfig for BernsteinConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        Ok(Arc::new(Bernstein::new(self.degree, self.bound)?))
    });
}

/// Smallest slope.
const MIN_SLOPE: f64 = 1e-3;

/// The Bernstein polynomial of degree M on [-B, B], continued by straight lines with its end
/// slopes.
///
/// With t = (x + B) / 2B and b_k,n the Bernstein basis of degree n in t,
/// ```text
/// y = sum_k c_k b_k,M(t),   c_0 = -B + shift,   c_k = c_k-1 + (2B / M) s_k
/// slope = sum_k s_k+1 b_k,M-1(t),   s_k = softplus(r_k) + 1e-3
/// ```
/// so that the slope is a weighted mean of the s_k: positive, between their smallest and largest,
/// and s_1 and s_M at the ends. The map is C1 on the whole line. Parameters of an element: the
/// shift, then r_1 .. r_M. It starts as the identity.
///
/// # Accuracy
/// The basis is built by de Casteljau's triangle of weighted means, which only adds positive terms:
/// the log-slope is good to M units of rounding, the value to M units of B + |shift| + 2B max s_k
/// or, outside, of the line; the inverse to that over the slope. Values that overflow are an error.
///
/// # Cost
/// M^2 multiply-adds forward. The inverse is a root search with as many for each of its about 10
/// evaluations; outside the interval it is a formula.
///
/// # Reference
/// Ramasinghe, Fernando, Khan, Barnes, *Robust normalizing flows using Bernstein-type polynomials*,
/// 2021, <https://arxiv.org/abs/2102.03509>. There the map is of an interval to an interval; the
/// tails and the raw slopes are this crate's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bernstein {
    degree: usize,
    bound: f64,
}

/// The polynomial at points clamped to the interval.
struct Inside<E> {
    /// t and 1 - t, each with its own rounding only.
    t: Lanes<E>,
    rest: Lanes<E>,
    /// x minus the clamped point.
    beyond: Lanes<E>,
}

impl<E: Real> Inside<E> {
    #[inline(always)]
    fn new(x: &[E], bound: f64) -> Self {
        let (bound, per_length) = (E::of(bound), E::of(0.5 / bound));
        let moved = lanes(|lane| clamp(x[lane], -bound, bound));
        Self {
            t: lanes(|lane| (bound + moved[lane]) * per_length),
            rest: lanes(|lane| (bound - moved[lane]) * per_length),
            beyond: lanes(|lane| x[lane] - moved[lane]),
        }
    }

    /// From the Bernstein basis of degree n to that of degree n + 1:
    /// b_k,n+1 = (1 - t) b_k,n + t b_k-1,n.
    #[inline(always)]
    fn elevate(&self, basis: &mut Vec<Lanes<E>>) {
        basis.push([E::zero(); LANES]);
        let mut below = [E::zero(); LANES];
        for row in basis {
            for lane in 0..LANES {
                let here = row[lane];
                row[lane] = self.rest[lane] * here + self.t[lane] * below[lane];
                below[lane] = here;
            }
        }
    }

    #[inline(always)]
    fn basis(&self, degree: usize) -> Vec<Lanes<E>> {
        let mut basis = Vec::with_capacity(degree + 2);
        basis.push([E::one(); LANES]);
        for _ in 0..degree {
            self.elevate(&mut basis);
        }
        basis
    }

    /// sum_k `rows`(k) b_k
    #[inline(always)]
    fn combine(basis: &[Lanes<E>], rows: impl Fn(usize, usize) -> E) -> Lanes<E> {
        let mut sum = [E::zero(); LANES];
        for (k, basis) in basis.iter().enumerate() {
            for lane in 0..LANES {
                sum[lane] += rows(k, lane) * basis[lane];
            }
        }
        sum
    }

    /// Adds b_k+1,M, from the basis of degree M - 1, to `tail`: for k = M - 1, .., 0 it becomes the
    /// sum of b_j,M over j > k, which is what s_k+1 M / 2B contributes to the value.
    #[inline(always)]
    fn add_to_tail(&self, basis: &[Lanes<E>], k: usize, tail: &mut Lanes<E>) {
        for lane in 0..LANES {
            let above = if k + 1 < basis.len() { basis[k + 1][lane] } else { E::zero() };
            tail[lane] += self.rest[lane] * above + self.t[lane] * basis[k][lane];
        }
    }
}

impl Bernstein {
    /// A polynomial of degree `degree` on [-`bound`, `bound`].
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the degree is 2 to 100 and the bound positive and finite.
    pub fn new(degree: usize, bound: f64) -> Result<Self> {
        if !(2..=100).contains(&degree) {
            let (name, requirement) = ("degree of a Bernstein polynomial", "between 2 and 100");
            return Err(Error::Parameter { name, requirement, value: degree as f64 });
        }
        if !(bound > 0.0 && bound.is_finite()) {
            let (name, requirement) = ("bound of a Bernstein polynomial", "positive and finite");
            return Err(Error::Parameter { name, requirement, value: bound });
        }
        Ok(Self { degree, bound })
    }

    /// Distance of neighbouring coefficients for slope 1.
    fn spacing<E: Real>(&self) -> E {
        E::of(2.0 * self.bound / self.degree as f64)
    }

    /// s_1 .. s_M.
    #[inline(always)]
    fn slopes<E: Real>(&self, raw: &[E]) -> Vec<Lanes<E>> {
        let mut slopes = vec![[E::zero(); LANES]; self.degree];
        for (slopes, raw) in slopes.iter_mut().zip(raw.chunks_exact(LANES)) {
            for lane in 0..LANES {
                slopes[lane] = softplus(raw[lane]) + E::of(MIN_SLOPE);
            }
        }
        slopes
    }

    /// Value and slope.
    #[inline(always)]
    fn evaluate<E: Real>(&self, x: &[E], theta: &[E]) -> (Lanes<E>, Lanes<E>) {
        let (shift, raw) = theta.split_at(LANES);
        let inside = Inside::new(x, self.bound);
        let (basis, slopes) = (inside.basis(self.degree - 1), self.slopes(raw));
        let slope = Inside::combine(&basis, |k, lane| slopes[k][lane]);
        let (mut rise, mut tail) = ([E::zero(); LANES], [E::zero(); LANES]);
        for k in (0..self.degree).rev() {
            inside.add_to_tail(&basis, k, &mut tail);
            for lane in 0..LANES {
                rise[lane] += slopes[k][lane] * tail[lane];
            }
        }
        let (spacing, start) = (self.spacing::<E>(), E::of(-self.bound));
        for lane in 0..LANES {
            let value = spacing.mul_add(rise[lane], start) + shift[lane];
            rise[lane] = slope[lane].mul_add(inside.beyond[lane], value);
        }
        (rise, slope)
    }
}

impl<E: Real> Transformer<E> for Bernstein {
    fn name(&self) -> &'static str {
        "Bernstein polynomial"
    }

    fn arity(&self) -> usize {
        self.degree + 1
    }

    fn initial(&self) -> Vec<f64> {
        // softplus(raw) + MIN_SLOPE = 1
        let mut theta = vec![(1.0 - MIN_SLOPE).exp_m1().ln(); self.degree + 1];
        theta[0] = 0.0;
        theta
    }

    fn closed_inverse(&self) -> bool {
        false
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        vectorised(
            #[inline(always)]
            || {
                let (value, slope) = self.evaluate(x, theta);
                y.copy_from_slice(&value);
                for lane in 0..LANES {
                    log_slope[lane] += ln(slope[lane]);
                }
            },
        );
        check_finite("value or log-slope of a Bernstein polynomial", y, log_slope)
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        let bound = E::of(self.bound);
        let ((low, low_slope), (high, high_slope)) = vectorised(
            #[inline(always)]
            || (self.evaluate(&[-bound; LANES], theta), self.evaluate(&[bound; LANES], theta)),
        );
        let moved = lanes(|lane| clamp(y[lane], low[lane], high[lane]));
        let iterations = invert(self, &moved, theta, x, log_slope)?;
        for lane in 0..LANES {
            // Beyond an end the search found that end, and its log-slope is the line's.
            let (below, above) = (y[lane] < low[lane], y[lane] > high[lane]);
            let slope = if below { low_slope[lane] } else { high_slope[lane] };
            let end = if below { -bound } else { bound };
            let outside = (y[lane] - moved[lane]) / slope + end;
            x[lane] = if below || above { outside } else { clamp(x[lane], -bound, bound) };
        }
        check_finite("inverse of a Bernstein polynomial", x, log_slope)?;
        Ok(iterations)
    }

    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        vectorised(
            #[inline(always)]
            || {
                let raw = &theta[LANES..];
                let (d_shift, d_raw) = inner.theta.split_at_mut(LANES);
                let inside = Inside::new(x, self.bound);
                let slopes = self.slopes(raw);
                let mut basis = inside.basis(self.degree - 2);
                let bend = Inside::combine(&basis, |k, lane| slopes[k + 1][lane] - slopes[k][lane]);
                inside.elevate(&mut basis);
                let slope = Inside::combine(&basis, |k, lane| slopes[k][lane]);
                let per_length = E::of((self.degree - 1) as f64 / (2.0 * self.bound));
                for lane in 0..LANES {
                    let within = inside.beyond[lane] == E::zero();
                    let bend = if within { per_length * bend[lane] } else { E::zero() };
                    let (gy, gl) = (outer.value[lane], outer.log_slope[lane]);
                    inner.value[lane] = gy * slope[lane] + gl * (bend / slope[lane]);
                    d_shift[lane] = gy;
                }
                let (spacing, mut tail) = (self.spacing::<E>(), [E::zero(); LANES]);
                for k in (0..self.degree).rev() {
                    inside.add_to_tail(&basis, k, &mut tail);
                    for lane in 0..LANES {
                        let (share, here) = (basis[k][lane], k * LANES + lane);
                        let value = spacing.mul_add(tail[lane], share * inside.beyond[lane]);
                        let log = outer.log_slope[lane] * (share / slope[lane]);
                        d_raw[here] = (outer.value[lane] * value + log) * sigmoid(raw[here]);
                    }
                }
            },
        );
    }
}

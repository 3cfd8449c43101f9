//! The sum-of-squares polynomial transformer.

use std::sync::Arc;

use flows_core::elementwise::{clamp, exp, ln, vectorised};
use flows_core::lanes::add;
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};
use serde::{Deserialize, Serialize};

use super::check_finite::check_finite;
use super::lanes::{Lanes, lanes};
use super::quadrature::{Rule, gauss_legendre};
use super::root::invert;
use super::{Inner, Outer, SharedTransformer, Transformer, TransformerConfig};

/// Settings of [`SumOfSquares`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SumOfSquaresConfig {
    /// Number of polynomials.
    pub polynomials: usize,
    /// Degree of each; the map's is twice that and one.
    pub degree: usize,
    /// Where it goes on as a straight line; infinite for a polynomial everywhere, as in the paper.
    pub bound: f64,
}

impl Default for SumOfSquaresConfig {
    fn default() -> Self {
        Self { polynomials: 2, degree: 2, bound: 3.0 }
    }
}

#[typetag::serde(name = "sum_of_squares")]
impl TransformerConfig for SumOfSquaresConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        Ok(Arc::new(SumOfSquares::new(self.polynomials, self.degree)?.within(self.bound)?))
    });
}

/// Spread of the initial linear coefficients: equal polynomials would have equal gradients and stay
/// equal.
const SPREAD: f64 = 0.1;

/// The sum-of-squares polynomial: the integral of a sum of K squared polynomials of degree L,
/// itself of degree 2L + 1.
///
/// ```text
/// y = c + int_0^x sum_k p_k(u)^2 du,   p_k(u) = sum_l a_kl u^l,   log slope = ln sum_k p_k(x)^2
/// ```
/// Parameters of an element: a_10 .. a_1L, .., a_K0 .. a_KL, c. The integral is exact: the
/// Gauss-Legendre rule of L + 1 nodes integrates degree 2L + 1. Its terms, unlike those of the
/// expanded square, are all positive, so that nothing cancels.
///
/// With one polynomial the slope vanishes at its real roots; two make every positive slope
/// possible. It starts as y = x + 0.01 m x^3 / 3 with m <= 1 for K >= 2 and L >= 1, else as the
/// identity. With L = 0 it is affine, with a closed inverse; else the inverse is a root search.
///
/// With a bound B ([`within`](Self::within)) the map is the polynomial on [-B, B] and its tangents
/// beyond, so that the log-slope is continuous:
///
/// ```text
/// y = tau(+-B) + tau'(+-B) (x -+ B),   log slope = ln tau'(+-B)     for +-x > B
/// ```
/// A polynomial of degree 5 throws a row at 10 deviations to 1e5, the next layer to 1e25, and its
/// log-density with them; the tangents keep it to the slope at B a layer. That slope grows as B^4 while
/// few rows say what it is: with B = 4 one row in 200, at 3.2 deviations, has cost 950 nats. Between
/// B = 3 and -3 lie all but 0.3 % of the values of a standardised normal feature.
///
/// All terms being positive, values are accurate to some 10 units of rounding of |y - c| and
/// log-slopes to as many, except near a common root of the p_k; the inverse to as many of |x| and
/// of the larger of 1 and |y - c|^(1/(2L+1)). Values grow as |x|^(2L+1): overflow is an error. For
/// coefficients about 1, |x| = 1e6 is within f32 up to L = 2 and within f64 up to L = 20. A slope
/// of exactly 0 is an error as well. Nothing overflows with a bound and coefficients about 1.
///
/// # Cost
/// K (L + 1)^2 multiply-adds forward; as many for each of the inverse's evaluations, about 10.
///
/// # Reference
/// Jaini, Selby, Yu, *Sum-of-Squares Polynomial Flow*, ICML 2019.
/// <https://arxiv.org/abs/1905.02325>
#[derive(Clone, Debug, PartialEq)]
pub struct SumOfSquares {
    polynomials: usize,
    degree: usize,
    bound: f64,
    rule: Rule,
}

impl SumOfSquares {
    /// `polynomials` squares of polynomials of degree `degree`, on the whole line.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless there are 1 to 100 polynomials of degree 0 to 20.
    pub fn new(polynomials: usize, degree: usize) -> Result<Self> {
        if !(1..=100).contains(&polynomials) {
            let (name, requirement) = ("polynomials of a sum of squares", "between 1 and 100");
            return Err(Error::Parameter { name, requirement, value: polynomials as f64 });
        }
        if degree > 20 {
            let (name, requirement) = ("degree of a sum of squares", "at most 20");
            return Err(Error::Parameter { name, requirement, value: degree as f64 });
        }
        let (bound, rule) = (f64::INFINITY, gauss_legendre(degree + 1));
        Ok(Self { polynomials, degree, bound, rule })
    }

    /// The same with straight lines beyond +-`bound`.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless it is positive; infinite is none.
    pub fn within(self, bound: f64) -> Result<Self> {
        if bound > 0.0 {
            return Ok(Self { bound, ..self });
        }
        let (name, requirement) = ("bound of a sum of squares", "positive");
        Err(Error::Parameter { name, requirement, value: bound })
    }

    /// The nearest points on which the map is the polynomial.
    #[inline(always)]
    fn nearest<E: Real>(&self, x: &[E]) -> Lanes<E> {
        let bound = E::of(self.bound);
        lanes(|lane| clamp(x[lane], -bound, bound))
    }

    /// Image and slope.
    #[inline(always)]
    fn evaluate<E: Real>(&self, x: &[E], theta: &[E]) -> (Lanes<E>, Slope<E>) {
        let (coefficients, constant) = self.split(theta);
        let nearest = self.nearest(x);
        let mut mean = [E::zero(); LANES];
        for &(node, weight) in self.rule.iter() {
            let u = lanes(|lane| E::of(node) * nearest[lane]);
            for polynomial in coefficients.chunks_exact(self.stride()) {
                let p = horner(polynomial, &u);
                for lane in 0..LANES {
                    mean[lane] += E::of(weight) * (p[lane] * p[lane]);
                }
            }
        }
        let slope = Slope::new(&nearest, coefficients, self.stride());
        let value = lanes(|lane| {
            let inside = mean[lane].mul_add(nearest[lane], constant[lane]);
            let rest = x[lane] - nearest[lane];
            if rest == E::zero() { inside } else { rest.mul_add(slope.value(lane), inside) }
        });
        (value, slope)
    }

    /// The inverse on the polynomial, by search: the log-slope is written.
    fn search<E: Real>(&self, y: &[E], theta: &[E], x: &mut [E], log: &mut [E]) -> Result<u64> {
        let Scaled { theta, aim, log_radius } = vectorised(
            #[inline(always)]
            || self.scale(y, theta),
        );
        log.fill(E::zero());
        let whole_line = Self { bound: f64::INFINITY, ..self.clone() };
        let iterations = invert(&whole_line, &aim, &theta, x, log)?;
        let twice_degree = E::of((2 * self.degree) as f64);
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    x[lane] *= exp(log_radius[lane]);
                    log[lane] -= twice_degree * log_radius[lane];
                }
            },
        );
        Ok(iterations)
    }

    /// The inverse where values are beyond that of `end`, given image and slope there.
    fn invert_line<E: Real>(
        end: E,
        (value, slope): &(Lanes<E>, Slope<E>),
        y: &[E],
        x: &mut [E],
        log: &mut [E],
    ) {
        for lane in 0..LANES {
            let rest = y[lane] - value[lane];
            if rest * end > E::zero() {
                x[lane] = end + slope.divide(rest, lane);
                log[lane] = -slope.log(lane);
            }
        }
    }

    /// Number of values of one polynomial's coefficients.
    fn stride(&self) -> usize {
        (self.degree + 1) * LANES
    }

    /// Coefficients, polynomial by polynomial, and the constant.
    fn split<'a, E>(&self, theta: &'a [E]) -> (&'a [E], &'a [E]) {
        theta.split_at(self.polynomials * self.stride())
    }

    /// The inverse formula for degree 0, which adds minus the log-slope.
    fn affine_inverse<E: Real>(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) {
        let (coefficients, constant) = self.split(theta);
        vectorised(
            #[inline(always)]
            || {
                let slope = Slope::new(&[E::zero(); LANES], coefficients, LANES);
                for lane in 0..LANES {
                    x[lane] = (y[lane] - constant[lane]) / slope.value(lane);
                    log_slope[lane] -= slope.log(lane);
                }
            },
        );
    }

    /// Gradients of x and of the coefficients, which are zero at first.
    #[inline(always)]
    fn gradient<E: Real>(
        &self,
        (x, coefficients): (&[E], &[E]),
        outer: Outer<'_, E>,
        d_x: &mut [E],
        gradient: &mut [E],
    ) {
        let (two, nearest) = (E::of(2.0), self.nearest(x));
        // The straight line's part of y: the slope times this.
        let rest = lanes(|lane| x[lane] - nearest[lane]);
        let slope = Slope::new(&nearest, coefficients, self.stride());
        d_x.copy_from_slice(&lanes(|lane| outer.value[lane] * slope.value(lane)));
        let rows = coefficients.chunks_exact(self.stride());
        for (row, gradient) in rows.zip(gradient.chunks_exact_mut(self.stride())) {
            // d ln sum p^2 = 2 p dp / sum p^2
            let (p, dp) = (horner(row, &nearest), horner_slope(row, &nearest));
            let factor = lanes(|lane| {
                let along_line = two * (outer.value[lane] * rest[lane]) * p[lane];
                two * outer.log_slope[lane] * slope.divide(p[lane], lane) + along_line
            });
            add_powers(gradient, &factor, &nearest);
            for lane in 0..LANES {
                // On the line the slope does not change with x.
                let bend = factor[lane] * dp[lane];
                d_x[lane] += if rest[lane] == E::zero() { bend } else { E::zero() };
            }
            for &(node, weight) in self.rule.iter() {
                let u = lanes(|lane| E::of(node) * nearest[lane]);
                let (p, weight) = (horner(row, &u), E::of(2.0 * weight));
                let factor = lanes(|lane| weight * p[lane] * (outer.value[lane] * nearest[lane]));
                add_powers(gradient, &factor, &u);
            }
        }
    }

    /// The search for x as one for w = x / R, see [`Scaled`].
    #[inline(always)]
    fn scale<E: Real>(&self, y: &[E], theta: &[E]) -> Scaled<E> {
        let (coefficients, constant) = self.split(theta);
        let mut aim = lanes(|lane| y[lane] - constant[lane]);
        let order = 2 * self.degree + 1;
        let log_radius = lanes(|lane| {
            let size = aim[lane].abs();
            ln(if size > E::one() { size } else { E::one() }) / E::of(order as f64)
        });
        let shrink = lanes(|lane| exp(-log_radius[lane]));
        let mut scaled = vec![E::zero(); theta.len()];
        let rows = coefficients.chunks_exact(self.stride());
        for (row, scaled) in rows.zip(scaled.chunks_exact_mut(self.stride())) {
            let mut factor = [E::one(); LANES];
            let powers = row.chunks_exact(LANES).zip(scaled.chunks_exact_mut(LANES));
            for (row, scaled) in powers.rev() {
                for lane in 0..LANES {
                    scaled[lane] = row[lane] * factor[lane];
                    factor[lane] *= shrink[lane];
                }
            }
        }
        for _ in 0..order {
            for lane in 0..LANES {
                aim[lane] *= shrink[lane];
            }
        }
        Scaled { theta: scaled, aim, log_radius }
    }
}

/// The inverse's equation with both sides of order one, so that no power of x overflows.
///
/// With R = max(|y - c|, 1)^(1/(2L+1)) and x = R w, dividing tau(x) - c = y - c by R^(2L+1) gives
/// the same map of w with coefficients a_kl R^(l-L) and no constant; its slope is that at x over
/// R^2L.
struct Scaled<E> {
    theta: Vec<E>,
    aim: Lanes<E>,
    log_radius: Lanes<E>,
}

/// sum_k p_k^2 as s^2 sum_k (p_k / s)^2 with s = max |p_k|, which neither overflows nor underflows
/// before the logarithm.
struct Slope<E> {
    largest: Lanes<E>,
    squares: Lanes<E>,
}

impl<E: Real> Slope<E> {
    #[inline(always)]
    fn new(x: &Lanes<E>, coefficients: &[E], stride: usize) -> Self {
        let zero = [E::zero(); LANES];
        let mut slope = Self { largest: zero, squares: zero };
        for polynomial in coefficients.chunks_exact(stride) {
            let p = horner(polynomial, x);
            for (lane, &p) in p.iter().enumerate() {
                let (size, before) = (p.abs(), slope.largest[lane]);
                let largest = if size > before { size } else { before };
                // Both are 0 until a polynomial is not.
                let unit = if largest > E::zero() { largest } else { E::one() };
                let (old, new) = (before / unit, p / unit);
                slope.squares[lane] = slope.squares[lane] * old * old + new * new;
                slope.largest[lane] = largest;
            }
        }
        slope
    }

    #[inline(always)]
    fn log(&self, lane: usize) -> E {
        E::of(2.0) * ln(self.largest[lane]) + ln(self.squares[lane])
    }

    #[inline(always)]
    fn value(&self, lane: usize) -> E {
        self.largest[lane] * self.squares[lane] * self.largest[lane]
    }

    /// `p` over the slope.
    #[inline(always)]
    fn divide(&self, p: E, lane: usize) -> E {
        p / self.largest[lane] / self.squares[lane] / self.largest[lane]
    }
}

/// Polynomial with the lowest coefficient first.
#[inline(always)]
fn horner<E: Real>(coefficients: &[E], u: &Lanes<E>) -> Lanes<E> {
    let mut value = [E::zero(); LANES];
    for row in coefficients.chunks_exact(LANES).rev() {
        for lane in 0..LANES {
            value[lane] = value[lane].mul_add(u[lane], row[lane]);
        }
    }
    value
}

/// Its derivative.
#[inline(always)]
fn horner_slope<E: Real>(coefficients: &[E], u: &Lanes<E>) -> Lanes<E> {
    let mut slope = [E::zero(); LANES];
    for (power, row) in coefficients.chunks_exact(LANES).enumerate().skip(1).rev() {
        let power = E::of(power as f64);
        for lane in 0..LANES {
            slope[lane] = slope[lane].mul_add(u[lane], power * row[lane]);
        }
    }
    slope
}

/// Adds `factor` d p(u) / d a_l = `factor` u^l to row l.
#[inline(always)]
fn add_powers<E: Real>(gradient: &mut [E], factor: &Lanes<E>, u: &Lanes<E>) {
    let mut term = *factor;
    for row in gradient.chunks_exact_mut(LANES) {
        for lane in 0..LANES {
            row[lane] += term[lane];
            term[lane] *= u[lane];
        }
    }
}

impl<E: Real> Transformer<E> for SumOfSquares {
    fn name(&self) -> &'static str {
        "sum of squares"
    }

    fn arity(&self) -> usize {
        self.polynomials * (self.degree + 1) + 1
    }

    fn initial(&self) -> Vec<f64> {
        let count = self.polynomials as f64;
        let mut theta = vec![0.0; Transformer::<E>::arity(self)];
        for k in 0..self.polynomials {
            theta[k * (self.degree + 1)] = 1.0 / count.sqrt();
            if self.degree > 0 {
                // Spread around 0, so that the linear terms of the squares add up to nothing.
                let place = (2 * k + 1) as f64 / count - 1.0;
                theta[k * (self.degree + 1) + 1] = SPREAD * place / count.sqrt();
            }
        }
        theta
    }

    fn closed_inverse(&self) -> bool {
        self.degree == 0
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        vectorised(
            #[inline(always)]
            || {
                let (value, slope) = self.evaluate(x, theta);
                y.copy_from_slice(&value);
                add(log_slope, &lanes(|lane| slope.log(lane)));
            },
        );
        check_finite("value or log-slope of a sum of squares", y, log_slope)
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        if self.degree == 0 {
            self.affine_inverse(y, theta, x, log_slope);
            check_finite("inverse of a sum of squares", x, log_slope)?;
            return Ok(0);
        }
        let ends = [-self.bound, self.bound].map(E::of);
        let at_ends = ends.map(|end| self.evaluate(&[end; LANES], theta));
        let constant = self.split(theta).1;
        // Where the inverse is a formula, the search gets what costs it nothing.
        let aims = lanes(|lane| {
            let [below, above] = [&at_ends[0], &at_ends[1]].map(|(value, _)| value[lane]);
            if y[lane] < below || y[lane] > above { constant[lane] } else { y[lane] }
        });
        let mut log = [E::zero(); LANES];
        let iterations = self.search(&aims, theta, x, &mut log)?;
        for (end, at_end) in ends.into_iter().zip(&at_ends) {
            Self::invert_line(end, at_end, y, x, &mut log);
        }
        add(log_slope, &log);
        check_finite("inverse of a sum of squares", x, log_slope)?;
        Ok(iterations)
    }

    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let coefficients = self.split(theta).0;
        let (gradient, d_constant) = inner.theta.split_at_mut(coefficients.len());
        d_constant.copy_from_slice(outer.value);
        gradient.fill(E::zero());
        let inputs = (x, coefficients);
        vectorised(
            #[inline(always)]
            || self.gradient(inputs, outer, inner.value, gradient),
        );
    }
}

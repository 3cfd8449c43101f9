//! The integrand: a network of one hidden layer of tanh units under the exponential linear unit.

use flows_core::Real;
use flows_core::elementwise::{exp, ln, tanh};
use flows_core::lanes::add;
use flows_core::operation::LANES;

use crate::transformer::lanes::{Lanes, lanes, rows, rows_mut};

/// The network's parameters.
pub(super) struct Weights<'a, E> {
    w1: &'a [Lanes<E>],
    b1: &'a [Lanes<E>],
    w2: &'a [Lanes<E>],
    b2: &'a Lanes<E>,
    pub(super) beta: &'a Lanes<E>,
}

impl<'a, E: Real> Weights<'a, E> {
    pub(super) fn new(theta: &'a [E], hidden: usize) -> Self {
        let (w1, rest) = rows(theta).split_at(hidden);
        let (b1, rest) = rest.split_at(hidden);
        let (w2, rest) = rest.split_at(hidden);
        Self { w1, b1, w2, b2: &rest[0], beta: &rest[1] }
    }

    /// s(u), and tanh(w1 u + b1) left in `units`.
    #[inline(always)]
    pub(super) fn exponent(&self, u: &Lanes<E>, units: &mut [Lanes<E>]) -> Lanes<E> {
        let mut s = *self.b2;
        for (unit, row) in units.iter_mut().enumerate() {
            let (w1, b1, w2) = (&self.w1[unit], &self.b1[unit], &self.w2[unit]);
            for lane in 0..LANES {
                row[lane] = tanh(w1[lane].mul_add(u[lane], b1[lane]));
                s[lane] = w2[lane].mul_add(row[lane], s[lane]);
            }
        }
        s
    }

    /// s'(u), from what [`exponent`](Self::exponent) left.
    #[inline(always)]
    pub(super) fn exponent_slope(&self, units: &[Lanes<E>]) -> Lanes<E> {
        let mut slope = [E::zero(); LANES];
        for ((row, w1), w2) in units.iter().zip(self.w1).zip(self.w2) {
            for lane in 0..LANES {
                let bend = w2[lane] * (E::one() - row[lane] * row[lane]);
                slope[lane] = bend.mul_add(w1[lane], slope[lane]);
            }
        }
        slope
    }

    /// How sharply s turns in [0, x], and where.
    pub(super) fn turns(&self) -> Turns<E> {
        // The largest second derivative of tanh.
        let most = E::of(4.0 / (3.0 * 3.0_f64.sqrt()));
        let zero = [E::zero(); LANES];
        let mut turns = Turns { curvature: zero, height: zero, reach: zero };
        for ((w1, b1), w2) in self.w1.iter().zip(self.b1).zip(self.w2) {
            for lane in 0..LANES {
                let (slope, size) = (w1[lane].abs(), w2[lane].abs());
                turns.curvature[lane] += most * slope * slope * size;
                turns.height[lane] += size + size;
                // Beyond, tanh is within e^-8 of its end.
                let reach = (b1[lane].abs() + E::of(4.0)) / slope;
                turns.reach[lane] =
                    if reach > turns.reach[lane] { reach } else { turns.reach[lane] };
            }
        }
        turns
    }

    /// What a rounding of the weights may change in the exponent, in units of rounding: the network's
    /// value is no smoother than that.
    pub(super) fn grain(&self) -> Lanes<E> {
        let mut sum = lanes(|lane| self.b2[lane].abs());
        for (b1, w2) in self.b1.iter().zip(self.w2) {
            for lane in 0..LANES {
                sum[lane] += w2[lane].abs() * (E::one() + b1[lane].abs());
            }
        }
        sum
    }

    /// Adds `factor` times the gradient of s(u) to that of w1, b1, w2, b2.
    #[inline(always)]
    pub(super) fn add_gradient(
        &self,
        units: &[Lanes<E>],
        u: &Lanes<E>,
        factor: &Lanes<E>,
        gradient: &mut [E],
    ) {
        let (d_w1, rest) = rows_mut(gradient).split_at_mut(units.len());
        let (d_b1, rest) = rest.split_at_mut(units.len());
        let (d_w2, d_b2) = rest.split_at_mut(units.len());
        for (unit, row) in units.iter().enumerate() {
            let w2 = &self.w2[unit];
            let (d_w1, d_b1, d_w2) = (&mut d_w1[unit], &mut d_b1[unit], &mut d_w2[unit]);
            for lane in 0..LANES {
                let bend = factor[lane] * w2[lane] * (E::one() - row[lane] * row[lane]);
                d_w1[lane] += bend * u[lane];
                d_b1[lane] += bend;
                d_w2[lane] += factor[lane] * row[lane];
            }
        }
        add(&mut d_b2[0], factor);
    }
}

/// How sharply s turns.
pub(super) struct Turns<E> {
    /// Bound of |s''|.
    curvature: Lanes<E>,
    /// Bound of the difference of two values of s.
    height: Lanes<E>,
    /// Bound of |u| beyond which s is nearly constant.
    reach: Lanes<E>,
}

impl<E: Real> Turns<E> {
    /// Bound of the area of an arch of s between two neighbours among the nodes of Clenshaw-Curtis
    /// with this number of steps.
    ///
    /// Neighbours are h apart, at most pi / N times x / 2 and, at a distance u from the end,
    /// sqrt(u x); an arch over h is |s''| h^2 / 8 high at most, and two thirds of its box.
    pub(super) fn unseen(&self, lane: usize, x: E, steps: usize) -> E {
        let (wide, near) = (x.abs() * E::of(0.5), (self.reach[lane] * x.abs()).sqrt());
        let span = if near < wide { near } else { wide };
        let h = span * E::of(std::f64::consts::PI / steps as f64);
        let arch = self.curvature[lane] * h * h * h * E::of(1.0 / 12.0);
        let all = self.height[lane] * self.reach[lane];
        if all < arch { all } else { arch }
    }
}

/// g = e^min(s, 0) + max(s, 0), its logarithm and derivatives without a branch.
pub(super) struct Elu<E> {
    low: E,
    high: E,
}

impl<E: Real> Elu<E> {
    #[inline(always)]
    pub(super) fn new(s: E) -> Self {
        let low = if s < E::zero() { s } else { E::zero() };
        // A difference, so that NaN stays.
        Self { low, high: s - low }
    }

    #[inline(always)]
    pub(super) fn value(&self) -> E {
        exp(self.low) + self.high
    }

    /// ln g, which is s where g may underflow.
    #[inline(always)]
    pub(super) fn log(&self) -> E {
        self.low + ln(E::one() + self.high)
    }

    /// dg/ds
    #[inline(always)]
    pub(super) fn slope(&self) -> E {
        exp(self.low)
    }

    /// d ln g / ds
    #[inline(always)]
    pub(super) fn log_derivative(&self) -> E {
        E::one() / (E::one() + self.high)
    }
}

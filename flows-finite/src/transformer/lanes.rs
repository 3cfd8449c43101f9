//! Arithmetic on rows of LANES values, and log-sum-exp.

use flows_core::Real;
use flows_core::elementwise::{exp, ln, map, sigmoid, softplus, tanh};
use flows_core::operation::LANES;

/// One value for each of LANES elements.
pub(super) type Lanes<E> = [E; LANES];

/// Values as rows of LANES elements.
#[inline(always)]
pub(super) fn rows<E>(values: &[E]) -> &[Lanes<E>] {
    values.as_chunks().0
}

/// As [`rows`], mutably.
#[inline(always)]
pub(super) fn rows_mut<E>(values: &mut [E]) -> &mut [Lanes<E>] {
    values.as_chunks_mut().0
}

/// One value for each lane. The result is a variable of its own, which nothing aliases, so that the
/// loop is vector code. `value` should be a few operations, or it is not inlined; larger kernels
/// have their own loops below.
#[inline(always)]
pub(super) fn lanes<E: Real>(value: impl Fn(usize) -> E) -> Lanes<E> {
    let mut values = [E::zero(); LANES];
    for (lane, target) in values.iter_mut().enumerate() {
        *target = value(lane);
    }
    values
}

/// Functions of each lane, compiled once a precision instead of into every kernel: beside 128
/// exponentials a call costs nothing.
macro_rules! of_each_lane {
    ($($name:ident = $function:ident),*) => {$(
        #[inline(never)]
        pub(super) fn $name<E: Real>(mut values: Lanes<E>) -> Lanes<E> {
            map(&mut values, $function);
            values
        }
    )*};
}

of_each_lane!(exps = exp, lns = ln, sigmoids = sigmoid, softpluses = softplus, tanhs = tanh);

/// The larger of two values of each lane.
#[inline(always)]
pub(super) fn larger<E: Real>(one: &Lanes<E>, other: &Lanes<E>) -> Lanes<E> {
    lanes(|i| if other[i] > one[i] { other[i] } else { one[i] })
}

/// log sum_k exp(term(k)) as a sum of two numbers: added to a huge term, the logarithm of the rest
/// would be lost, and with it the shares of the terms.
pub(super) struct LogSum<E> {
    largest: Lanes<E>,
    rest: Lanes<E>,
}

impl<E: Real> LogSum<E> {
    #[inline(always)]
    pub(super) fn new(count: usize, term: impl Fn(usize) -> Lanes<E>) -> Self {
        let mut largest = [E::neg_infinity(); LANES];
        for k in 0..count {
            largest = larger(&largest, &term(k));
        }
        let mut sum = [E::zero(); LANES];
        for k in 0..count {
            let term = term(k);
            let parts = exps(lanes(|i| term[i] - largest[i]));
            sum = lanes(|i| sum[i] + parts[i]);
        }
        Self { largest, rest: lns(sum) }
    }

    #[inline(always)]
    pub(super) fn total(&self) -> Lanes<E> {
        lanes(|i| self.largest[i] + self.rest[i])
    }

    /// Logarithm of the softmax weight of `term` in the sum.
    #[inline(always)]
    pub(super) fn log_share(&self, term: &Lanes<E>) -> Lanes<E> {
        lanes(|i| term[i] - self.largest[i] - self.rest[i])
    }

    #[inline(always)]
    pub(super) fn share(&self, term: &Lanes<E>) -> Lanes<E> {
        exps(self.log_share(term))
    }
}

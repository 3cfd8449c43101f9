//! Radial functions of pairwise forces.

use flows_core::Real;
use flows_core::elementwise::exp;
use flows_core::operation::LANES;

use crate::lane_sums::{dot, total};

/// phi(q, t) = sum_k alpha_k B_k(rho), alpha_k = a_k + c_k t, B = exp(-y^2 / 2), y = beta (rho - mu).
/// With r = sqrt(1 + q):
/// ```text
/// rho = q / (1 + r),   rho' = 1 / (2 r),   rho'' = -1 / (4 r^3)   (in q)
/// B' = -beta y B,   B'' = beta^2 (y^2 - 1) B                      (in rho)
/// phi' = rho' sum alpha B',   phi'' = rho'' sum alpha B' + rho'^2 sum alpha B''
/// ```
///
/// Holds the tensors, or their gradients, which are added to.
pub(crate) struct RadialFunctions<T> {
    weight: T,
    weight_slope: T,
    centre: T,
    sharpness: T,
}

impl<T> RadialFunctions<T> {
    pub(crate) fn of([weight, weight_slope, centre, sharpness]: [T; 4]) -> Self {
        Self { weight, weight_slope, centre, sharpness }
    }
}

/// q, phi and its first two derivatives in q.
pub(crate) struct Strength<E> {
    pub(crate) square: [E; LANES],
    pub(crate) value: [E; LANES],
    pub(crate) slope: [E; LANES],
    pub(crate) curvature: [E; LANES],
}

impl<E: Real> RadialFunctions<&[E]> {
    #[inline(always)]
    pub(crate) fn strength(&self, square: &[E; LANES], time: &[E]) -> Strength<E> {
        let [mut value, mut slope, mut curvature] = [[E::zero(); LANES]; 3];
        for k in 0..self.weight.len() {
            let (a, c, mu, beta) =
                (self.weight[k], self.weight_slope[k], self.centre[k], self.sharpness[k]);
            for lane in 0..LANES {
                let alpha = a + c * time[lane];
                let y = beta * (Distance::of(square[lane]).value - mu);
                let bell = alpha * exp(-E::of(0.5) * y * y);
                value[lane] += bell;
                slope[lane] -= beta * y * bell;
                curvature[lane] += beta * beta * (y * y - E::one()) * bell;
            }
        }
        for lane in 0..LANES {
            let rho = Distance::of(square[lane]);
            curvature[lane] = rho.curvature * slope[lane] + rho.slope * rho.slope * curvature[lane];
            slope[lane] = rho.slope * slope[lane];
        }
        Strength { square: *square, value, slope, curvature }
    }

    /// Backward pass: from the gradients F of phi and F' of phi' to all but that of q, with delta =
    /// rho - mu:
    /// ```text
    /// dalpha = F B + F' rho' B',   da = dalpha,   dc = dalpha t,   dt = sum c dalpha
    /// dmu = -alpha (F B' + F' rho' B''),   dbeta = alpha (-F y delta + F' rho' y (y^2 - 2)) B
    /// ```
    #[inline(always)]
    pub(crate) fn pull(
        &self,
        strength: &Strength<E>,
        (time, d_time): (&[E], &mut [E]),
        [value, slope]: &[[E; LANES]; 2],
        sums: &mut RadialFunctions<&mut [E]>,
    ) {
        let two = E::of(2.0);
        for k in 0..self.weight.len() {
            let (a, c, mu, beta) =
                (self.weight[k], self.weight_slope[k], self.centre[k], self.sharpness[k]);
            let [mut d_alpha, mut d_centre, mut d_sharpness] = [[E::zero(); LANES]; 3];
            for lane in 0..LANES {
                let rho = Distance::of(strength.square[lane]);
                let (delta, alpha) = (rho.value - mu, a + c * time[lane]);
                let y = beta * delta;
                let bell = exp(-E::of(0.5) * y * y);
                let (flat, steep) = (value[lane] * bell, slope[lane] * rho.slope * bell);
                d_alpha[lane] = flat - steep * beta * y;
                let rise = beta * (steep * beta * (y * y - E::one()) - flat * y);
                d_centre[lane] = -alpha * rise;
                d_sharpness[lane] = alpha * y * (steep * (y * y - two) - flat * delta);
                d_time[lane] += c * d_alpha[lane];
            }
            sums.weight[k] += total(&d_alpha);
            sums.weight_slope[k] += dot(&d_alpha, time);
            sums.centre[k] += total(&d_centre);
            sums.sharpness[k] += total(&d_sharpness);
        }
    }
}

/// rho and its derivatives in q.
struct Distance<E> {
    value: E,
    slope: E,
    curvature: E,
}

impl<E: Real> Distance<E> {
    #[inline(always)]
    fn of(square: E) -> Self {
        let root = (E::one() + square).sqrt();
        let slope = E::of(0.5) / root;
        // Not root - 1, which loses the digits of a small q.
        let value = square / (root + E::one());
        Self { value, slope, curvature: -(slope * slope) / root }
    }
}

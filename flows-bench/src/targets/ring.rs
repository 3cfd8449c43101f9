//! `u1`: a ring with two heavy sides.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::log_sum_exp::log_sum_exp;
use super::{Card, LogNormaliser};

const RADIUS: f64 = 2.0;
const WIDTH: f64 = 0.4;
/// Standard deviation of the two sides along z1, which are centred at -`RADIUS` and `RADIUS`.
const SIDE: f64 = 0.6;

pub(super) const CARD: Card = Card {
    name: "u1",
    description: "a ring, heavier at its left and right",
    dim: 2,
    // Trapezoidal rule in the radius and the angle, 4001 x 400 nodes: converged to rounding.
    log_normaliser: LogNormaliser { nats: 1.877_501_626_11, error: 1e-10 },
    window: [-4.0, 4.0, -4.0, 4.0],
};

/// log p = -((|z| - 2) / 0.4)^2 / 2 + log sum over +-2 of exp(-((z1 -+ 2) / 0.6)^2 / 2).
///
/// With r = |z| and s the softmax weight of the side at +2,
/// ```text
/// grad = -(r - 2) / 0.4^2 z / r - e1 (s (z1 - 2) + (1 - s) (z1 + 2)) / 0.6^2
/// ```
pub(super) fn log_density(z: &[f64], gradient: &mut [f64]) -> f64 {
    let radius = z[0].hypot(z[1]);
    let off = (radius - RADIUS) / WIDTH;
    let [right, left] = [z[0] - RADIUS, z[0] + RADIUS].map(|d| d / SIDE);
    let (sides, share) = log_sum_exp(-0.5 * right * right, -0.5 * left * left);
    // At the origin, the tip of a cone, the mean of the slopes around it is 0.
    let radial = if radius > 0.0 { -off / WIDTH / radius } else { 0.0 };
    gradient[0] = radial * z[0] - (share * right + (1.0 - share) * left) / SIDE;
    gradient[1] = radial * z[1];
    sides - 0.5 * off * off
}

/// Two rejection samplers. The radius has density r exp(-((r - 2) / 0.4)^2 / 2) up to a constant,
/// below 2 exp((r - 2) / 2) times the same bell, a normal of mean 2 + 0.4^2 / 2. A point on the
/// circle is then accepted in proportion to the sum of both sides there.
pub(super) fn draw(rng: &mut impl Rng) -> [f64; 2] {
    loop {
        let normal: f64 = rng.sample(StandardNormal);
        let radius = RADIUS + WIDTH * WIDTH / RADIUS + WIDTH * normal;
        let bound = RADIUS * ((radius - RADIUS) / RADIUS).exp();
        if rng.random::<f64>() * bound >= radius {
            continue;
        }
        let (sin, cos) = (TAU * rng.random::<f64>()).sin_cos();
        let bell = |centre: f64| (-0.5 * ((radius * cos - centre) / SIDE).powi(2)).exp();
        // The far side adds at most exp(-(4 / 0.6)^2 / 2) = 3e-10 to the near one.
        if rng.random::<f64>() * (1.0 + 1e-9) < bell(RADIUS) + bell(-RADIUS) {
            return [radius * cos, radius * sin];
        }
    }
}

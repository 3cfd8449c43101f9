//! Normal ribbons along a sine: `u2`, `u3` and `u4`.

use std::f64::consts::FRAC_PI_2;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::log_sum_exp::log_sum_exp;
use super::{Card, LogNormaliser};

/// Support of z1.
pub(super) const SIDE: [f64; 2] = [-4.0, 4.0];

/// One or two ribbons around w1(z1) = sin(2 pi z1 / 4), the second lower by w(z1):
/// ```text
/// log p = log(exp(-((z2 - w1) / s)^2 / 2) + exp(-((z2 - w1 + w) / t)^2 / 2)),   |z1| <= 4
/// Z = 8 (s + t) sqrt(2 pi)
/// ```
#[derive(Debug)]
pub(super) struct Waves {
    pub(super) card: Card,
    width: f64,
    lower: Option<Lower>,
}

/// The second ribbon.
#[derive(Debug)]
struct Lower {
    width: f64,
    /// w(z1) and its derivative.
    drop: fn(f64) -> (f64, f64),
}

pub(super) const U2: Waves = Waves {
    card: Card {
        name: "u2",
        description: "a ribbon along a sine, z1 in [-4, 4]",
        dim: 2,
        // ln(8 * 0.4 sqrt(2 pi))
        log_normaliser: LogNormaliser { nats: 2.082_089_343_010_354, error: 1e-14 },
        window: [-4.0, 4.0, -4.0, 4.0],
    },
    width: 0.4,
    lower: None,
};

pub(super) const U3: Waves = Waves {
    card: Card {
        name: "u3",
        description: "two ribbons that part around z1 = 1, z1 in [-4, 4]",
        dim: 2,
        // ln(8 * 0.7 sqrt(2 pi))
        log_normaliser: LogNormaliser { nats: 2.641_705_130_945_776, error: 1e-14 },
        window: [-4.0, 4.0, -4.0, 4.0],
    },
    width: 0.35,
    lower: Some(Lower { width: 0.35, drop: bump }),
};

pub(super) const U4: Waves = Waves {
    card: Card {
        name: "u4",
        description: "two ribbons that part for z1 > 1, z1 in [-4, 4]",
        dim: 2,
        // ln(8 * 0.75 sqrt(2 pi))
        log_normaliser: LogNormaliser { nats: 2.710_698_002_432_728, error: 1e-14 },
        window: [-4.0, 4.0, -5.5, 4.0],
    },
    width: 0.4,
    lower: Some(Lower { width: 0.35, drop: step }),
};

/// w2 = 3 exp(-((z1 - 1) / 0.6)^2 / 2).
fn bump(z: f64) -> (f64, f64) {
    let off = (z - 1.0) / 0.6;
    let value = 3.0 * (-0.5 * off * off).exp();
    (value, -off / 0.6 * value)
}

/// w3 = 3 sigmoid((z1 - 1) / 0.3).
fn step(z: f64) -> (f64, f64) {
    let share = 1.0 / (1.0 + (-(z - 1.0) / 0.3).exp());
    (3.0 * share, 3.0 / 0.3 * share * (1.0 - share))
}

impl Waves {
    /// With u = (z2 - w1) / s, v = (z2 - w1 + w) / t and q the softmax weight of the first ribbon,
    /// ```text
    /// d/dz2 = -q u / s - (1 - q) v / t,   d/dz1 = -w1' d/dz2 - (1 - q) v / t w'
    /// ```
    pub(super) fn log_density(&self, z: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        if !(SIDE[0]..=SIDE[1]).contains(&z[0]) {
            return if z[0].is_nan() { f64::NAN } else { f64::NEG_INFINITY };
        }
        let (sin, cos) = (FRAC_PI_2 * z[0]).sin_cos();
        let upper = (z[1] - sin) / self.width;
        let Some(Lower { width, drop }) = &self.lower else {
            gradient[1] = -upper / self.width;
            gradient[0] = -FRAC_PI_2 * cos * gradient[1];
            return -0.5 * upper * upper;
        };
        let (distance, slope) = drop(z[0]);
        let lower = (z[1] - sin + distance) / width;
        let (log_sum, share) = log_sum_exp(-0.5 * upper * upper, -0.5 * lower * lower);
        let pull = -(1.0 - share) * lower / width;
        gradient[1] = pull - share * upper / self.width;
        gradient[0] = pull * slope - FRAC_PI_2 * cos * gradient[1];
        log_sum
    }

    /// z1 is uniform, since each cross-section of a ribbon has the same mass.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> [f64; 2] {
        let z = rng.random_range(SIDE[0]..SIDE[1]);
        let normal: f64 = rng.sample(StandardNormal);
        let centre = (FRAC_PI_2 * z).sin();
        let upper = [z, centre + self.width * normal];
        let Some(Lower { width, drop }) = &self.lower else { return upper };
        if rng.random::<f64>() * (self.width + width) < self.width {
            return upper;
        }
        [z, centre - drop(z).0 + width * normal]
    }
}

//! `many-well`: double wells, each paired with a normal.

use flows_core::Error;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::{Card, LogNormaliser};

/// log integral of exp(-x^4 + 6 x^2 + x / 2) + log(2 pi) / 2: the integral is 11784.5092651278267 by a
/// Gauss rule of 30 digits.
const PAIR: f64 = 10.293_479_707_073_868;

/// The part of that integral on x > 0, by the same rule.
const RIGHT: f64 = 0.844_307_096_211_139_2;

/// Independent pairs of a double well, which has two modes of unequal mass, and a normal: 2 `pairs`
/// features and 2^`pairs` modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parameters")]
pub struct ManyWell {
    pairs: usize,
}

/// The parameters as a file has them, not yet checked.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename = "ManyWell")]
struct Parameters {
    pairs: usize,
}

impl Default for Parameters {
    fn default() -> Self {
        let ManyWell { pairs } = ManyWell::DEFAULT;
        Self { pairs }
    }
}

impl TryFrom<Parameters> for ManyWell {
    type Error = Error;

    fn try_from(Parameters { pairs }: Parameters) -> Result<Self, Error> {
        Self::new(pairs)
    }
}

impl Default for ManyWell {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl ManyWell {
    /// Four pairs, eight features. The paper has 16 pairs.
    pub const DEFAULT: Self = Self { pairs: 4 };

    /// The product of `pairs` pairs.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `pairs` is at least 1.
    pub fn new(pairs: usize) -> Result<Self, Error> {
        if pairs < 1 {
            let (name, requirement) = ("pairs of many-well", "at least 1");
            return Err(Error::Parameter { name, requirement, value: pairs as f64 });
        }
        Ok(Self { pairs })
    }

    /// Pairs of a double well and a normal.
    #[must_use]
    pub fn pairs(self) -> usize {
        self.pairs
    }

    /// Mass of either mode of a double well, at x < 0 and at x > 0; exact to rounding. A mode of the
    /// product has the product of the masses.
    #[must_use]
    pub fn mode_weights() -> [f64; 2] {
        [1.0 - RIGHT, RIGHT]
    }

    pub(super) fn card(self) -> Card {
        let pairs = self.pairs as f64;
        Card {
            name: "many-well",
            description: "double wells: modes of unequal mass",
            dim: 2 * self.pairs,
            // The constant and the product are rounded once each.
            log_normaliser: LogNormaliser { nats: pairs * PAIR, error: pairs * PAIR * 2e-16 },
            window: [-3.0, 3.0, -4.0, 4.0],
        }
    }
}

/// log p = sum over pairs of -a^4 + 6 a^2 + a / 2 - b^2 / 2; d/da = -4 a^3 + 12 a + 1/2, d/db = -b.
pub(super) fn log_density(point: &[f64], gradient: &mut [f64]) -> f64 {
    let mut sum = 0.0;
    for (pair, gradient) in point.chunks_exact(2).zip(gradient.chunks_exact_mut(2)) {
        let (a, b) = (pair[0], pair[1]);
        gradient[0] = a * (12.0 - 4.0 * a * a) + 0.5;
        gradient[1] = -b;
        sum += a * a * (6.0 - a * a) + 0.5 * a - 0.5 * b * b;
    }
    sum
}

/// A draw of one pair.
pub(super) fn draw(rng: &mut impl Rng) -> [f64; 2] {
    [well(rng), rng.sample(StandardNormal)]
}

/// A draw of exp(-x^4 + 6 x^2 + x / 2), by rejection. With m = sqrt 3,
/// ```text
/// -x^4 + 6 x^2 = 9 - (|x| - m)^2 (|x| + m)^2 <= 9 - 3 (|x| - m)^2
/// ```
/// and the bound times e^(x/2) is, on either side, a normal of variance 1/6 and mean +-m + 1/12, of
/// mass proportional to e^(+-m/2).
fn well(rng: &mut impl Rng) -> f64 {
    let m = 3f64.sqrt();
    let right = 1.0 / (1.0 + (-m).exp());
    loop {
        let side = if rng.random::<f64>() < right { 1.0 } else { -1.0 };
        let normal: f64 = rng.sample(StandardNormal);
        let x = side * m + 1.0 / 12.0 + normal / 6f64.sqrt();
        let off = x * side - m;
        let excess = off * off * ((x * side + m).powi(2) - 3.0);
        if x * side > 0.0 && rng.random::<f64>() < (-excess).exp() {
            return x;
        }
    }
}

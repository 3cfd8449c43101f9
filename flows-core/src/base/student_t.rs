//! Student's t distribution.

use rand::RngExt;

use super::location_scale::{Standard, median_and_deviation};
use crate::elementwise::ln;
use crate::{Error, Real, Result, Stream};

/// Updates of the fit, which converges linearly.
const UPDATES: usize = 2000;

/// f(u) proportional to (1 + u^2/nu)^(-(nu + 1)/2)
#[derive(Debug)]
pub(super) struct StudentT {
    nu: f64,
    constant: f64,
    law: rand_distr::StudentT<f64>,
}

impl StudentT {
    /// Of `nu` degrees of freedom.
    pub(super) fn new(nu: f64) -> Result<Self> {
        let law = rand_distr::StudentT::new(nu).ok().filter(|_| nu.is_finite());
        let name = "degrees of freedom of a t distribution";
        let refusal = Error::Parameter { name, requirement: "positive and finite", value: nu };
        let law = law.ok_or(refusal)?;
        let half_log = 0.5 * (nu * std::f64::consts::PI).ln();
        let constant = half_log + ln_gamma(0.5 * nu) - ln_gamma(0.5 * (nu + 1.0));
        Ok(Self { nu, constant, law })
    }
}

impl Standard for StudentT {
    #[inline(always)]
    fn cost<E: Real>(&self, u: E) -> E {
        E::of(0.5 * (self.nu + 1.0)) * ln(E::one() + u * u * E::of(1.0 / self.nu))
    }

    #[inline(always)]
    fn slope<E: Real>(&self, u: E) -> E {
        E::of(self.nu + 1.0) * u / (E::of(self.nu) + u * u)
    }

    fn constant(&self) -> f64 {
        self.constant
    }

    fn draw(&self, rng: &mut Stream) -> f64 {
        rng.sample(self.law)
    }

    /// Location and log-scale by expectation-maximisation: with weights w = (nu + 1)/(nu + u^2) the
    /// location is the weighted mean and the squared scale the weighted mean square about it.
    fn fit(&self, column: &[f64]) -> [f64; 2] {
        let [mut centre, start] = median_and_deviation(column);
        let mut scale = start;
        for _ in 0..UPDATES {
            let [mut total, mut first, mut second] = [0.0; 3];
            for x in column {
                let distance = x - centre;
                let weight = (self.nu + 1.0) / (self.nu + (distance / scale).powi(2));
                total += weight;
                first += weight * distance;
                second += weight * distance * distance;
            }
            let shift = first / total;
            let next = (second / total - shift * shift).sqrt();
            let change = shift.abs().max((next - scale).abs()) / next;
            (centre, scale) = (centre + shift, next);
            // Many equal values: the likelihood grows without end as the scale shrinks.
            if scale <= 1e-9 * start || scale.is_nan() {
                return [centre, f64::NEG_INFINITY];
            }
            if change < 1e-12 {
                break;
            }
        }
        [centre, scale.ln()]
    }
}

/// ln of the gamma function for x > 0, by Stirling's series above 12 and ln G(x) = ln G(x + 1) - ln x;
/// the first term left out is below 1e-15.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut below) = (x, 0.0);
    while x < 12.0 {
        below += x.ln();
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let terms =
        [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0];
    let series = terms.iter().rev().fold(0.0, |sum, term| sum * square + term) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - below
}

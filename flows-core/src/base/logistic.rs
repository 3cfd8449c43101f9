//! The logistic distribution.

use rand::RngExt;

use super::location_scale::{Standard, median_and_deviation};
use crate::elementwise::{softplus, tanh};
use crate::{Real, Stream};

/// f(u) = 1 / (2 cosh(u / 2))^2
#[derive(Debug)]
pub(super) struct Logistic;

impl Standard for Logistic {
    #[inline(always)]
    fn cost<E: Real>(&self, u: E) -> E {
        let tail = softplus(-u);
        u + tail + tail
    }

    #[inline(always)]
    fn slope<E: Real>(&self, u: E) -> E {
        tanh(E::of(0.5) * u)
    }

    fn constant(&self) -> f64 {
        0.0
    }

    fn draw(&self, rng: &mut Stream) -> f64 {
        // The open interval has no infinite logits.
        let uniform: f64 = rng.sample(rand_distr::Open01);
        (uniform / (1.0 - uniform)).ln()
    }

    fn fit(&self, column: &[f64]) -> [f64; 2] {
        let [centre, deviation] = median_and_deviation(column);
        let standard: Vec<f64> = column.iter().map(|x| (x - centre) / deviation).collect();
        // The mean absolute value of a standard logistic variable is 2 ln 2.
        let mut at = [0.0, 2.0 * std::f64::consts::LN_2];
        let mut best = likelihood(&standard, at);
        for _ in 0..STEPS {
            let step = newton(&standard, at);
            let moved = |size: f64| [at[0] + size * step[0], at[1] + size * step[1]];
            // Near the maximum the likelihood is flat to rounding; Newton's step is accurate there.
            if step[0].hypot(step[1]) < 1e-6 {
                at = moved(1.0);
                break;
            }
            let sizes = (0..30).map(|halvings| 0.5_f64.powi(halvings));
            let better = sizes.map(moved).find(|&next| likelihood(&standard, next) > best);
            let Some(next) = better else { break };
            (at, best) = (next, likelihood(&standard, next));
        }
        let scale = deviation / at[1];
        [centre + at[0] * scale, scale.ln()]
    }
}

/// Steps of Newton's method; it converges quadratically from anywhere with the step halved where it
/// overshoots.
const STEPS: usize = 100;

/// Mean of log f(b x - a) + ln b.
fn likelihood(column: &[f64], [a, b]: [f64; 2]) -> f64 {
    let cost = |x: &f64| Logistic.cost(b * x - a);
    b.ln() - column.iter().map(cost).sum::<f64>() / column.len() as f64
}

/// Newton's step: with t = tanh(u/2) and h = (1 - t^2)/2 the slopes are mean t and 1/b - mean x t, the
/// second derivatives -mean h, mean x h and -1/b^2 - mean x^2 h.
fn newton(column: &[f64], [a, b]: [f64; 2]) -> [f64; 2] {
    let mut sums = [0.0; 5];
    for x in column {
        let t = (0.5 * (b * x - a)).tanh();
        let h = 0.5 * (1.0 - t * t);
        for (sum, term) in sums.iter_mut().zip([t, x * t, h, x * h, x * x * h]) {
            *sum += term / column.len() as f64;
        }
    }
    let [t, xt, h, xh, xxh] = sums;
    let slope = [t, 1.0 / b - xt];
    let (aa, ab, bb) = (-h, xh, -1.0 / (b * b) - xxh);
    let determinant = aa * bb - ab * ab;
    [-(bb * slope[0] - ab * slope[1]) / determinant, -(aa * slope[1] - ab * slope[0]) / determinant]
}

//! `pinwheel`: five Gaussian blades, twisted by an angle that grows with the radius.

use std::f64::consts::{LN_2, PI, TAU};

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::log_sum::LogSum;
use super::{Card, Entropy};

const BLADES: usize = 5;
/// Standard deviations of a blade along and across it; its middle is at distance one.
const ALONG: f64 = 0.3;
const ACROSS: f64 = 0.1;
/// The twist of a feature f is `RATE` exp(f₁).
const RATE: f64 = 0.25;
const SCALE: f64 = 2.0;
/// Radius (before the scaling, 23 standard deviations out) beyond which the number of preimages
/// grows as 0.4 eʳ; the angular mean replaces the sum there.
const WOUND: f64 = 8.0;
/// Newton steps end below this length: a step squares the error, down to rounding level.
const CLOSE: f64 = 1e-9;

pub(super) const CARD: Card = Card {
    name: "pinwheel",
    window: [-5.2, 5.2, -5.2, 5.2],
    entropy: Entropy { nats: 2.317_788, error: 1e-6 },
    density_error: 1e-10,
};

pub(super) fn draw(rng: &mut impl Rng) -> [f64; 2] {
    let blade = rng.random_range(0..BLADES);
    let f1 = 1.0 + ALONG * rng.sample::<f64, _>(StandardNormal);
    let f2 = ACROSS * rng.sample::<f64, _>(StandardNormal);
    let (sin, cos) = (TAU * blade as f64 / BLADES as f64 + RATE * f1.exp()).sin_cos();
    [SCALE * (f1 * cos + f2 * sin), SCALE * (f2 * cos - f1 * sin)]
}

/// Change of variables: the sum over all blades and preimages.
///
/// 1. The warp turns f = r (cos α, sin α) into the point of radius r and angle
///    ψ = α − `RATE` exp(r cos α) − 2πc/5, c the blade; call the first two terms g(α).
/// 2. It keeps r, so that its Jacobian determinant is g′(α) = 1 + `RATE` r sin α exp(r cos α), and
///    p(x) = ¼ Σ ⅕ p_f(r cos α, r sin α) / |g′(α)| over the α of one turn with
///    g(α) ∈ ψ + (2π/5) ℤ: the blades merely refine the lattice.
/// 3. Where g′ = 0 the density has an integrable pole, and its relative error grows near it; these
///    folds lie six standard deviations out and have 1e-7 of the mass around them.
/// 4. One turn consists of a piece on which g falls (empty for r < 1.7) and one on which it rises,
///    by 2π more. Each lattice point within a piece's range is the image of one α.
pub(super) fn log_density(x: [f64; 2]) -> f64 {
    let radius = x[0].hypot(x[1]) / SCALE;
    let constant = (TAU * ALONG * ACROSS).ln() + 2.0 * LN_2;
    if radius > WOUND {
        return log_angular_mean(radius) - constant;
    }
    let warp = Warp { radius };
    let angle = x[1].atan2(x[0]);
    let [top, bottom] = warp.turning_points();
    let mut sum = LogSum::new();
    for (low, high) in [(bottom, top), (bottom, top + TAU)] {
        warp.for_each_preimage(angle, low, high, |log_term| sum.push(log_term));
    }
    sum.value() - (BLADES as f64).ln() - constant
}

/// ln of the unnormalised density's mean over all angles, for large radii.
///
/// The mean over α of exp(−(r cos α − 1)²/2a² − r² sin² α/2b²), a and b the standard deviations, is
/// concentrated at α = 0; Laplace's method there has a relative error below 1e-4 for r ≥ 8.
fn log_angular_mean(radius: f64) -> f64 {
    let off = (radius - 1.0) / ALONG;
    // Second derivative in v = r sin α, where r cos α = r − v²/2r + …
    let curvature = ACROSS.powi(-2) - ALONG.powi(-2) * (1.0 - radius.recip());
    -0.5 * off * off - 0.5 * (TAU * curvature).ln() - radius.ln()
}

/// The map g of [`log_density`] at one radius.
#[derive(Clone, Copy, Debug)]
struct Warp {
    radius: f64,
}

impl Warp {
    /// g(α) and g′(α).
    fn angle(self, alpha: f64) -> (f64, f64) {
        let (sin, cos) = alpha.sin_cos();
        let twist = RATE * (self.radius * cos).exp();
        (alpha - twist, 1.0 + twist * self.radius * sin)
    }

    /// g′(α) and g″(α).
    fn slope(self, alpha: f64) -> (f64, f64) {
        let (sin, cos) = alpha.sin_cos();
        let growth = RATE * self.radius * (self.radius * cos).exp();
        (1.0 + growth * sin, growth * (cos - self.radius * sin * sin))
    }

    /// Where g stops rising and where it stops falling, −π < first ≤ second < 0; equal if it is
    /// monotone.
    fn turning_points(self) -> [f64; 2] {
        // g″ = 0 where r cos² α + cos α − r = 0; g′ is least at the negative one of the two angles.
        let cos = 2.0 * self.radius / (1.0 + (1.0 + 4.0 * self.radius * self.radius).sqrt());
        let steepest = -cos.acos();
        if self.slope(steepest).0 >= 0.0 {
            return [steepest; 2];
        }
        let slope = |alpha| self.slope(alpha);
        [root(slope, steepest, -PI), root(slope, steepest, 0.0)]
    }

    /// Calls `visit` with the ln of p_f/|g′| (without constants) of each preimage between `low` and
    /// `high`, where g has its minimum and maximum.
    fn for_each_preimage(self, angle: f64, low: f64, high: f64, mut visit: impl FnMut(f64)) {
        let step = TAU / BLADES as f64;
        let [first, end] = [low, high].map(|alpha| ((self.angle(alpha).0 - angle) / step).ceil());
        let mut count = first;
        while count < end {
            let target = angle + count * step;
            let alpha = root(
                |alpha| {
                    let (value, slope) = self.angle(alpha);
                    (value - target, slope)
                },
                low,
                high,
            );
            visit(self.log_feature_density(alpha) - self.angle(alpha).1.abs().ln());
            count += 1.0;
        }
    }

    fn log_feature_density(self, alpha: f64) -> f64 {
        let (sin, cos) = alpha.sin_cos();
        let along = (self.radius * cos - 1.0) / ALONG;
        let across = self.radius * sin / ACROSS;
        -0.5 * (along * along + across * across)
    }
}

/// Root of a function given with its slope, negative at `below` and positive at `above` (in either
/// order), by Newton's method, with bisection if a step leaves the bracket or does not halve the
/// one before: otherwise steps could cycle with period two.
fn root(function: impl Fn(f64) -> (f64, f64), mut below: f64, mut above: f64) -> f64 {
    let mut at = 0.5 * (below + above);
    let mut step = above - below;
    // Bisection alone needs 55 steps to exhaust the digits of an angle.
    for _ in 0..120 {
        let (value, slope) = function(at);
        let newton = at - value / slope;
        // A root that Newton's method has hit may be an end of the bracket, hence first this.
        if (newton - at).abs() < CLOSE {
            return newton;
        }
        if value > 0.0 {
            above = at;
        } else {
            below = at;
        }
        let inside = newton > below.min(above) && newton < below.max(above);
        let halves = (newton - at).abs() < 0.5 * step.abs();
        let next = if inside && halves { newton } else { 0.5 * (below + above) };
        (step, at) = (next - at, next);
    }
    at
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::{BLADES, CARD, WOUND, Warp, draw, log_angular_mean, log_density};

    /// Log-density of blade `blade` alone at the image of the feature, and that image.
    fn term_and_image(blade: usize, radius: f64, alpha: f64) -> (f64, [f64; 2]) {
        let warp = Warp { radius };
        let (angle, slope) = warp.angle(alpha);
        let turned = angle - std::f64::consts::TAU * blade as f64 / BLADES as f64;
        let constant = (std::f64::consts::TAU * super::ALONG * super::ACROSS).ln()
            + (BLADES as f64).ln()
            + (super::SCALE * super::SCALE).ln();
        let term = warp.log_feature_density(alpha) - slope.abs().ln() - constant;
        (term, [turned.cos(), turned.sin()].map(|c| super::SCALE * radius * c))
    }

    #[test]
    fn no_preimage_is_missed() {
        for blade in 0..BLADES {
            for i in 0..200 {
                for j in -100..=100 {
                    let radius = 0.01 + 0.013 * f64::from(i);
                    let alpha = 0.006 * f64::from(j);
                    let (term, image) = term_and_image(blade, radius, alpha);
                    // The other preimages only add to the density; rounding of the image's angle
                    // (up to 5 ε) is magnified by the slope of ln p, here below 1e3 except at folds.
                    let fold = Warp { radius }.angle(alpha).1.abs() < 0.05;
                    let found = log_density(image);
                    assert!(fold || found > term - 1e-10, "{radius} {alpha}: {found} {term}");
                }
            }
        }
    }

    #[test]
    fn a_draw_has_the_radius_of_its_feature() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let rows = 100_000;
        let squares = (0..rows).map(|_| draw(&mut rng).map(|x| x * x).iter().sum::<f64>());
        let mean = squares.sum::<f64>() / f64::from(rows);
        // 4 (1 + 0.3² + 0.1²) with variance 16 (4 · 0.3² + 2 · 0.3⁴ + 2 · 0.1⁴).
        let sigma = (16.0f64 * (0.36 + 2.0 * 0.0081 + 0.0002)).sqrt();
        assert!((mean - 4.4).abs() < 4.0 * sigma / f64::from(rows).sqrt());
    }

    #[test]
    fn the_angular_mean_is_that_of_the_wound_density() {
        // Trapezoidal rule over α, whose width of 0.1/8 the step resolves a hundred times over.
        let warp = Warp { radius: WOUND };
        let n = 50_000;
        let at = |i: i32| std::f64::consts::TAU * f64::from(i) / f64::from(n);
        let sum: f64 = (0..n).map(|i| (warp.log_feature_density(at(i)) + 272.0).exp()).sum();
        let mean = (sum / f64::from(n)).ln() - 272.0;
        assert!((mean - log_angular_mean(WOUND)).abs() < 1e-4);
    }

    #[test]
    fn the_origin_has_five_equal_terms() {
        // p = exp(−1/(2 · 0.3²)) / (2π · 0.3 · 0.1 · 4)
        let exact = -0.5 / 0.09 - (std::f64::consts::TAU * 0.12).ln();
        assert!((log_density([0.0, 0.0]) - exact).abs() < CARD.density_error);
    }
}

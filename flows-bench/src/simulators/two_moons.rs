//! `two_moons`: a crescent in the plane whose place is a fold of the parameters.

use std::f64::consts::{FRAC_1_SQRT_2, PI, TAU};

use flows_core::Stream;
use rand::RngExt;
use rand_distr::StandardNormal;

use super::Card;
use super::prior::Prior;

pub(super) const CARD: Card = Card {
    name: "two_moons",
    description: "a crescent at a fold of the parameters: two crescents of parameters",
    parameters: 2,
    features: 2,
    prior: Prior::Uniform(1.0),
};

const RADIUS: f64 = 0.1;
const WIDTH: f64 = 0.01;
/// The crescent's centre along x1.
const OFFSET: f64 = 0.25;

fn centre(theta: &[f64]) -> [f64; 2] {
    let [sum, difference] = [theta[0] + theta[1], theta[1] - theta[0]];
    [OFFSET - sum.abs() * FRAC_1_SQRT_2, difference * FRAC_1_SQRT_2]
}

/// x = (r cos a, r sin a) + (1/4 - |t1 + t2| / sqrt 2, (t2 - t1) / sqrt 2),
/// a ~ U(-pi/2, pi/2), r ~ N(0.1, 0.01^2).
pub(super) fn draw(theta: &[f64], x: &mut Vec<f64>, rng: &mut Stream) {
    let (sin, cos) = (PI * (rng.random::<f64>() - 0.5)).sin_cos();
    let radius = RADIUS + WIDTH * rng.sample::<f64, _>(StandardNormal);
    let [first, second] = centre(theta);
    x.extend([first + radius * cos, second + radius * sin]);
}

/// With u = x - centre, the radius is |u| to the right of the centre and -|u| to the left of it, where it is
/// negative; the area element is |r| dr da:
/// ```text
/// log p = log N(r; 0.1, 0.01^2) - log pi - log |u|,   r = |u| sign u1
/// ```
pub(super) fn log_likelihood(x: &[f64], theta: &[f64]) -> f64 {
    let [first, second] = centre(theta);
    let [u1, u2] = [x[0] - first, x[1] - second];
    let distance = u1.hypot(u2);
    if distance == 0.0 {
        // The density of this single point is infinite, e^-50 times 1 / 0.
        return f64::NEG_INFINITY;
    }
    let off = (distance.copysign(u1) - RADIUS) / WIDTH;
    -0.5 * (off * off + TAU.ln()) - WIDTH.ln() - PI.ln() - distance.ln()
}

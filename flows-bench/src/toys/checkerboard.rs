//! `checkerboard`: the uniform distribution on eight squares of a 4 × 4 board.

use rand::{Rng, RngExt};

use super::{Card, Entropy};

/// Side of one square.
const SIDE: f64 = 2.0;
/// The board is [−`HALF`, `HALF`)².
const HALF: f64 = 4.0;
/// ln 32, 32 being the area of the eight squares.
const LOG_AREA: f64 = 5.0 * std::f64::consts::LN_2;

pub(super) const CARD: Card = Card {
    name: "checkerboard",
    window: [-HALF, HALF, -HALF, HALF],
    entropy: Entropy { nats: LOG_AREA, error: 0.0 },
    density_error: 0.0,
};

pub(super) fn draw(rng: &mut impl Rng) -> [f64; 2] {
    let first = 4.0 * rng.random::<f64>() - 2.0;
    let lower = if rng.random::<bool>() { 2.0 } else { 0.0 };
    let second = rng.random::<f64>() - lower + first.floor().rem_euclid(2.0);
    [SIDE * first, SIDE * second]
}

pub(super) fn log_density(x: [f64; 2]) -> f64 {
    let on_board = x.iter().all(|x| (-HALF..HALF).contains(x));
    let colour = (x[0] / SIDE).floor() + (x[1] / SIDE).floor();
    if on_board && colour.rem_euclid(2.0) == 0.0 { -LOG_AREA } else { f64::NEG_INFINITY }
}

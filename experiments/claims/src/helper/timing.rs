//! Times of calculations that are to be compared.

use std::hint::black_box;
use std::time::Instant;

/// Repetitions of each.
const REPETITIONS: usize = 9;

/// Median seconds of each calculation, run in turn so that all see the same machine.
pub(crate) fn medians<R, const N: usize>(calculations: [&dyn Fn() -> R; N]) -> [f64; N] {
    let mut seconds = [(); N].map(|()| Vec::new());
    for _ in 0..REPETITIONS {
        for (seconds, calculate) in seconds.iter_mut().zip(calculations) {
            let clock = Instant::now();
            drop(black_box(calculate()));
            seconds.push(clock.elapsed().as_secs_f64());
        }
    }
    seconds.map(median)
}

/// The middle of some times; of an even number of them, the later of both middles.
pub(crate) fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

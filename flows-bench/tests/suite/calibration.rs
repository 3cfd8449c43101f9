//! Ranks of truths among draws of conditional densities.

#![allow(clippy::print_stdout, reason = "measured rates are shown with --nocapture")]

use flows_bench::metrics::{Calibration, ConditionalDraws, Distance};
use flows_core::{normals, stream};

const DRAWS: usize = 31;

/// Truths N(c, 1) in two features with context c, and draws N(c + shift, scale^2), with the density of the
/// draws.
fn normal_draws(contexts: usize, shift: f64, scale: f64, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut rng = stream(seed, "normal draws");
    let (mut rows, mut log_density) = (Vec::new(), Vec::new());
    for _ in 0..contexts {
        let context: Vec<f64> = normals(2, &mut rng);
        for member in 0..=DRAWS {
            let noise: Vec<f64> = normals(2, &mut rng);
            let [shift_of, scale_of] = if member == 0 { [0.0, 1.0] } else { [shift, scale] };
            let row = [0, 1].map(|k| context[k] + shift_of + scale_of * noise[k]);
            let square: f64 =
                row.iter().zip(&context).map(|(x, c)| ((x - c - shift) / scale).powi(2)).sum();
            log_density.push(-0.5 * square);
            rows.extend(row);
        }
    }
    (rows, log_density)
}

fn distances(contexts: usize, shift: f64, scale: f64, seed: u64) -> Vec<Distance> {
    let (rows, log_density) = normal_draws(contexts, shift, scale, seed);
    let of = ConditionalDraws { dim: 2, draws: DRAWS, rows: &rows, log_density: &log_density };
    Calibration::new(&of, seed).distances(seed)
}

#[test]
fn ranks_are_numbers_of_draws_that_come_before() {
    let rows = [0.5, 0.1, 0.9, 0.7, -1.0, 3.0, 2.0, 1.0];
    let log_density = [-3.0, -1.0, -2.0, -4.0, 0.0, -1.0, -2.0, -3.0];
    let of = ConditionalDraws { dim: 1, draws: 3, rows: &rows, log_density: &log_density };
    let ranks = Calibration::new(&of, 0).ranks();
    // One draw below 0.5, two of higher density; |x + 1| of 0.1 alone is smaller.
    assert_eq!(ranks[..3], [1, 2, 1]);
    // No draw below -1, none of higher density; 2 and 1 and 3 are all nearer to 0.5.
    assert_eq!(ranks[3..], [0, 0, 1]);
}

/// Of 200 calibrated sets, each distance exceeds its band ten times in expectation, with a deviation of 3.1.
#[test]
fn one_calibrated_density_in_twenty_is_outside_of_the_band() {
    let mut outside = [0_usize; 3];
    for seed in 0..200 {
        let found = distances(100, 0.0, 1.0, seed);
        outside.iter_mut().zip(&found).for_each(|(n, d)| *n += usize::from(d.is_outside()));
    }
    println!("outside of the band, of 200: {outside:?}");
    assert!(outside.iter().all(|count| (1..=19).contains(count)), "{outside:?}");
}

#[test]
fn narrow_wide_and_shifted_densities_are_seen() {
    let outside = |shift, scale| -> Vec<bool> {
        distances(500, shift, scale, 5).iter().map(Distance::is_outside).collect()
    };
    assert_eq!(outside(0.0, 0.8), [true, true, true]);
    assert_eq!(outside(0.0, 1.25), [true, true, true]);
    assert!(outside(0.2, 1.0)[0]);
}

//! Distances between samples, against values of SciPy 1.17 (`wasserstein_distance`, `ks_2samp`, `sqrtm`) and
//! against what they have to be.

#![allow(clippy::print_stdout, reason = "measured rates are shown with --nocapture")]

use flows_bench::metrics::{Distance, LEAST_ROWS, MetricError, Pooled, Sliced, distances, frechet};
use flows_core::{normals, stream};

const DIRECTIONS: [f64; 9] = [1.0, 0.0, 0.0, 0.6, 0.8, 0.0, 2.0 / 3.0, -1.0 / 3.0, 2.0 / 3.0];

/// 40 rows of sin(1.3 i + k) + 0.05 (i (k + 2) mod 7) and 30 of 1.2 cos(0.7 j (1 + 0.3 k)) + 0.3.
fn waves() -> Pooled {
    let rows = |count: usize, value: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        (0..count).flat_map(|row| [0, 1, 2].map(|k| value(row, k))).collect()
    };
    let sine =
        |i: usize, k: usize| (1.3 * i as f64 + k as f64).sin() + 0.05 * (i * (k + 2) % 7) as f64;
    let cosine = |j: usize, k: usize| 1.2 * (0.7 * j as f64 * (1.0 + 0.3 * k as f64)).cos() + 0.3;
    Pooled::new(&rows(40, &sine), &rows(30, &cosine), 3)
}

fn close(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value} for {expected}");
}

#[test]
fn distances_are_those_of_scipy() {
    let pooled = waves();
    let [wasserstein, smirnov] = Sliced::new(&pooled, &DIRECTIONS).values(&pooled.labels());
    close(wasserstein, 0.33814611978819503);
    close(smirnov, 0.2888888888888889);
    close(frechet(&pooled, &pooled.labels()), 0.6764940781702848);
    // Ties, on a line.
    let pooled = Pooled::new(&[0.0, 0.0, 1.0, 1.0, 2.0, 5.0], &[0.0, 1.0, 1.0, 3.0], 1);
    let [wasserstein, smirnov] = Sliced::new(&pooled, &[1.0]).values(&pooled.labels());
    close(wasserstein, 7.0 / 12.0);
    close(smirnov, 1.0 / 6.0);
    close(frechet(&pooled, &pooled.labels()), 0.437_684_369_391_488_6);
}

#[test]
fn neither_the_order_of_rows_nor_the_unit_of_a_column_changes_a_distance() {
    let (draws, reference) = (normals(60, &mut stream(1, "a")), normals(80, &mut stream(1, "b")));
    let found = distances(&draws, &reference, 2, 3).unwrap();
    let moved = |values: &[f64]| -> Vec<f64> {
        values.chunks_exact(2).rev().flat_map(|row| [1e6 * row[0] - 3e5, row[1]]).collect()
    };
    let again = distances(&moved(&draws), &moved(&reference), 2, 3).unwrap();
    for (one, other) in found.iter().zip(&again) {
        assert!((one.value - other.value).abs() < 1e-9 * one.value, "{one:?} {other:?}");
    }
    assert_eq!(found, distances(&draws, &reference, 2, 3).unwrap());
}

/// Of 400 pairs of samples of one distribution, each distance exceeds its band 20 times in expectation,
/// with a deviation of 4.4.
#[test]
fn one_pair_in_twenty_of_one_distribution_is_outside_of_the_band() {
    let mut outside = [0_usize; 3];
    for pair in 0..400 {
        let mut rng = stream(pair, "pair");
        let row = |z: &[f64]| [z[0], z[0] + z[1].powi(3)];
        let sample = |rows: usize, rng: &mut flows_core::Stream| -> Vec<f64> {
            normals(2 * rows, rng).chunks_exact(2).flat_map(row).collect()
        };
        let (draws, reference) = (sample(40, &mut rng), sample(25, &mut rng));
        let found = distances(&draws, &reference, 2, pair).unwrap();
        for (count, distance) in outside.iter_mut().zip(&found) {
            *count += usize::from(distance.value > distance.null_95);
            assert!(distance.null_median < distance.null_95);
        }
    }
    println!("outside of the band, of 400: {outside:?}");
    // Three deviations.
    assert!(outside.iter().all(|count| (7..=33).contains(count)), "{outside:?}");
}

#[test]
fn a_shift_by_a_tenth_of_a_deviation_is_seen_in_ten_thousand_rows() {
    let reference = normals(2 * 10_000, &mut stream(2, "reference"));
    let mut draws: Vec<f64> = normals(2 * 10_000, &mut stream(2, "draws"));
    draws.iter_mut().step_by(2).for_each(|value| *value += 0.1);
    for Distance { name, value, null_95, .. } in distances(&draws, &reference, 2, 0).unwrap() {
        assert!(value > null_95, "{name}: {value} within {null_95}");
    }
}

#[test]
fn samples_that_cannot_be_compared_are_named() {
    let rows = vec![0.5; 2 * LEAST_ROWS];
    let few = distances(&rows[2..], &rows, 2, 0).unwrap_err();
    assert_eq!(few, MetricError::Rows { sample: "draws", rows: LEAST_ROWS - 1 });
    let mut odd = rows.clone();
    odd[5] = f64::INFINITY;
    let message = distances(&rows, &odd, 2, 0).unwrap_err().to_string();
    assert_eq!(
        message,
        "reference, row 2 (from 0): expected finite values, got inf; leave the row out"
    );
    // Constant columns are no distance apart, and no error.
    assert!(distances(&rows, &rows, 2, 0).unwrap().iter().all(|distance| distance.value == 0.0));
}

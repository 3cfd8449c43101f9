//! Distances between samples, against values of SciPy 1.17 (`wasserstein_distance`, `ks_2samp`, `sqrtm`,
//! `pdist`) and scikit-learn 1.9 (`rbf_kernel`, `MLPClassifier`), and against what they have to be.

#![allow(clippy::print_stdout, reason = "measured rates are shown with --nocapture")]

use flows_bench::metrics::{
    Classifier, LEAST_ROWS, MetricError, Pooled, Sliced, distances, frechet, median_distance, mmd,
};
use flows_core::activation::Activation;
use flows_core::tensor::set_values;
use flows_core::{LastLayer, Mlp, MlpKernel, Parameters, normals, stream};

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
fn discrepancies_are_those_of_scikit_learn() {
    let pooled = waves();
    close(median_distance(&pooled), 1.8944951609196825);
    // The samples as they are, and with the draws for the reference.
    let labels = pooled.labels();
    let swapped: Vec<bool> = labels.iter().map(|label| !label).collect();
    for (bandwidth, expected) in [(0.8, 0.0342279853530586), (2.5, 0.003088487946611762)] {
        let found = mmd(&pooled, bandwidth, &[labels.clone(), swapped.clone()]);
        found.into_iter().for_each(|value| close(value, expected));
    }
    let pooled = Pooled::new(&[0.0, 0.0, 1.0, 1.0, 2.0, 5.0], &[0.0, 1.0, 1.0, 3.0], 1);
    close(median_distance(&pooled), 1.0);
    close(mmd(&pooled, 1.0, &[pooled.labels()])[0], -0.19133453588271732);
}

/// Over more rows than a tile of the kernel matrix has.
#[test]
fn discrepancies_of_many_rows_are_the_sums_over_all_pairs() {
    let values: Vec<f64> = normals(2 * 700, &mut stream(4, "rows"));
    let (draws, reference) = values.split_at(2 * 300);
    let pooled = Pooled::new(draws, reference, 2);
    let mean = |a: &[f64], b: &[f64], pairs: f64| {
        let kernel = |a: &[f64], b: &[f64]| {
            let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
            // A row with itself is left out.
            if std::ptr::eq(a, b) { 0.0 } else { (-0.5 * square / 1.44).exp() }
        };
        let sums = a.chunks(2).map(|a| b.chunks(2).map(|b| kernel(a, b)).sum::<f64>());
        sums.sum::<f64>() / pairs
    };
    let expected = mean(draws, draws, 300.0 * 299.0) + mean(reference, reference, 400.0 * 399.0)
        - 2.0 * mean(draws, reference, 300.0 * 400.0);
    close(mmd(&pooled, 1.2, &pooled.labellings(3, 0))[0], expected);
}

/// Seven epochs in batches of ten, in a fixed order, from the same weights.
#[test]
fn a_classifier_is_that_of_scikit_learn() {
    let pooled = waves();
    let kernel = MlpKernel::new(3, &[5, 4], 1, Activation::Relu).unwrap();
    let mut network =
        Mlp::<f64>::new(kernel, LastLayer::Random, &mut stream(0, "weights")).unwrap();
    let weight = |shift: f64, units: usize, inputs: usize| -> Vec<f64> {
        let place = |at: usize| (at / inputs, at % inputs);
        let value = |(j, i)| 0.5 * (shift + 1.7 * i as f64 + 0.9 * j as f64).sin();
        (0..units * inputs).map(|at| value(place(at))).collect()
    };
    let start = [
        weight(0.1, 5, 3),
        (0..5).map(|unit| 0.1 * f64::from(unit) - 0.2).collect(),
        weight(0.2, 4, 5),
        (0..4).map(|unit| 0.05 * f64::from(unit)).collect(),
        weight(0.3, 1, 4),
        vec![0.02],
    ];
    let mut values = start.iter();
    network.visit_mut(&mut |_, _, tensor| set_values(tensor, values.next().unwrap())).unwrap();
    let mut classifier = Classifier::new(network);
    let rows: Vec<usize> = (0..30).flat_map(|index| [index, 40 + index]).collect();
    let of = (&pooled, &pooled.labels()[..]);
    classifier.train(of, rows.clone(), (7 * 6, 10, 1e-3), |_| {}).unwrap();
    let scores = classifier.scores(&pooled, &rows).unwrap();
    let expected = [
        (0, -0.010332849431793686),
        (1, -0.050487300155739906),
        (2, 0.0723209410154998),
        (3, 0.002115628750006172),
        (30, -0.04630785703865388),
        (59, -0.027724953668295017),
    ];
    for (row, score) in expected {
        assert!((scores[row] - score).abs() < 1e-6, "{row}: {} for {score}", scores[row]);
    }
    let right = scores.iter().enumerate().filter(|(row, score)| (**score > 0.0) == (row % 2 == 0));
    assert_eq!(right.count(), 32);
}

#[test]
fn neither_the_order_of_rows_nor_the_unit_of_a_column_changes_a_distance() {
    let (draws, reference) = (normals(60, &mut stream(1, "a")), normals(80, &mut stream(1, "b")));
    let found = distances(&draws, &reference, 2, 3).unwrap();
    let moved = |values: &[f64]| -> Vec<f64> {
        values.chunks_exact(2).rev().flat_map(|row| [1e6 * row[0] - 3e5, row[1]]).collect()
    };
    let again = distances(&moved(&draws), &moved(&reference), 2, 3).unwrap();
    // Folds are dealt by place.
    for (one, other) in found.iter().zip(&again).filter(|(one, _)| one.name != "c2st") {
        assert!((one.value - other.value).abs() < 1e-9 * one.value.abs(), "{one:?} {other:?}");
    }
    assert_eq!(found, distances(&draws, &reference, 2, 3).unwrap());
}

/// Of 200 pairs of samples of one distribution, each distance exceeds its band ten times in expectation,
/// with a deviation of 3.1.
#[test]
fn one_pair_in_twenty_of_one_distribution_is_outside_of_the_band() {
    let mut outside = [0_usize; 5];
    for pair in 0..200 {
        let mut rng = stream(pair, "pair");
        let row = |z: &[f64]| [z[0], z[0] + z[1].powi(3)];
        let sample = |rows: usize, rng: &mut flows_core::Stream| -> Vec<f64> {
            normals(2 * rows, rng).chunks_exact(2).flat_map(row).collect()
        };
        let (draws, reference) = (sample(40, &mut rng), sample(25, &mut rng));
        let found = distances(&draws, &reference, 2, pair).unwrap();
        for (count, distance) in outside.iter_mut().zip(&found) {
            *count += usize::from(distance.is_outside());
            assert!(distance.null_median < distance.null_95, "{distance:?}");
        }
    }
    println!("outside of the band, of 200: {outside:?}");
    // Three deviations.
    assert!(outside.iter().all(|count| (1..=19).contains(count)), "{outside:?}");
}

#[test]
fn a_shift_by_a_tenth_of_a_deviation_is_seen_in_ten_thousand_rows() {
    let reference = normals(2 * 10_000, &mut stream(2, "reference"));
    let mut draws: Vec<f64> = normals(2 * 10_000, &mut stream(2, "draws"));
    draws.iter_mut().step_by(2).for_each(|value| *value += 0.1);
    for distance in distances(&draws, &reference, 2, 0).unwrap() {
        assert!(distance.is_outside(), "{distance:?}");
    }
}

#[test]
fn samples_that_cannot_be_compared_are_named() {
    let rows = vec![0.5; 2 * LEAST_ROWS];
    let few = distances(&rows[2..], &rows, 2, 0).unwrap_err();
    let of_draws = |rows: usize| rows == LEAST_ROWS - 1;
    assert!(matches!(few, MetricError::Rows { sample: "draws", rows } if of_draws(rows)), "{few}");
    let mut odd = rows.clone();
    odd[5] = f64::INFINITY;
    let message = distances(&rows, &odd, 2, 0).unwrap_err().to_string();
    assert_eq!(
        message,
        "reference, row 2 (from 0): expected finite values, got inf; leave the row out"
    );
    // Constant columns are no distance apart, and no error.
    for distance in distances(&rows, &rows, 2, 0).unwrap() {
        let expected = if distance.name == "c2st" { 0.5 } else { 0.0 };
        assert_eq!(distance.value, expected, "{distance:?}");
    }
}

//! Estimated log-dets of contractive layers, and the rate of their inverse.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::rowwise::{gradient_of_mean, mean};
use flows_core::tensor::batch;
use flows_core::testing::largest_difference;
use flows_core::{Batch, Bijector, Layer, Parameters, Purpose, Tape, Values, normals, stream};
use flows_finite::residual::{Constraint, Contractive, Determinant, LipschitzNetwork, Norm};
use nalgebra::{DMatrix, DVector};

use crate::sums::apply;

fn mapped(layer: &Layer<f64>, forward: bool, input: &Batch<f64>) -> flows_core::Mapped<f64> {
    apply(layer, forward, input, &mut Tape::none()).unwrap()
}

fn map(dim: usize, hidden: &[usize], coefficient: f64, determinant: Determinant) -> Contractive {
    let constraint = Constraint { coefficient, norm: Norm::Exact };
    let network = LipschitzNetwork::new((dim, 0), hidden, Activation::Tanh, constraint).unwrap();
    Contractive::new(network, determinant, Determinant::Exact).unwrap()
}

/// z + W2 tanh(W1 z + b1) with both norms at their limit.
struct Plain {
    w1: DMatrix<f64>,
    b1: DVector<f64>,
    w2: DMatrix<f64>,
}

impl Plain {
    fn new(dim: usize, hidden: usize, coefficient: f64) -> Self {
        let rng = &mut stream(8, "weights");
        let mut matrix = |rows, width| {
            let matrix = DMatrix::from_row_slice(rows, width, &normals::<f64>(rows * width, rng));
            let norm = matrix.singular_values().max();
            matrix * (coefficient.sqrt() / norm)
        };
        let (w1, w2) = (matrix(hidden, dim), matrix(dim, hidden));
        Self { w1, b1: DVector::from_vec(normals(hidden, rng)) * 0.3, w2 }
    }

    fn layer(&self, coefficient: f64, determinant: Determinant) -> Layer<f64> {
        self.with_weights(self.map(coefficient, determinant))
    }

    fn map(&self, coefficient: f64, determinant: Determinant) -> Contractive {
        // A little above, so that the weights are used as they are.
        let coefficient = coefficient * (1.0 + 1e-9);
        map(self.w2.nrows(), &[self.w1.nrows()], coefficient, determinant)
    }

    fn with_weights(&self, map: Contractive) -> Layer<f64> {
        let rows = |m: &DMatrix<f64>| m.transpose().as_slice().to_vec();
        let (w1, w2, b2) = (rows(&self.w1), rows(&self.w2), vec![0.1; self.w2.nrows()]);
        let layers: [(&[f64], &[f64]); 2] = [(&w1, self.b1.as_slice()), (&w2, &b2)];
        map.with_weights(&layers).unwrap()
    }

    fn jacobian(&self, z: &[f64]) -> DMatrix<f64> {
        let slopes =
            (&self.w1 * DVector::from_row_slice(z) + &self.b1).map(|a| 1.0 - a.tanh().powi(2));
        &self.w2 * DMatrix::from_diagonal(&slopes) * &self.w1
    }

    /// The first `terms` terms of the log-det's series.
    fn series(&self, z: &[f64], terms: usize) -> f64 {
        let jacobian = self.jacobian(z);
        let mut power = DMatrix::identity(z.len(), z.len());
        let mut total = 0.0;
        for k in 1..=terms {
            power = &power * &jacobian;
            total += (if k % 2 == 1 { 1.0 } else { -1.0 }) / k as f64 * power.trace();
        }
        total
    }
}

#[derive(Default)]
struct Mean {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    /// How many standard errors the mean is from `expected`.
    fn score(&self, expected: f64) -> f64 {
        let mean = self.sum / self.count;
        let variance = (self.squares / self.count - mean * mean) / (self.count - 1.0);
        (mean - expected).abs() / (variance.sqrt() + 1e-12)
    }
}

const ROWS: usize = 128;

fn copies(z: &[f64]) -> Batch<f64> {
    batch(z.repeat(ROWS), ROWS, z.len()).unwrap()
}

/// The mean log-det of all rows, and its gradient for the input's features and every weight.
fn means(layer: &Layer<f64>, z: &[f64]) -> (f64, Vec<f64>) {
    let (input, mut tape) = (copies(z), Tape::recording());
    let out = apply(layer, true, &input, &mut tape).unwrap();
    let mut gradients = gradient_of_mean(1.0, &out.log_det, tape).unwrap();
    let rows = gradients.take(&input).unwrap();
    let dim = z.len();
    let mut all: Vec<f64> =
        (0..dim).map(|i| rows.iter().skip(i).step_by(dim).sum::<f64>()).collect();
    layer.visit(&mut |_, _, tensor| all.extend(gradients.take(tensor).unwrap()));
    (mean(&out.log_det), all)
}

/// Largest scores of value and gradient over `draws` draws of probes.
fn scores(
    layer: &mut Layer<f64>,
    z: &[f64],
    draws: usize,
    (value, gradient): (f64, &[f64]),
) -> (f64, f64) {
    layer.set_purpose(Purpose::Training).unwrap();
    let rng = &mut stream(21, "draws");
    let mut mean = Mean::default();
    let mut slopes: Vec<Mean> = gradient.iter().map(|_| Mean::default()).collect();
    for _ in 0..draws {
        layer.begin_step(rng).unwrap();
        let (estimate, estimates) = means(layer, z);
        mean.add(estimate);
        slopes.iter_mut().zip(estimates).for_each(|(mean, g)| mean.add(g));
    }
    let scores: Vec<f64> = slopes.iter().zip(gradient).map(|(mean, &g)| mean.score(g)).collect();
    let worst = largest_difference(&scores, &vec![0.0; scores.len()]);
    (mean.score(value), worst)
}

#[test]
fn the_truncated_series_is_within_its_bound() {
    for coefficient in [0.5, 0.7, 0.9, 0.97] {
        let plain = Plain::new(4, 9, coefficient);
        let layer = plain.layer(coefficient, Determinant::Exact);
        let z = [0.3, -0.2, 0.1, 0.4];
        let exact = mapped(&layer, true, &copies(&z)).log_det.values()[0];
        let mut sum = 0.0;
        for terms in 1..60 {
            sum += coefficient.powi(terms as i32) / terms as f64;
            let bound = -4.0 * ((1.0 - coefficient).ln() + sum);
            let error = (plain.series(&z, terms) - exact).abs();
            assert!(error <= bound + 1e-13, "L {coefficient}, {terms} terms: {error} {bound}");
        }
    }
}

#[test]
fn the_series_estimates_its_truncated_sum_and_that_sum_s_gradient() {
    let (coefficient, terms, z) = (0.9, 3, [0.3, -0.2, 0.5]);
    let plain = Plain::new(3, 5, coefficient);
    let mut layer = plain.layer(coefficient, Determinant::Series { terms, probes: 2 });
    let gradient: Vec<f64> = (0..3)
        .map(|i| {
            let at = |step: f64| {
                let mut moved = z;
                moved[i] += step;
                plain.series(&moved, terms)
            };
            (at(1e-5) - at(-1e-5)) / 2e-5
        })
        .collect();
    let expected = plain.series(&z, terms);
    let (value, slopes) = scores(&mut layer, &z, 1000, (expected, &gradient));
    println!("series: value {value:.2}, gradient {slopes:.2} standard errors");
    assert!(value < 4.0 && slopes < 4.5);
}

#[test]
fn the_roulette_is_unbiased() {
    for (coefficient, exact_terms, probability) in [(0.6, 1, 0.5), (0.6, 2, 0.3), (0.9, 3, 0.1)] {
        let z = [0.3, -0.2, 0.5];
        let plain = Plain::new(3, 5, coefficient);
        let roulette = Determinant::Roulette { exact_terms, probability, probes: 1 };
        let mut layer = plain.layer(coefficient, roulette);
        let (value, gradient) = means(&layer, &z);
        let (value, slopes) = scores(&mut layer, &z, 4000, (value, &gradient));
        println!(
            "roulette at L {coefficient}: value {value:.2}, gradient {slopes:.2} standard errors"
        );
        assert!(value < 4.0 && slopes < 4.5);
    }
}

const DIM: usize = 3;

/// Points z with their images x.
fn pairs(layer: &Layer<f64>) -> (Vec<f64>, Vec<f64>) {
    let z = normals::<f64>(ROWS * DIM, &mut stream(3, "points"));
    let x = mapped(layer, true, &batch(z.clone(), ROWS, DIM).unwrap());
    (z, x.value.values())
}

fn distances(a: &[f64], b: &[f64]) -> Vec<f64> {
    let row = |(a, b): (&[f64], &[f64])| {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    a.chunks(DIM).zip(b.chunks(DIM)).map(row).collect()
}

#[test]
fn errors_of_the_fixed_point_shrink_at_the_rate() {
    for coefficient in [0.5, 0.7, 0.9, 0.97] {
        let layer = Plain::new(DIM, 8, coefficient).layer(coefficient, Determinant::Exact);
        let lipschitz = Contractive::lipschitz(&layer.prepared().unwrap());
        assert!((lipschitz / coefficient - 1.0).abs() < 1e-8);
        let (z, x) = pairs(&layer);
        let (mut iterate, mut first) = (x.clone(), Vec::new());
        for k in 0..40 {
            let point = batch(iterate.clone(), ROWS, DIM).unwrap();
            let image = mapped(&layer, true, &point).value.values();
            let residual = image.iter().zip(&iterate).map(|(image, z)| image - z);
            let next: Vec<f64> = x.iter().zip(residual).map(|(x, g)| x - g).collect();
            if k == 0 {
                first = distances(&next, &iterate);
            }
            for (error, first) in distances(&iterate, &z).iter().zip(&first) {
                let bound = lipschitz.powi(k) / (1.0 - lipschitz) * first;
                assert!(*error <= bound + 1e-14, "L {coefficient}, step {k}: {error} {bound}");
            }
            iterate = next;
        }
    }
}

#[test]
fn the_inverse_ends_within_its_tolerance() {
    for coefficient in [0.5, 0.7, 0.9, 0.97] {
        let plain = Plain::new(DIM, 8, coefficient);
        let (z, x) = pairs(&plain.layer(coefficient, Determinant::Exact));
        let mut line = format!("L {coefficient}: iterations");
        for tolerance in [1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12] {
            let map = plain.map(coefficient, Determinant::Exact);
            let layer = plain.with_weights(map.with_tolerance(tolerance).unwrap());
            let out = mapped(&layer, false, &batch(x.clone(), ROWS, DIM).unwrap());
            let (got, work) = (out.value.values(), out.work);
            for (row, error) in distances(&got, &z).iter().enumerate() {
                let row = row * DIM..(row + 1) * DIM;
                let size = got[row.clone()].iter().chain(&x[row]);
                let size = size.fold(0.0_f64, |size, v| size.max(v.abs()));
                assert!(*error <= tolerance * (1.0 + size), "{error} {tolerance}");
            }
            line += &format!(" {} ({tolerance:.0e})", work.iterations);
        }
        println!("{line}");
    }
}

/// A linear residual along the identity: the slowest that the bound allows.
#[test]
fn the_slowest_inverse_converges_too() {
    for coefficient in [0.5, 0.9, 0.97, 0.999] {
        let weight = [coefficient, 0.0, 0.0, coefficient];
        let layers: [(&[f64], &[f64]); 1] = [(&weight, &[0.5, 1e3])];
        let map = map(2, &[], coefficient, Determinant::Exact);
        let layer = map.with_weights(&layers).unwrap();
        let z = batch(vec![1.0, -2.0, 300.0, 0.0], 2, 2).unwrap();
        let x = mapped(&layer, true, &z);
        let back = mapped(&layer, false, &x.value);
        let worst = largest_difference(&back.value.values(), &z.values());
        println!("L {coefficient}: {} iterations, error {worst:.1e}", back.work.iterations);
        assert!(worst <= 1e3 * 4.0 * f64::EPSILON / (1.0 - coefficient));
    }
}

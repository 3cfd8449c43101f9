//! Fits of every base: their optimum, what has none, and single precision.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use flows_core::rowwise::gradient_of_mean;
use flows_core::tensor::batch;
use flows_core::testing::{assert_error, perturb};
use flows_core::{Base, Batch, Error, Parameters, Real, Tape, Values, normals, stream};

use super::bases::{bases, narrow, parameters};

fn nats(base: &Base<f64>, z: &Batch<f64>) -> f64 {
    let log_prob = base.log_prob(z, &mut Tape::none()).unwrap().values();
    -log_prob.iter().sum::<f64>() / log_prob.len() as f64
}

/// Two clumps and a few rows far away.
fn data(dim: usize) -> Batch<f64> {
    let mut values = normals::<f64>(400 * dim, &mut stream(7, "data"));
    for (row, z) in values.chunks_mut(dim).enumerate() {
        let centre = if row % 3 == 0 { 6.0 } else { 1.0 };
        let scale = if row % 50 == 7 { 8.0 } else { 1.0 };
        let first = z[0];
        z.iter_mut().for_each(|z| *z = centre + scale * (*z + 0.5 * first));
    }
    batch(values, 400, dim).unwrap()
}

#[test]
fn nothing_near_a_fit_is_better() {
    for dim in [1, 3] {
        let z = data(dim);
        for (name, mut base) in bases(dim) {
            let before = nats(&base, &z);
            base.fit(&z).unwrap();
            let fitted = nats(&base, &z);
            assert!(fitted < before, "{name}: {fitted} {before}");
            for seed in 0..20 {
                // The likelihood falls by the square of the move, 1e-6, against an optimum to 1e-8.
                for size in [1e-3, 3e-2] {
                    let mut moved = base.clone();
                    perturb(&mut moved, size, &mut stream(seed, "move")).unwrap();
                    assert!(nats(&moved, &z) > fitted - 1e-9, "{name} {size}");
                }
            }
            let mut tape = Tape::recording();
            let log_prob = base.log_prob(&z, &mut tape).unwrap();
            let mut gradients = gradient_of_mean(-1.0, &log_prob, tape).unwrap();
            base.visit(&mut |part, _, tensor| {
                let slopes = gradients.take(tensor).unwrap();
                // EM of a mixture ends when a step gains 1e-10; the median of Laplace is a kink of
                // one row in 400.
                let least = if name == "mixture" { 1e-4 } else { 1e-9 };
                let flat = slopes.iter().all(|g| g.abs() < least);
                assert!(flat || name == "Laplace", "{name} {part}: {slopes:?}");
            });
            let mut again = base.clone();
            again.fit(&z).unwrap();
            assert!(nats(&again, &z) < fitted + 1e-12, "{name}: a second fit is worse");
        }
    }
}

#[test]
fn the_fit_of_a_mixture_never_lowers_the_likelihood_and_finds_the_clumps() {
    let z = data(2);
    for seed in 0..10 {
        let mut base = Base::mixture(2, 3, &mut stream(seed, "mixture")).unwrap();
        perturb(&mut base, 1.0, &mut stream(seed, "perturb")).unwrap();
        let mut last = nats(&base, &z);
        for _ in 0..3 {
            base.fit(&z).unwrap();
            let now = nats(&base, &z);
            assert!(now < last + 1e-12, "seed {seed}: {last} {now}");
            last = now;
        }
        let location = &parameters(&base)["location"];
        for centre in [1.0, 6.0] {
            let near = |m: &[f64]| m.iter().all(|m| (m - centre).abs() < 0.5);
            assert!(location.chunks(2).any(near), "seed {seed}: {location:?}");
        }
    }
}

#[test]
fn rows_without_a_fit_are_refused_and_change_nothing() {
    for (name, base) in bases(2) {
        let quantity = match name {
            "full normal" => "Cholesky factor of the base's covariance",
            _ => "log scale of the base",
        };
        for (values, what) in [
            (vec![1.0, 2.0], "number of rows to fit a base to must be at least 2, got 1"),
            (vec![1.0, 2.0, 1.0, 3.0, 1.0, 4.0], quantity),
            (vec![1.0, 2.0, 2.0, f64::NAN, 0.0, 1.0], quantity),
            (vec![1.0, 2.0, 2.0, f64::INFINITY, 0.0, 1.0], quantity),
        ] {
            let (mut fitted, rows) = (base.clone(), values.len() / 2);
            let result = fitted.fit(&batch(values.clone(), rows, 2).unwrap());
            assert_error!(
                result,
                Error::Parameter { .. } | Error::NonFinite { .. },
                [what],
                "{name} {values:?}"
            );
            assert_eq!(parameters(&fitted), parameters(&base), "{name} {values:?}");
        }
    }
}

#[test]
fn single_precision_fits_and_draws_are_those_of_double_precision() {
    for (name, wide) in bases(2) {
        let mut single = narrow(name, &wide);
        let draws = wide.sample(200, &mut stream(8, "draws")).unwrap().values();
        let rounded = single.sample(200, &mut stream(8, "draws")).unwrap().values();
        for (a, b) in draws.iter().zip(&rounded) {
            assert!((a - b.as_f64()).abs() < 1e-5 * (1.0 + a.abs()), "{name}: {a} {b}");
        }
        let (mut wide, z) = (wide, data(2));
        wide.fit(&z).unwrap();
        let z = batch(z.values().iter().map(|&v| v as f32).collect(), 400, 2).unwrap();
        single.fit(&z).unwrap();
        let mean = |v: &[f32]| -v.iter().map(|v| f64::from(*v)).sum::<f64>() / v.len() as f64;
        let got = mean(&single.log_prob(&z, &mut Tape::none()).unwrap().values());
        assert!((got - nats(&wide, &data(2))).abs() < 1e-4, "{name}: {got}");
    }
}

//! Inputs at the edges of the numbers, for maps onto supports, planar and radial flows.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::{batch, set_values};
use flows_core::{Bijector, BoxBijector, Error, Parameters, Real, Values, stream};
use flows_finite::{Affine, Scale};
use flows_finite::{Elementwise, FixedAffine, HalfLine, Interval, Planar, Radial, StickBreaking};

use crate::sums::{apply, gradients};

/// Name, bijector, whether its range is all of R^D.
type Entry<E> = (String, BoxBijector<E>, bool);

/// Raw parameters that saturate what constrains them, beside some that do not.
fn residual<E: Real>(dim: usize) -> Vec<Entry<E>> {
    let mut all: Vec<Entry<E>> = Vec::new();
    let rng = &mut stream(1, "init");
    for scale in [0.0, 0.5, -0.7, 100.0, -100.0] {
        let mut planar = Planar::<E>::new(dim, rng).unwrap();
        let mut radial = Radial::<E>::new(dim, rng).unwrap();
        // Every v_u, and the raw alpha; 0 leaves the bijector as it starts.
        for (name, part) in
            [("direction", &mut planar as &mut dyn Parameters<E>), ("alpha", &mut radial)]
        {
            let result = part.visit_mut(&mut |this, _, tensor| {
                if this != name || scale == 0.0 {
                    return Ok(());
                }
                let values: Vec<E> =
                    tensor.values().iter().map(|&v| v.signum() * E::of(scale)).collect();
                set_values(tensor, &values)
            });
            result.unwrap();
        }
        all.push((format!("planar {scale}"), BoxBijector::new(planar), true));
        all.push((format!("radial {scale}"), BoxBijector::new(radial), true));
    }
    let mut planar = Planar::<E>::new(dim, rng).unwrap();
    let zero = |name: &str, tensor: &mut flows_core::Batch<E>| {
        if name == "weight" { set_values(tensor, &vec![E::zero(); dim]) } else { Ok(()) }
    };
    planar.visit_mut(&mut |name, _, tensor| zero(name, tensor)).unwrap();
    all.push(("planar without weights".into(), BoxBijector::new(planar), true));
    all
}

fn all<E: Real>(dim: usize) -> Vec<Entry<E>> {
    fn lift<E: Real>(
        dim: usize,
        name: &str,
        transformer: impl flows_finite::Transformer<E>,
        onto: bool,
    ) -> Entry<E> {
        (name.into(), BoxBijector::new(Elementwise::new(dim, transformer).unwrap()), onto)
    }
    let mut list = vec![
        lift(dim, "unit interval", Interval::new(0.0, 1.0).unwrap(), false),
        lift(dim, "interval", Interval::new(-2.0, 3.0).unwrap(), false),
        lift(dim, "far interval", Interval::new(1000.0, 1001.0).unwrap(), false),
        lift(dim, "positive", HalfLine::new(0.0).unwrap(), false),
        lift(dim, "half-line", HalfLine::new(-1.5).unwrap(), false),
        lift(dim, "scaling", FixedAffine::new(2.5, -1.0).unwrap(), true),
        lift(dim, "affine", Affine::new(Scale::Bounded(1.0)).unwrap(), true),
        ("stick".into(), BoxBijector::new(StickBreaking::new(dim)), false),
    ];
    list.extend(residual(dim));
    list
}

fn edges<E: Real>() -> Vec<f64> {
    let subnormal = E::min_positive_value().as_f64() / 8.0;
    let sizes = [1.0, 1.5, 2.0, 3.0, 100.0, 1000.0, 1001.0, 1e6, 1e30, subnormal];
    sizes.iter().flat_map(|&v| [v, -v]).chain([0.0, -0.0]).collect()
}

/// One row a call, so that a row outside of a support does not hide the others.
fn check<E: Real>(entry: &Entry<E>, forward: bool, row: &[f64]) -> Result<(), String> {
    let (_, bijector, onto) = entry;
    let largest = row.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let input = batch(row.iter().map(|&v| E::of(v)).collect(), 1, row.len()).unwrap();
    let out = match apply(bijector, forward, input.clone()) {
        Ok(out) => out,
        Err(Error::NonFinite { row: 0, .. }) if !forward && !onto => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if out.value.values().iter().chain(&out.log_det.values()).any(|v| !v.is_finite()) {
        return Err("not finite".into());
    }
    for (name, gradient) in gradients(bijector, forward, &input).unwrap() {
        // Gradients of weights multiply two such numbers.
        if gradient.iter().any(|g| g.is_nan() || (largest <= 1e6 && !g.is_finite())) {
            return Err(format!("gradient of {name}"));
        }
    }
    Ok(())
}

fn check_all<E: Real>() {
    let mut problems = Vec::new();
    for dim in [1, 2, 64] {
        for entry in all::<E>(dim) {
            for value in edges::<E>() {
                for forward in [true, false] {
                    for phase in 0..3 {
                        let at = |j: usize| if phase == 2 || j % 2 == phase { value } else { 0.3 };
                        let row: Vec<f64> = (0..dim).map(at).collect();
                        if let Err(problem) = check(&entry, forward, &row) {
                            let name = &entry.0;
                            problems.push(format!("{name} {dim} {forward} {value:e}: {problem}"));
                        }
                    }
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}:\n{}", E::NAME, problems.join("\n"));
}

#[test]
fn edges_are_finite_in_single_precision() {
    check_all::<f32>();
}

#[test]
fn edges_are_finite_in_double_precision() {
    check_all::<f64>();
}

#[test]
fn batches_of_every_size_keep_their_shape_and_other_widths_are_errors() {
    for (name, bijector, _) in all::<f64>(3) {
        for rows in [1, 127, 128, 129, 300] {
            let input = batch(vec![0.2; rows * 3], rows, 3).unwrap();
            let out = apply(&bijector, true, input).unwrap();
            assert_eq!((out.value.rows(), out.log_det.rows()), (rows, rows), "{name}");
        }
        for forward in [true, false] {
            let wrong = batch(vec![0.2; 4], 1, 4).unwrap();
            assert!(matches!(apply(&bijector, forward, wrong), Err(Error::Dimension { .. })));
        }
        assert_eq!(bijector.dim(), 3);
    }
}

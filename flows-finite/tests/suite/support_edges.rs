//! Inputs at the edges of the numbers, for maps onto supports, planar and radial flows.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::tensor::{batch, set_values};
use flows_core::{Bijector, Error, Layer, Map, Parameters, Real, Stream, Tape, Values, stream};
use flows_finite::architecture::{AffineConfig, TransformerConfig};
use flows_finite::{
    Elementwise, FixedAffine, HalfLine, Interval, Planar, Radial, Scale, StickBreaking, Transformer,
};

use crate::sums::{apply, gradients};

/// Name, bijector, whether its range is all of R^D.
type Entry<E> = (String, Box<dyn Bijector<E>>, bool);

fn layer<E: Real>(map: impl Map<E> + 'static, rng: &mut Stream) -> Layer<E> {
    Layer::new(map, rng).unwrap()
}

/// Raw parameters that saturate what constrains them, beside some that do not.
fn residual<E: Real>(dim: usize) -> Vec<Entry<E>> {
    let mut all: Vec<Entry<E>> = Vec::new();
    let rng = &mut stream(1, "init");
    for scale in [0.0, 0.5, -0.7, 100.0, -100.0] {
        // Every v_u, and the raw alpha; 0 leaves the bijector as it starts.
        for (kind, name, mut part) in [
            ("planar", "direction", layer::<E>(Planar::new(dim), rng)),
            ("radial", "alpha", layer::<E>(Radial::new(dim), rng)),
        ] {
            let result = part.visit_mut(&mut |this, _, tensor| {
                if this != name || scale == 0.0 {
                    return Ok(());
                }
                let values: Vec<E> =
                    tensor.values().iter().map(|&v| v.signum() * E::of(scale)).collect();
                set_values(tensor, &values)
            });
            result.unwrap();
            all.push((format!("{kind} {scale}"), Box::new(part), true));
        }
    }
    let mut planar = layer::<E>(Planar::new(dim), rng);
    let result = planar.visit_mut(&mut |name, _, tensor| {
        if name == "weight" { set_values(tensor, &vec![E::zero(); dim]) } else { Ok(()) }
    });
    result.unwrap();
    all.push(("planar without weights".into(), Box::new(planar), true));
    all
}

fn all<E: Real>(dim: usize) -> Vec<Entry<E>> {
    let rng = &mut stream(1, "init");
    let bounded = AffineConfig { scale: Scale::Bounded { bound: 1.0 }, inverted: false };
    let transformers: [(_, Arc<dyn Transformer<E>>, _); 7] = [
        ("unit interval", Arc::new(Interval::new(0.0, 1.0).unwrap()), false),
        ("interval", Arc::new(Interval::new(-2.0, 3.0).unwrap()), false),
        ("far interval", Arc::new(Interval::new(1000.0, 1001.0).unwrap()), false),
        ("positive", Arc::new(HalfLine::new(0.0).unwrap()), false),
        ("half-line", Arc::new(HalfLine::new(-1.5).unwrap()), false),
        ("scaling", Arc::new(FixedAffine::new(2.5, -1.0).unwrap()), true),
        ("affine", bounded.shared().build().unwrap(), true),
    ];
    let mut list: Vec<Entry<E>> = Vec::new();
    for (name, transformer, onto) in transformers {
        let bijector = layer(Elementwise::new(dim, transformer), rng);
        list.push((name.into(), Box::new(bijector), onto));
    }
    list.push(("stick".into(), Box::new(layer(StickBreaking::new(dim), rng)), false));
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
    let out = match apply(&**bijector, forward, &input, &mut Tape::none()) {
        Ok(out) => out,
        Err(Error::NonFinite { row: 0, .. }) if !forward && !onto => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if out.value.values().iter().chain(&out.log_det.values()).any(|v| !v.is_finite()) {
        return Err("not finite".into());
    }
    for (name, gradient) in gradients(&**bijector, forward, &input).unwrap() {
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
            let out = apply(&*bijector, true, &input, &mut Tape::none()).unwrap();
            assert_eq!((out.value.rows(), out.log_det.rows()), (rows, rows), "{name}");
        }
        for forward in [true, false] {
            let wrong = batch(vec![0.2; 4], 1, 4).unwrap();
            let refused = apply(&*bijector, forward, &wrong, &mut Tape::none());
            assert!(matches!(refused, Err(Error::Dimension { .. })));
        }
        assert_eq!(bijector.dim(), 3);
    }
}

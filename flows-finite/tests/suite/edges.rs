//! Inputs at the edges of the numbers and of the splines, for every finite bijector.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::{
    Architecture, Batch, Bijector, Layer, Real, Result, Tape, Values, normals, stream,
};
use flows_finite::architecture::{
    AffineConfig, Conditioner, CouplingFlow, RationalQuadraticConfig, SplineConfig,
    TransformerConfig,
};
use flows_finite::{ActNorm, LuLinear, Permutation, Scale, Tails};

use crate::elements::{self, move_parameters};
use crate::sums::{apply, gradients};

const BOUND: f64 = 3.0;

/// Every bijector of the crate, as built.
fn all<E: Real>(dim: usize) -> Vec<(&'static str, Box<dyn Bijector<E>>)> {
    let rng = &mut stream(1, "init");
    let scale = Scale::Bounded { bound: 1.0 };
    let flow = |transformer| CouplingFlow {
        layers: 2,
        conditioner: Conditioner::perceptron(vec![6]),
        transformer,
        ..CouplingFlow::default()
    };
    let real_nvp = flow(AffineConfig { scale, inverted: false }.shared());
    let spline = SplineConfig { bins: 5, bound: BOUND, tails: Tails::Identity };
    let nsf = flow(RationalQuadraticConfig(spline).shared());
    let coupling = |transformer| {
        let network = (&[6, 6][..], Activation::Relu);
        Box::new(elements::coupling(transformer, (dim, 0), network, &mut stream(1, "init")))
    };
    let affine = |scale| AffineConfig { scale, inverted: false }.shared();
    let spline =
        |tails| RationalQuadraticConfig(SplineConfig { bins: 5, bound: BOUND, tails }).shared();
    vec![
        ("act-norm", Box::new(Layer::new(ActNorm::new(dim), rng).unwrap())),
        ("lu", Box::new(Layer::new(LuLinear::new(dim).unwrap(), rng).unwrap())),
        ("reverse", Box::new(Layer::new(Permutation::reverse(dim).unwrap(), rng).unwrap())),
        ("affine", coupling(&affine(scale))),
        ("exp", coupling(&affine(Scale::Exp))),
        ("spline", coupling(&spline(Tails::Identity))),
        ("linear tails", coupling(&spline(Tails::Linear))),
        ("real-nvp", Box::new(real_nvp.build(dim, 0, rng).unwrap())),
        ("nsf-coupling", Box::new(nsf.build(dim, 0, rng).unwrap())),
    ]
}

/// Moves learned parameters by about 1/2 a feature, so that a sum over features stays of order one
/// whatever their number.
fn moved<E: Real>(mut bijector: Box<dyn Bijector<E>>) -> Box<dyn Bijector<E>> {
    let size = 0.5 / (bijector.dim() as f64).sqrt();
    move_parameters(&mut *bijector, size);
    bijector
}

/// Rows full of each value, and rows in which it alternates with 0.3, either one first.
fn rows_of<E: Real>(values: &[f64], dim: usize) -> Batch<E> {
    let mut all = Vec::new();
    for &value in values {
        all.extend(vec![E::of(value); dim]);
        for phase in 0..2 {
            all.extend((0..dim).map(|j| E::of(if j % 2 == phase { value } else { 0.3 })));
        }
    }
    batch(all, values.len() * 3, dim).unwrap()
}

fn edges(largest: f64, subnormal: f64) -> Vec<f64> {
    let beside = BOUND * (1.0 + 1e-7);
    let positive = [BOUND, beside, 2.0 * BOUND - beside, 100.0, largest, subnormal, 1.0];
    positive.iter().flat_map(|&v| [v, -v]).chain([0.0, -0.0]).collect()
}

fn subnormal<E: Real>() -> f64 {
    E::min_positive_value().as_f64() / 8.0
}

/// Calls `check` with every bijector, moved and not, in either direction; it says what is wrong.
fn for_all<E: Real>(
    dims: &[usize],
    check: impl Fn(&str, &dyn Bijector<E>, bool) -> Result<(), String>,
) {
    let mut problems = Vec::new();
    for &dim in dims {
        for (start, list) in [("fresh", all::<E>(dim)), ("moved", all(dim))] {
            for (name, bijector) in list {
                let bijector = if start == "moved" { moved(bijector) } else { bijector };
                for (forward, way) in [(true, "forward"), (false, "inverse")] {
                    if let Err(problem) = check(name, &*bijector, forward) {
                        problems.push(format!("{start} {name}, dim {dim}, {way}: {problem}"));
                    }
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}:\n{}", E::NAME, problems.join("\n"));
}

/// Values and log-dets, and with `slopes` gradients, at all edges up to `largest`.
fn finite_up_to<E: Real>(largest: f64, slopes: bool) {
    for_all::<E>(&[1, 2, 3, 256], |name, bijector, forward| {
        // exp of an unbounded log-scale may overflow by right: its conditioner sees `largest`.
        // So may straight tails: their slope is the softplus of something as large.
        let overflows = name == "exp" || (name == "linear tails" && largest > 1e7);
        let edges = edges(if overflows { 5.0 } else { largest }, subnormal::<E>());
        let (dim, input) = (bijector.dim(), rows_of::<E>(&edges, bijector.dim()));
        let out = apply(bijector, forward, &input, &mut Tape::none()).unwrap();
        let spoiled = |what: &str, values: &[E], width: usize| match values
            .iter()
            .position(|v| !v.is_finite())
        {
            None => Ok(()),
            Some(i) => {
                let (row, value) = (i / width, values[i]);
                let place = ["all", "even features", "odd features"][row % 3];
                Err(format!("{what} {value} with {:e} in {place}", edges[row / 3]))
            }
        };
        spoiled("value", &out.value.values(), dim)?;
        spoiled("log-det", &out.log_det.values(), 1)?;
        if slopes {
            for (part, gradient) in gradients(bijector, forward, &input).unwrap() {
                if gradient.iter().any(|g| g.is_nan()) {
                    return Err(format!("NaN in the gradient of {part}"));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn values_and_gradients_are_finite_up_to_a_million_in_single_precision() {
    finite_up_to::<f32>(1e6, true);
}

#[test]
fn values_and_gradients_are_finite_up_to_1e30_in_double_precision() {
    finite_up_to::<f64>(1e6, true);
    finite_up_to::<f64>(1e30, true);
}

#[test]
fn values_are_finite_up_to_1e30_in_single_precision() {
    // Nothing here is larger than 1e30 times a few sums of weights: far from 3e38. Products of two
    // such numbers are not representable, so gradients of weights are not asked for.
    finite_up_to::<f32>(1e30, false);
}

#[test]
fn fresh_bijectors_leave_every_edge_in_place() {
    fn check<E: Real>() {
        let epsilon = E::epsilon().as_f64();
        for dim in [1, 2, 256] {
            for (name, bijector) in all::<E>(dim) {
                if name == "reverse" {
                    continue;
                }
                let input = rows_of::<E>(&edges(1e30, subnormal::<E>()), dim);
                for forward in [true, false] {
                    let out = apply(&*bijector, forward, &input, &mut Tape::none()).unwrap();
                    for (got, given) in out.value.values().iter().zip(input.values()) {
                        let (got, given) = (got.as_f64(), given.as_f64());
                        // Two splines: knots summed over 5 bins of the interval, some ten
                        // roundings of a number up to the bound each.
                        let allowed = 2.0 * 16.0 * epsilon * BOUND.max(given.abs());
                        // Beyond the bound nothing is computed, but for tails of slope one or so.
                        let exact = given.abs() > BOUND && name != "linear tails";
                        let allowed = if exact { 0.0 } else { allowed };
                        assert!((got - given).abs() <= allowed, "{name} {dim}: {got:e} {given:e}");
                    }
                    for log_det in out.log_det.values() {
                        // A few dozen roundings for each transformed feature of two layers.
                        let allowed = 2.0 * 64.0 * epsilon * dim as f64;
                        assert!(log_det.as_f64().abs() <= allowed, "{name} {dim}: {log_det}");
                    }
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn batches_of_every_size_keep_their_shape() {
    for_all::<f32>(&[1, 2, 64], |_, bijector, forward| {
        let dim = bijector.dim();
        for rows in [1, 2, 127, 128, 129, 1000] {
            let values: Vec<f32> = normals(rows * dim, &mut stream(rows as u64, "rows"));
            let input = batch(values, rows, dim).unwrap();
            let out = apply(bijector, forward, &input, &mut Tape::none()).unwrap();
            assert_eq!((out.value.rows(), out.log_det.rows()), (rows, rows));
            let all = [out.value.values(), out.log_det.values()].concat();
            if all.len() != rows * (dim + 1) || all.iter().any(|v| !v.is_finite()) {
                return Err(format!("{rows} rows"));
            }
        }
        Ok(())
    });
}

#[test]
fn a_batch_of_another_width_is_an_error() {
    for_all::<f64>(&[1, 3], |_, bijector, forward| {
        for width in [1, 2, 3, 4] {
            let input = batch(vec![0.5; 2 * width], 2, width).unwrap();
            let result = apply(bijector, forward, &input, &mut Tape::none());
            if result.is_ok() != (width == bijector.dim()) {
                return Err(format!("{width} columns"));
            }
        }
        Ok(())
    });
}

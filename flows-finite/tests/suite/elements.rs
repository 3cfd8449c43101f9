//! What the tests of transformers share: evaluation at points, differences, golden files, edges.
//!
//! Transformers come by config: so they are compiled in the library and not here once more.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::config::kinds;
use flows_core::operation::LANES;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{
    Tolerance, check_bijector, close_number, differences, normal_point, perturb,
};
use flows_core::{
    Architecture, Bijector, Chain, Context, Parameters, Real, Result, Role, Stream, Tape, Values,
    normals, stream,
};
use flows_finite::Tails;
use flows_finite::architecture::{
    CircularSplineConfig, Conditioner, CouplingFlow, CubicSplineConfig, LinearRationalConfig,
    LinearSplineConfig, Mixing, Perceptron, QuadraticSplineConfig, RationalQuadraticConfig,
    SplineConfig, TransformerConfig,
};
use flows_finite::transformer::{Inner, Outer, Transformer};

/// A transformer by config.
pub(crate) type Config = Arc<dyn TransformerConfig>;

/// Of every kind that is registered, the default.
pub(crate) fn registered() -> Vec<Config> {
    let of_kind = |kind| serde_json::from_value(serde_json::json!({ "kind": kind })).unwrap();
    kinds::<Config>().into_iter().map(of_kind).collect()
}

/// Every spline that has such tails.
pub(crate) fn splines(bins: usize, bound: f64, tails: Tails) -> Vec<Config> {
    let config = SplineConfig { bins, bound, tails };
    let mut all = vec![
        QuadraticSplineConfig(config).shared(),
        CubicSplineConfig(config).shared(),
        RationalQuadraticConfig(config).shared(),
        LinearRationalConfig(config).shared(),
    ];
    match tails {
        Tails::Identity => all.push(LinearSplineConfig(config).shared()),
        Tails::Circular => all.push(CircularSplineConfig(config).shared()),
        Tails::Linear => {}
    }
    all
}

/// A coupling that transforms the second half of `dim` features, its conditioner a perceptron.
pub(crate) fn coupling<E: Real>(
    transformer: &Config,
    (dim, context): (usize, usize),
    (hidden, activation): (&[usize], Activation),
    rng: &mut Stream,
) -> Chain<E> {
    let conditioner = Conditioner::Perceptron(Perceptron { hidden: hidden.to_vec(), activation });
    let (layers, mixing, act_norm) = (1, Mixing::None, false);
    let flow = CouplingFlow {
        layers,
        transformer: Arc::clone(transformer),
        conditioner,
        mixing,
        act_norm,
        ..CouplingFlow::default()
    };
    flow.build(dim, context, rng).unwrap()
}

/// Moves every learned value by `size` N(0, 1), the same in either precision.
pub(crate) fn move_parameters<E: Real>(model: &mut dyn Parameters<E>, size: f64) {
    let mut rng = stream(2, "move");
    let result = model.visit_mut(&mut |_, role, tensor| {
        if role == Role::Fixed {
            return Ok(());
        }
        let noise = normals::<f64>(tensor.values().len(), &mut rng);
        let values = tensor.values().into_iter().zip(noise);
        set_values(tensor, &values.map(|(v, n)| v + E::of(size * n)).collect::<Vec<E>>())
    });
    result.unwrap();
}

/// One value for all lanes.
pub(crate) fn spread<E: Real>(values: &[f64]) -> Vec<E> {
    values.iter().flat_map(|&v| vec![E::of(v); LANES]).collect()
}

/// Values and log-slopes at points under one set of parameters.
pub(crate) fn at<E: Real>(
    map: &Config,
    raw: &[f64],
    points: &[f64],
    inverse: bool,
) -> Result<(Vec<f64>, Vec<f64>)> {
    values_of(&*map.build::<E>()?, raw, points, inverse)
}

fn values_of<E: Real>(
    map: &dyn Transformer<E>,
    raw: &[f64],
    points: &[f64],
    inverse: bool,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let theta: Vec<E> = spread(raw);
    let (mut values, mut slopes) = (Vec::new(), Vec::new());
    for part in points.chunks(LANES) {
        let mut input = vec![E::of(part[0]); LANES];
        for (input, &point) in input.iter_mut().zip(part) {
            *input = E::of(point);
        }
        let (mut value, mut slope) = (vec![E::zero(); LANES], vec![E::zero(); LANES]);
        if inverse {
            map.inverse(&input, &theta, &mut value, &mut slope)?;
        } else {
            map.forward(&input, &theta, &mut value, &mut slope)?;
        }
        values.extend(value[..part.len()].iter().map(|v| v.as_f64()));
        slopes.extend(slope[..part.len()].iter().map(|v| v.as_f64()));
    }
    Ok((values, slopes))
}

/// Gradients of x and of the parameters for those of the value and the log-slope.
pub(crate) fn gradient<E: Real>(
    map: &dyn Transformer<E>,
    raw: &[f64],
    x: f64,
    (value, log_slope): (f64, f64),
    inverse: bool,
) -> Vec<f64> {
    let theta: Vec<E> = spread(raw);
    let (mut d_x, mut d_theta) = (vec![E::nan(); LANES], vec![E::nan(); theta.len()]);
    let (value, log_slope): (Vec<E>, Vec<E>) = (spread(&[value]), spread(&[log_slope]));
    let outer = Outer { value: &value, log_slope: &log_slope };
    let inner = Inner { value: &mut d_x, theta: &mut d_theta };
    if inverse {
        map.inverse_gradient(&spread::<E>(&[x]), &theta, outer, inner);
    } else {
        map.forward_gradient(&spread::<E>(&[x]), &theta, outer, inner);
    }
    d_x.iter().chain(&d_theta).step_by(LANES).map(|g| g.as_f64()).collect()
}

pub(crate) fn draws(count: usize, seed: u64) -> Vec<f64> {
    normals(count, &mut stream(seed, "draws"))
}

/// Value and log-slope under raw parameters at a point.
pub(crate) type Formula<'a> = dyn Fn(&[f64], f64) -> (f64, f64) + 'a;

/// Holds value, log-slope and gradients against a plain version and its central differences.
pub(crate) fn check_against(
    map: &Config,
    plain: &Formula<'_>,
    raw: &[f64],
    points: &[f64],
    tolerance: f64,
) {
    let map = &*map.build::<f64>().unwrap();
    let (values, logs) = values_of(map, raw, points, false).unwrap();
    for ((&x, value), log) in points.iter().zip(values).zip(logs) {
        let (expected, expected_log) = plain(raw, x);
        close_number(&format!("value at {x}"), value, expected, tolerance);
        close_number(&format!("log-slope at {x}"), log, expected_log, tolerance);
        for (gy, gl) in [(1.0, 0.0), (0.0, 1.0), (0.7, -1.3)] {
            let objective = |raw: &[f64], x: f64| {
                let (y, l) = plain(raw, x);
                gy * y + gl * l
            };
            let all = [&[x], raw].concat();
            let expected = differences(&all, |moved| objective(&moved[1..], moved[0]));
            let got = gradient(map, raw, x, (gy, gl), false);
            let size = expected.iter().fold(1.0_f64, |size, e| size.max(e.abs()));
            for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
                let what = format!("gradient {index} of ({gy}, {gl}) at {x}");
                close_number(&what, got / size, expected / size, 1e-6);
            }
        }
    }
}

/// Passes the transformer through the workspace's check within couplings of 1 to 3 features, its
/// parameters moved by `scale` N(0, 1) and by `offset`.
pub(crate) fn check_couplings(
    transformer: &Config,
    offset: &[f64],
    (scale, spread): (f64, f64),
    dims: &[usize],
) {
    for &dim in dims {
        let sizes = (dim, usize::from(dim == 2));
        let rng = &mut stream(7, "init");
        let mut coupling = coupling(transformer, sizes, (&[3], Activation::Tanh), rng);
        perturb(&mut coupling, scale, &mut stream(3, "perturb")).unwrap();
        let shift = coupling.visit_mut(&mut |name, _, tensor| {
            let mut values = tensor.values();
            if name.ends_with("bias1") {
                values.iter_mut().zip(offset.iter().cycle()).for_each(|(v, o)| *v += o);
            }
            set_values(tensor, &values)
        });
        shift.unwrap();
        check_bijector(&mut coupling, normal_point(spread), Tolerance::default());
    }
}

/// Bounds of the rounding of a map at a point.
pub(crate) struct Rounding {
    pub(crate) value: f64,
    pub(crate) log_slope: f64,
    /// What the search for an inverse leaves of x.
    pub(crate) x: f64,
}

/// The unit of rounding of single precision: half a unit of the last place.
pub(crate) const UNIT: f64 = 0.5 * f32::EPSILON as f64;

/// What a root search leaves: it ends at 4 epsilon (1 + |x|).
pub(crate) fn left_by_search(x: f64) -> f64 {
    8.0 * UNIT * (1.0 + x.abs())
}

/// Holds single precision against double precision within bounds of its rounding, which are those
/// at the point itself. An inverse is held to the value that double precision finds at it: as far
/// from y as the value is rounded in the search's last two evaluations, and the slope times what
/// the search leaves of x.
pub(crate) fn check_single(
    map: &Config,
    raw: &[f64],
    points: &[f64],
    rounding: &dyn Fn(&[f64], f64) -> Rounding,
) {
    // Both precisions see the same numbers.
    let single = |v: &f64| f64::from(*v as f32);
    let raw: Vec<f64> = raw.iter().map(single).collect();
    let points: Vec<f64> = points.iter().map(single).collect();
    let (values, logs) = at::<f64>(map, &raw, &points, false).unwrap();
    let (narrow, narrow_logs) = at::<f32>(map, &raw, &points, false).unwrap();
    for (i, &x) in points.iter().enumerate() {
        let bound = rounding(&raw, x);
        let (error, log_error) = (narrow[i] - values[i], narrow_logs[i] - logs[i]);
        assert!(error.abs() <= bound.value, "value at {x}: {error:e} > {:e}", bound.value);
        let most = bound.log_slope;
        assert!(log_error.abs() <= most, "log-slope at {x}: {log_error:e} > {most:e}");
    }
    let images: Vec<f64> = values.iter().map(single).collect();
    let (back, negated) = at::<f32>(map, &raw, &images, true).unwrap();
    let (again, logs) = at::<f64>(map, &raw, &back, false).unwrap();
    for (i, &x) in back.iter().enumerate() {
        let bound = rounding(&raw, x);
        let (error, log_error) = (again[i] - images[i], negated[i] + logs[i]);
        let most = 2.0 * bound.value + logs[i].exp() * bound.x;
        assert!(error.abs() <= most, "inverse {x} of {}: {error:e} > {most:e}", images[i]);
        let most = 2.0 * bound.log_slope;
        assert!(log_error.abs() <= most, "log-slope at inverse {x}: {log_error:e} > {most:e}");
    }
}

/// A coupling, as it starts and moved, answers with finite numbers or an error whatever it is
/// given; returns the count of errors of the fresh one for inputs up to a million.
pub(crate) fn edges<E: Real>(transformer: &Config) -> usize {
    let tiny = E::min_positive_value().as_f64() / 8.0;
    let mut errors = 0;
    for (dim, moved) in [(1, false), (2, false), (3, false), (1, true), (2, true), (3, true)] {
        let mut rng = stream(1, "init");
        let network = (&[4][..], Activation::Relu);
        let mut coupling = coupling::<E>(transformer, (dim, 0), network, &mut rng);
        let shift = coupling.visit_mut(&mut |_, _, tensor| {
            let size = E::of(if moved { 0.3 } else { 0.0 });
            let noise = normals::<E>(tensor.values().len(), &mut rng);
            let values: Vec<E> =
                tensor.values().iter().zip(noise).map(|(&v, n)| v + size * n).collect();
            set_values(tensor, &values)
        });
        shift.unwrap();
        for value in [0.0, 2.0, 1e6, 1e30, tiny] {
            for (point, forward) in [(value, true), (-value, true), (value, false), (-value, false)]
            {
                let input = batch(vec![E::of(point); dim], 1, dim).unwrap();
                let (none, tape) = (Context::none(), &mut Tape::none());
                let out = if forward {
                    coupling.forward(&input, &none, tape)
                } else {
                    coupling.inverse(&input, &none, tape)
                };
                match out {
                    Ok(out) => {
                        let all = [out.value.values(), out.log_det.values()].concat();
                        assert!(all.iter().all(|v| v.is_finite()), "{point:e} {forward}");
                    }
                    Err(_) => errors += usize::from(value <= 1e6 && !moved),
                }
            }
        }
    }
    errors
}

/// Values, slopes and gradients at points are numbers; infinite gradients are honest, NaN are not.
pub(crate) fn numbers_at<E: Real>(map: &Config, raw: &[f64], points: &[f64]) {
    let map = &*map.build::<E>().unwrap();
    for &x in points {
        for inverse in [false, true] {
            let name = E::NAME;
            let out = values_of(map, raw, &[x], inverse);
            assert!(out.is_ok(), "{name} {x:e} {inverse}: {out:?}");
            let (value, log) = out.unwrap();
            assert!(value[0].is_finite() && log[0].is_finite(), "{name} {x:e} {inverse}");
            let place = if inverse { value[0] } else { x };
            let gradient = gradient(map, raw, place, (1.0, 1.0), inverse);
            assert!(gradient.iter().all(|g| !g.is_nan()), "{name} {x:e} {inverse}: {gradient:?}");
        }
    }
}

//! Sylvester flows against a plain version, their inverse and its gradient, and the edges.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::{batch, set_values};
use flows_core::testing::{Tolerance, assert_error, check_bijector, normal_point};
use flows_core::{
    Error, Layer, Mapped, Parameters, Real, Result, Stream, Tape, Values, normals, stream,
};
use flows_finite::linear::Generator;
use flows_finite::residual::Sylvester;
use nalgebra::{DMatrix, DVector};

use crate::sums::{apply, gradients};

fn all<E: Real>(dim: usize, units: usize) -> Vec<Layer<E>> {
    let rng = &mut stream(1, "init");
    let mut flows = Vec::new();
    for generator in [Generator::Exponential, Generator::Cayley, Generator::Householder(3)] {
        flows.push(Layer::new(Sylvester::new(dim, units, generator).unwrap(), rng).unwrap());
    }
    for reversed in [false, true] {
        flows.push(triangular(dim, units, reversed, rng));
    }
    flows
}

fn triangular<E: Real>(dim: usize, units: usize, reversed: bool, rng: &mut Stream) -> Layer<E> {
    Layer::new(Sylvester::triangular(dim, units, reversed).unwrap(), rng).unwrap()
}

fn mapped<E: Real>(
    flow: &Layer<E>,
    forward: bool,
    values: Vec<E>,
    dim: usize,
) -> Result<Mapped<E>> {
    let rows = values.len() / dim;
    apply(flow, forward, &batch(values, rows, dim)?, &mut Tape::none())
}

fn moved<E: Real>(mut flow: Layer<E>, scale: f64) -> Layer<E> {
    let mut rng = stream(2, "move");
    let result = flow.visit_mut(&mut |_, _, tensor| {
        let noise = normals::<f64>(tensor.values().len(), &mut rng);
        let values = tensor.values().into_iter().zip(noise);
        let values: Vec<E> = values.map(|(v, n)| v + E::of(scale * n)).collect();
        set_values(tensor, &values)
    });
    result.unwrap();
    flow
}

fn get<E: Real>(model: &impl Parameters<E>, part: &str) -> Vec<f64> {
    let mut values = Vec::new();
    model.visit(&mut |name, _, tensor| {
        if name == part {
            values = tensor.values().iter().map(|v| v.as_f64()).collect();
        }
    });
    values
}

/// The upper triangle as the flow reads it.
fn upper(flow: &Layer<f64>, part: &str, units: usize) -> DMatrix<f64> {
    let raw = get(flow, part);
    DMatrix::from_fn(units, units, |i, j| match i.cmp(&j) {
        std::cmp::Ordering::Less => raw[i * units + j],
        std::cmp::Ordering::Equal => 0.999 * raw[i * units + j].tanh(),
        std::cmp::Ordering::Greater => 0.0,
    })
}

#[test]
fn values_and_log_dets_agree_with_a_plain_version() {
    for (dim, units) in [(1, 1), (2, 1), (5, 3), (6, 6)] {
        for reversed in [false, true] {
            let rng = &mut stream(1, "init");
            let flow = moved(triangular::<f64>(dim, units, reversed, rng), 0.7);
            let (r, s) = (upper(&flow, "r", units), upper(&flow, "r_tilde", units));
            let b = DVector::from_vec(get(&flow, "bias"));
            let q = DMatrix::from_fn(dim, units, |i, j| {
                f64::from(i == if reversed { dim - 1 - j } else { j })
            });
            let z: DVector<f64> = DVector::from_vec(normals(dim, rng));
            let h = (&s * q.transpose() * &z + b).map(f64::tanh);
            let x = &z + &q * &r * &h;
            let slopes = DMatrix::from_diagonal(&h.map(|h| 1.0 - h * h));
            let jacobian = DMatrix::identity(dim, dim) + &q * &r * slopes * &s * q.transpose();
            let out = mapped(&flow, true, z.as_slice().to_vec(), dim).unwrap();
            for (got, want) in out.value.values().iter().zip(&x) {
                assert!((got - want).abs() < 1e-13, "{dim} {units}: {got} {want}");
            }
            let log_det = out.log_det.values()[0];
            let plain = jacobian.lu().determinant().ln();
            assert!((log_det - plain).abs() < 1e-12, "{dim} {units}: {log_det} {plain}");
        }
    }
}

#[test]
fn sylvester_flows_are_bijective() {
    for (dim, units) in [(1, 1), (2, 1), (2, 2), (5, 3), (5, 5)] {
        for flow in all(dim, units) {
            let mut flow = moved(flow, 0.6);
            check_bijector(&mut flow, normal_point(1.5), Tolerance::default());
        }
    }
}

#[test]
fn they_start_at_the_identity_with_a_gradient() {
    for flow in all::<f64>(4, 2) {
        let rng = &mut stream(4, "points");
        let z: Vec<f64> = normals(12, rng);
        let out = mapped(&flow, true, z.clone(), 4).unwrap();
        assert_eq!(out.value.values(), z);
        assert_eq!(out.log_det.values(), vec![0.0; 3]);
        let all = gradients(&flow, true, &batch(z, 3, 4).unwrap()).unwrap();
        let (_, gradient) = all.iter().find(|(name, _)| name == "r").unwrap();
        assert!(gradient.iter().filter(|g| g.abs() > 1e-3).count() == 3, "{gradient:?}");
    }
}

/// Units with c from -0.998 (nearly flat at 0) to 0.998, over targets of every size; in the end z
/// solves z + r tanh(s z) = x to rounding.
#[test]
fn the_inverse_converges_for_every_slope_and_size() {
    fn check<E: Real>() -> u64 {
        let mut most = 0;
        let rng = &mut stream(1, "init");
        for r in [-30.0, -3.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 3.0, 30.0] {
            for s in [-30.0, -1.0, 0.5, 30.0] {
                let mut flow = triangular::<E>(1, 1, false, rng);
                let result = flow.visit_mut(&mut |name, _, tensor| match name {
                    "r" => set_values(tensor, &[E::of(r)]),
                    "r_tilde" => set_values(tensor, &[E::of(s)]),
                    _ => Ok(()),
                });
                result.unwrap();
                let prepared = flow.prepared().unwrap();
                let [own_r, own_s] = [2, 4].map(|diagonal| prepared[diagonal][0].as_f64());
                let sizes = (-120..60).map(|k| 10_f64.powf(f64::from(k) / 4.0));
                let z: Vec<E> = sizes.flat_map(|z| [E::of(z), E::of(-z)]).collect();
                let x = mapped(&flow, true, z.clone(), 1).unwrap().value.values();
                let back = mapped(&flow, false, x.clone(), 1).unwrap();
                most = most.max(back.work.iterations);
                for ((&z, x), back) in z.iter().zip(x).zip(back.value.values()) {
                    // Rounding of x, and of the terms of the residual, over a slope of 0.002.
                    let allowed = 20.0 * E::epsilon().as_f64() * 500.0 * z.abs().as_f64();
                    let error = (back - z).abs().as_f64();
                    assert!(error <= allowed, "{r} {s} {z}: {x} {back} {error:e}");
                    // Four of the stopping rule and four of tanh in the root, four of tanh and half
                    // a dozen of products and sums, times slopes up to 2, on the way to z.
                    let (x, back) = (x.as_f64(), back.as_f64());
                    let shift = own_r * (own_s * back).tanh();
                    let residual = (back + shift - x).abs();
                    let terms = back.abs() + shift.abs() + x.abs();
                    let allowed = 16.0 * E::epsilon().as_f64() * terms;
                    assert!(residual <= allowed, "{r} {s} {x}: {back} {residual:e}");
                }
            }
        }
        most
    }
    let (single, double) = (check::<f32>(), check::<f64>());
    assert!(single <= 12 && double <= 12, "{single} {double}");
}

#[test]
fn a_row_that_is_not_finite_is_named() {
    let flow = moved(triangular::<f64>(2, 2, false, &mut stream(1, "init")), 0.5);
    for bad in [f64::NAN, f64::INFINITY] {
        let mut x = vec![0.3; 600];
        x[2 * 205] = bad;
        let error = mapped(&flow, false, x, 2).unwrap_err();
        assert!(matches!(error, Error::NotConverged { row: 205, .. }), "{error}");
    }
    // Without a number for c no row has a root.
    let mut flow = triangular::<f64>(1, 1, false, &mut stream(1, "init"));
    let result = flow.visit_mut(&mut |name, _, tensor| match name {
        "r" => set_values(tensor, &[f64::NAN]),
        _ => Ok(()),
    });
    result.unwrap();
    let error = mapped(&flow, false, vec![0.3; 600], 1).unwrap_err();
    assert!(matches!(error, Error::NotConverged { row: 0, .. }), "{error}");
}

#[test]
fn settings_out_of_range_are_errors() {
    for units in [0, 4] {
        assert_error!(
            Sylvester::triangular(3, units, false),
            Error::Parameter { .. },
            ["units of a Sylvester flow", "from 1 to its features", &format!("got {units}")]
        );
        assert_error!(
            Sylvester::new(3, units, Generator::Cayley),
            Error::Parameter { .. },
            ["units of a Sylvester flow", "from 1 to its features", &format!("got {units}")]
        );
    }
    assert_error!(
        Sylvester::new(3, 2, Generator::Householder(0)),
        Error::Parameter { .. },
        ["reflections", "at least 1"]
    );
}

#[test]
fn edges_stay_finite() {
    fn check<E: Real>(largest: f64) {
        let tiny = E::min_positive_value().as_f64() / 8.0;
        for (dim, units) in [(1, 1), (2, 2), (32, 16)] {
            for flow in all::<E>(dim, units) {
                let flow = moved(flow, 0.5 / (dim as f64).sqrt());
                for value in [0.0, tiny, 1.0, 100.0, 1e6, largest] {
                    for value in [value, -value] {
                        let input = batch(vec![E::of(value); dim * 2], 2, dim).unwrap();
                        for forward in [true, false] {
                            let out = apply(&flow, forward, &input, &mut Tape::none()).unwrap();
                            assert!(out.value.values().iter().all(|v| v.is_finite()), "{value:e}");
                            assert!(out.log_det.values().iter().all(|v| v.is_finite()));
                            for (part, gradient) in gradients(&flow, forward, &input).unwrap() {
                                assert!(!gradient.iter().any(|g| g.is_nan()), "{part}");
                            }
                        }
                    }
                }
            }
        }
    }
    check::<f32>(1e30);
    check::<f64>(1e30);
}

#[test]
fn single_precision_is_as_good_as_its_rounding() {
    for (dim, units) in [(1, 1), (5, 3), (32, 32)] {
        for (wide, narrow) in all::<f64>(dim, units).into_iter().zip(all::<f32>(dim, units)) {
            let scale = 0.5 / (dim as f64).sqrt();
            let (wide, narrow) = (moved(wide, scale), moved(narrow, scale));
            let z: Vec<f32> = normals(3 * dim, &mut stream(4, "points"));
            let double = z.iter().map(|&z| f64::from(z)).collect();
            let a = mapped(&wide, true, double, dim).unwrap();
            let b = mapped(&narrow, true, z.clone(), dim).unwrap();
            let c = mapped(&narrow, false, b.value.values(), dim).unwrap();
            for (a, b) in a.value.values().iter().zip(b.value.values()) {
                assert!((a - f64::from(b)).abs() < 1e-5, "{dim} {units}: {a} {b}");
            }
            for (a, b) in a.log_det.values().iter().zip(b.log_det.values()) {
                assert!((a - f64::from(b)).abs() < 1e-5, "{dim} {units}: {a} {b}");
            }
            for (z, c) in z.iter().zip(c.value.values()) {
                assert!((z - c).abs() < 1e-5 * (1.0 + z.abs()), "{dim} {units}: {z} {c}");
            }
        }
    }
}

//! Path integrals that are added to the training loss: values, gradients, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::{
    Accuracy, BottleneckField, Continuous, Direction, Divergence, Field, GradientMethod,
    HutchPlusPlus, Hutchinson, MlpField, Penalties, PlanarField, PotentialField, Probe, Solver,
    TimeInput,
};
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::testing::{assert_error, close, flat, golden, perturb};
use flows_core::{
    Batch, Bijector, Context, Error, LastLayer, Network, Parameters, Purpose, Result, Tape, Values,
    normals, stream,
};

use super::golden::{self, TOLERANCE};
use super::objective::{
    Asked, adaptive, assert_near, equal, exact, fixed, perceptron, replace, replay, run, tolerance,
    truth,
};
use super::trace_estimates::moved;

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Inverse];

fn weights(kinetic: f64, frobenius: f64, hamilton_jacobi: f64) -> Penalties {
    Penalties { kinetic, frobenius, hamilton_jacobi }
}

/// The penalty of each row in a traced pass.
fn penalty(flow: &dyn Bijector<f64>, direction: Direction, input: &Batch<f64>) -> Option<Vec<f64>> {
    let out = run(flow, direction, input, &Context::none(), &mut Tape::recording());
    out.unwrap().penalty.map(|penalty| penalty.values())
}

#[test]
fn golden_kinetic_energy_and_frobenius_norm() {
    for case in golden("mlp_ode") {
        let (kinetic, frobenius) =
            (flat(&case["kinetic_energy"]), flat(&case["jacobian_frobenius"]));
        let inputs = golden::inputs(&case);
        let outputs = flat(&case["outputs"]);
        let outputs = batch(outputs, inputs.rows(), flows_core::tensor::columns(&inputs)).unwrap();
        // Equal steps of order 4 and h = 1/200: 6e-10 and factors of order ten.
        let solvers = adaptive(tolerance(1e-9)).into_iter().chain([Solver::Rk4(equal(200))]);
        for solver in solvers {
            for (k, f) in [(1.0, 0.0), (0.0, 1.0), (2.0, 0.5)] {
                let flow = golden::mlp_flow(&case, exact(solver), truth());
                let mut flow = flow.with_penalties(weights(k, f, 0.0)).unwrap();
                let pairs = kinetic.iter().zip(&frobenius);
                let expected: Vec<f64> = pairs.map(|(a, b)| k * a + f * b).collect();
                // Reporting knows no penalties.
                assert!(penalty(&flow, Direction::Forward, &inputs).is_none());
                flow.set_purpose(Purpose::Training).unwrap();
                let what = format!("{k} kinetic + {f} frobenius, {solver:?}");
                let got = penalty(&flow, Direction::Forward, &inputs).unwrap();
                close(&what, &got, &expected, TOLERANCE);
                // The same path the other way.
                let got = penalty(&flow, Direction::Inverse, &outputs).unwrap();
                close(&what, &got, &expected, TOLERANCE);
                flow.set_purpose(Purpose::Reporting).unwrap();
                assert!(penalty(&flow, Direction::Inverse, &outputs).is_none());
            }
            let mut flow = golden::mlp_flow(&case, exact(solver), truth());
            flow.set_purpose(Purpose::Training).unwrap();
            let none = penalty(&flow, Direction::Forward, &inputs);
            assert!(none.is_none_or(|p| p.iter().all(|p| *p == 0.0)), "no weight, no penalty");
        }
    }
}

#[test]
fn penalties_change_neither_value_nor_log_det() {
    let z = batch(normals::<f64>(90, &mut stream(1, "z")), 30, 3).unwrap();
    for solver in adaptive(tolerance(1e-8)).into_iter().chain(fixed(9).map(|(solver, _)| solver)) {
        let map = |penalties| {
            let flow = perceptron((3, 0), TimeInput::Concat, [0.0, 1.0], exact(solver));
            let mut flow = flow.with_penalties(penalties).unwrap();
            flow.set_purpose(Purpose::Training).unwrap();
            let out = flow.forward(&z, &Context::none(), &mut Tape::recording()).unwrap();
            [out.value.values(), out.log_det.values()].concat()
        };
        let pairs = map(weights(0.0, 0.0, 0.0)).into_iter().zip(map(weights(1.0, 1.0, 0.0)));
        // Ten tolerances each, as penalties take part in the choice of steps.
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 2e-7), "{solver:?}");
    }
}

/// Gradients of value, log-det and penalties by every solver, replay and adjoint.
fn check_gradients(what: &str, asked: &Asked, build: impl Fn(Solver) -> Continuous<f64>) {
    for (solver, _) in fixed(7) {
        let mut flow = build(solver).with_gradient(replay(2));
        let expected = asked.differences(&mut flow);
        // The discrete map: rounding and h^4 of the differences.
        assert_near(&format!("{what} {solver:?}"), &asked.gradients(&flow), &expected, 1e-8);
    }
    let expected = asked.differences(&mut build(truth().solver));
    for solver in adaptive(tolerance(1e-8)) {
        for gradient in [replay(1), replay(32), GradientMethod::Adjoint] {
            let got = asked.gradients(&build(solver).with_gradient(gradient));
            let what = format!("{what} {solver:?} {gradient:?}");
            assert_near(&what, &got, &expected, 100.0 * 1e-8);
        }
    }
}

#[test]
fn gradients_with_penalties_agree_with_differences() {
    let estimate =
        |probes, distribution| Divergence::Hutchinson(Hutchinson { probes, distribution });
    let divergences = [
        Divergence::Exact,
        estimate(2, Probe::Rademacher),
        estimate(1, Probe::Gaussian),
        estimate(2, Probe::Orthogonal),
    ];
    for divergence in divergences {
        for penalties in [weights(0.7, 0.0, 0.0), weights(0.0, 0.6, 0.0), weights(0.3, 0.4, 0.0)] {
            for direction in DIRECTIONS {
                let what = format!("{divergence:?} {penalties:?} {direction:?}");
                check_gradients(&what, &Asked::new(direction, 2, 2, 1), |solver| {
                    let accuracy = Accuracy { solver, divergence };
                    let times = [0.1, 0.9];
                    let flow = perceptron((2, 1), TimeInput::ConcatSquash, times, accuracy);
                    let mut flow = flow.with_penalties(penalties).unwrap();
                    flow.set_purpose(Purpose::Training).unwrap();
                    flow.begin_step(&mut stream(3, "probes")).unwrap();
                    flow
                });
            }
        }
    }
}

/// A flow along a potential; `drift` is the share of the time in it.
fn potential(solver: Solver, penalties: Penalties, drift: Option<f64>) -> Continuous<f64> {
    let kernel = PotentialField::new(2, 1, 4, 2).unwrap();
    let mut rng = stream(6, "init");
    let field = Network::new(kernel, LastLayer::Random, &mut rng).unwrap();
    let accuracy = Accuracy { solver, divergence: Divergence::Closed };
    let mut flow = Continuous::new(field, [0.1, 0.9], accuracy, accuracy).unwrap();
    perturb(&mut flow, 0.3, &mut rng).unwrap();
    if let Some(drift) = drift {
        replace(&mut flow, "field.linear", &[0.3, -0.4, drift]);
    }
    let mut flow = flow.with_penalties(penalties).unwrap();
    flow.set_purpose(Purpose::Training).unwrap();
    flow
}

#[test]
fn gradients_with_the_hamilton_jacobi_penalty_agree_with_differences() {
    // A potential that grows or falls fast with time has a residual of one sign, so that |residual|
    // is smooth.
    for drift in [40.0, -40.0] {
        for penalties in [weights(0.5, 0.0, 0.0), weights(0.0, 0.0, 0.02), weights(0.3, 0.0, 0.01)]
        {
            for direction in DIRECTIONS {
                let asked = Asked::new(direction, 2, 2, 1);
                let what = format!("{penalties:?} {direction:?} {drift}");
                check_gradients(&what, &asked, |solver| potential(solver, penalties, Some(drift)));
            }
        }
    }
}

#[test]
fn gradients_of_a_residual_that_changes_its_sign_are_those_of_the_discrete_map() {
    let penalties = weights(0.3, 0.0, 0.4);
    for direction in DIRECTIONS {
        let asked = Asked::new(direction, 2, 2, 1);
        for (solver, _) in fixed(7) {
            let mut flow = potential(solver, penalties, None).with_gradient(replay(2));
            let expected = asked.differences(&mut flow);
            let what = format!("{direction:?} {solver:?}");
            assert_near(&what, &asked.gradients(&flow), &expected, 1e-8);
        }
        // A step h across the kink leaves h^2 in the integral, which the solver holds to 1e-8, and h
        // in its gradient: 1e-4, times slopes of order ten.
        let expected = asked.differences(&mut potential(truth().solver, penalties, None));
        for solver in adaptive(tolerance(1e-8)) {
            for gradient in [replay(32), GradientMethod::Adjoint] {
                let flow = potential(solver, penalties, None).with_gradient(gradient);
                let what = format!("{direction:?} {solver:?} {gradient:?}");
                assert_near(&what, &asked.gradients(&flow), &expected, 1e-3);
            }
        }
    }
}

/// The potential of OT-Flow as it is written, of s = (z, t, context).
fn phi(tensors: &[(String, Vec<f64>)], s: &[f64]) -> f64 {
    let of = |name: &str| &tensors.iter().find(|(n, _)| n == name).unwrap().1;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let product =
        |m: &[f64], v: &[f64]| m.chunks(v.len()).map(|row| dot(row, v)).collect::<Vec<_>>();
    let bend = |x: f64| (x.exp() + (-x).exp()).ln();
    let layer = |weight: &str, bias: &str, v: &[f64]| -> Vec<f64> {
        product(of(weight), v).iter().zip(of(bias)).map(|(x, b)| bend(x + b)).collect()
    };
    let u0 = layer("field.weight0", "field.bias0", s);
    let step = layer("field.weight1", "field.bias1", &u0);
    let u1: Vec<f64> = u0.iter().zip(step).map(|(u, s)| u + s).collect();
    let form = product(of("field.quadratic"), s);
    // b is as long as (z, t): the product stops there.
    dot(of("field.output"), &u1) + 0.5 * dot(&form, &form) + dot(of("field.linear"), s)
}

#[test]
fn hamilton_jacobi_and_transport_of_a_potential_are_those_of_plain_formulas() {
    let (rows, times) = (3, [0.1, 0.9]);
    let asked = Asked::new(Direction::Forward, rows, 2, 1);
    let mut tensors = Vec::new();
    let solver = Solver::RowWise(tolerance(1e-9));
    let flow = potential(solver, weights(1.0, 0.0, 0.0), None);
    flow.visit(&mut |name, _, tensor| tensors.push((name.to_owned(), tensor.values())));
    let codes = asked.context.features().unwrap().values();
    let (mut kinetic, mut residual) = (Vec::new(), Vec::new());
    for (z, code) in asked.input.values().chunks(2).zip(codes) {
        // z, and the integrals of |f|^2 and |d_t phi - |grad phi|^2 / 2|.
        let rate = |t: f64, y: &[f64; 4]| {
            let slope = |i: usize| {
                let at = |by: f64| {
                    let mut s = [y[0], y[1], t, code];
                    s[i] += by * 1e-3;
                    phi(&tensors, &s)
                };
                (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / 12e-3
            };
            let (a, b) = (slope(0), slope(1));
            [-a, -b, a * a + b * b, (slope(2) - 0.5 * (a * a + b * b)).abs()]
        };
        let steps = 1000;
        let h = (times[1] - times[0]) / f64::from(steps);
        let mut y = [z[0], z[1], 0.0, 0.0];
        for step in 0..steps {
            let t = times[0] + h * f64::from(step);
            let moved = |k: &[f64; 4], by: f64| std::array::from_fn(|i| y[i] + by * k[i]);
            let k1 = rate(t, &y);
            let k2 = rate(t + 0.5 * h, &moved(&k1, 0.5 * h));
            let k3 = rate(t + 0.5 * h, &moved(&k2, 0.5 * h));
            let k4 = rate(t + h, &moved(&k3, h));
            y = std::array::from_fn(|i| y[i] + h / 6.0 * (k1[i] + 2.0 * (k2[i] + k3[i]) + k4[i]));
        }
        kinetic.push(y[2]);
        residual.push(y[3]);
    }
    // The kink of |.| costs h^2 = 6e-7 times slopes of order one at each change of sign.
    let near = |what: &str, penalties: Penalties, expected: &[f64]| {
        let flow = potential(solver, penalties, None);
        let out = asked.map(&flow, &mut Tape::recording());
        let got = out.penalty.unwrap().values();
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-5 * (1.0 + expected), "{what}: {got} {expected}");
            assert!(*expected > 1e-2, "{what}: the case does not test anything");
        }
    };
    near("kinetic", weights(1.0, 0.0, 0.0), &kinetic);
    near("hamilton-jacobi", weights(0.0, 0.0, 1.0), &residual);
    let both: Vec<f64> = kinetic.iter().zip(&residual).map(|(k, r)| 0.2 * k + 3.0 * r).collect();
    near("both", weights(0.2, 0.0, 3.0), &both);
}

#[test]
fn the_estimated_frobenius_norm_is_unbiased() {
    let (draws, dim) = (4000, 3);
    let point: Vec<f64> = normals(dim, &mut stream(1, "point"));
    let z = batch(point.repeat(draws), draws, dim).unwrap();
    // Equal steps: the path does not depend on probes, so that there is no bias whatever the step.
    let solver = Solver::Rk4(equal(5));
    let build = |divergence| {
        let accuracy = Accuracy { solver, divergence };
        let flow = perceptron((dim, 0), TimeInput::Concat, [0.0, 1.0], accuracy);
        let mut flow = flow.with_penalties(weights(0.0, 1.0, 0.0)).unwrap();
        flow.set_purpose(Purpose::Training).unwrap();
        flow.begin_step(&mut stream(2, "probes")).unwrap();
        flow
    };
    let truth = penalty(&build(Divergence::Exact), Direction::Forward, &z).unwrap()[0];
    let hutchinson =
        |probes, distribution| Divergence::Hutchinson(Hutchinson { probes, distribution });
    for divergence in [
        hutchinson(1, Probe::Rademacher),
        hutchinson(3, Probe::Rademacher),
        hutchinson(1, Probe::Gaussian),
        hutchinson(2, Probe::Orthogonal),
        Divergence::HutchPlusPlus(HutchPlusPlus {
            sketch: 1,
            probes: 2,
            distribution: Probe::Rademacher,
        }),
        Divergence::HutchPlusPlus(HutchPlusPlus {
            sketch: 2,
            probes: 1,
            distribution: Probe::Gaussian,
        }),
    ] {
        let seen = penalty(&build(divergence), Direction::Forward, &z).unwrap();
        let mean = seen.iter().sum::<f64>() / draws as f64;
        let variance = seen.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / draws as f64;
        let standard_error = (variance / draws as f64).sqrt();
        assert!(standard_error > 0.0, "{divergence:?}");
        let off = (mean - truth) / standard_error;
        assert!(off.abs() < 4.0, "{divergence:?}: {mean} {truth}, {off} s.e.");
    }
    let all = penalty(&build(hutchinson(3, Probe::Orthogonal)), Direction::Forward, &z).unwrap();
    // D orthogonal probes are a basis: exact but for rounding.
    assert!(all.iter().all(|s| (s - truth).abs() < 1e-12 * (1.0 + truth)));
}

fn penalised(
    field: &Field<f64>,
    divergence: Divergence,
    penalties: Penalties,
) -> Result<Continuous<f64>> {
    let accuracy = Accuracy { solver: Solver::RowWise(tolerance(1e-5)), divergence };
    let flow = Continuous::new(field.clone(), [0.0, 1.0], accuracy, accuracy).unwrap();
    flow.with_penalties(penalties)
}

#[test]
fn penalties_that_field_or_divergence_cannot_serve_are_refused() {
    let mlp = moved(MlpField::new(2, 0, &[3], Activation::Tanh, TimeInput::Concat).unwrap());
    let planar = moved(PlanarField::new(2, 0, 3).unwrap());
    let potential = moved(PotentialField::new(2, 0, 3, 2).unwrap());
    let bottleneck = moved(BottleneckField::new(2, 0, &[3], 1, Activation::Tanh).unwrap());
    let frobenius = weights(0.0, 0.1, 0.0);
    let hamilton_jacobi = weights(0.0, 0.0, 0.1);
    // No tangents, no Jacobian.
    for (field, divergence) in [
        (&planar, Divergence::Closed),
        (&potential, Divergence::Closed),
        (&bottleneck, Divergence::Bottleneck(Hutchinson::default())),
    ] {
        assert_error!(
            penalised(field, divergence, frobenius),
            Error::Parameter { .. },
            ["weight of the Frobenius norm", "uses tangents", "got 0.1"]
        );
    }
    // No potential, no equation.
    for (field, divergence) in [
        (&mlp, Divergence::Exact),
        (&planar, Divergence::Closed),
        (&planar, Divergence::Exact),
        (&bottleneck, Divergence::Exact),
    ] {
        assert_error!(
            penalised(field, divergence, hamilton_jacobi),
            Error::Parameter { .. },
            ["weight of the Hamilton-Jacobi residual", "potential", "got 0.1"]
        );
    }
    for wrong in [-1e-3, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for (field, divergence, penalties, name) in [
            (&mlp, Divergence::Exact, weights(wrong, 0.0, 0.0), "kinetic energy"),
            (&mlp, Divergence::Exact, weights(0.0, wrong, 0.0), "Frobenius norm"),
            (&potential, Divergence::Closed, weights(0.0, 0.0, wrong), "Hamilton-Jacobi residual"),
        ] {
            let result = penalised(field, divergence, penalties);
            let got = format!("got {wrong}");
            assert_error!(result, Error::Parameter { .. }, [name, "finite and not negative", &got]);
        }
    }
    // What is served is taken.
    for (field, divergence, penalties) in [
        (&mlp, Divergence::Exact, weights(0.1, 0.1, 0.0)),
        (&planar, Divergence::Exact, frobenius),
        (&planar, Divergence::Closed, weights(0.1, 0.0, 0.0)),
        (&potential, Divergence::Closed, weights(0.1, 0.0, 0.1)),
        (&bottleneck, Divergence::Hutchinson(Hutchinson::default()), frobenius),
    ] {
        assert!(penalised(field, divergence, penalties).is_ok(), "{divergence:?} {penalties:?}");
    }
}

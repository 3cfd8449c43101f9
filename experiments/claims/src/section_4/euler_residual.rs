//! C31: Euler's steps are residual layers (review, Section 4).

use anyhow::Result;
use flows_continuous::{Adaptive, GradientMethod, MlpField, ResidualSteps, Solver, TimeInput};
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::{
    Batch, Bijector, Context, Error, LastLayer, Mapped, Network, Tape, Values, normals, stream,
};
use flows_finite::residual::Determinant;
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};
use nalgebra::DMatrix;

use crate::helper::perceptron::{Perceptron, equal, exact};
use crate::helper::statistics::{distance, exponent, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C31: Claim = Claim {
    id: "C31",
    title: "Euler's method is a residual flow",
    review: "z + h g(z) is a residual layer, invertible if h L < 1; the log-dets of N = 1/h such layers tend \
             to the integral of the trace, so that a continuous flow is a residual flow of infinite depth \
             (Section 4).",
    method: "One tanh field with L = 1.9 in three dimensions, run as N equal steps of Euler's method, as \
             residual steps, and as a chain of N contractive layers of the finite family with the same \
             weights; the gaps between log-det, trace integral and the ODE over N, and those of RK4. \
             Inverses for h L below 1, and linear fields at and above it.",
    check: Check::Run(check),
};

const DIM: usize = 3;

/// Norms of the two weights; the first as a contractive layer can have it.
const NORMS: [f64; 2] = [0.95, 2.0];

/// z + h g(z), N times, as the continuous family has it.
pub(crate) fn residual_steps(field: &Perceptron, steps: usize) -> Result<ResidualSteps<f64>> {
    let hidden: Vec<usize> = field.layers[1..].iter().map(|(weight, _)| weight.ncols()).collect();
    let kernel = MlpField::new(field.dim(), 0, &hidden, Activation::Tanh, TimeInput::None)?;
    let mut network = Network::new(kernel, LastLayer::Zero, &mut stream(0, "overwritten"))?;
    field.write(&mut network)?;
    Ok(ResidualSteps::new(network, [0.0, 1.0], equal(steps).steps)?)
}

fn check(setting: &Setting) -> Result<Findings> {
    let rows = setting.either(200, 2000);
    let field = Perceptron::random((DIM, 8), NORMS, &mut stream(setting.seed, "weights"));
    let z = batch(normals(rows * DIM, &mut stream(setting.seed, "points")), rows, DIM)?;
    let mut findings = Findings::default();
    convergence(&field, &z, &mut findings)?;
    inverses(&field, &z, &mut findings)?;
    necessity(&mut findings)?;
    Ok(findings)
}

fn solve(field: &Perceptron, solver: Solver, z: &Batch<f64>) -> Result<Mapped<f64>> {
    let flow = field.continuous(exact(solver), 1.0, GradientMethod::default())?;
    Ok(flow.forward(z, &Context::none(), &mut Tape::none())?)
}

/// Largest differences of values and of log-dets.
fn gaps(a: &Mapped<f64>, b: &Mapped<f64>) -> [f64; 2] {
    [
        distance(&a.value.values(), &b.value.values()),
        distance(&a.log_det.values(), &b.log_det.values()),
    ]
}

fn convergence(field: &Perceptron, z: &Batch<f64>, findings: &mut Findings) -> Result<()> {
    let truth = solve(field, Solver::Dop853(Adaptive::new(1e-12, 1e-12)), z)?;
    let (none, no_tape) = (Context::none(), &mut Tape::none());
    let mut curves = [(); 4].map(|()| Vec::new());
    let (mut same, mut chains) = (Vec::new(), Vec::new());
    for steps in [8, 16, 32, 64] {
        let layers = residual_steps(field, steps)?.forward(z, &none, no_tape)?;
        let euler = solve(field, Solver::Euler(equal(steps)), z)?;
        let chain = field.clone().scaled(1.0 / steps as f64).residual(steps, Determinant::Exact)?;
        let chain = chain.forward(z, &none, no_tape)?;
        same.extend([gaps(&layers, &euler)[0], gaps(&chain, &euler)[0]]);
        chains.push(gaps(&layers, &chain)[1]);
        let rk4 = solve(field, Solver::Rk4(equal(steps)), z)?;
        let errors = [
            gaps(&layers, &euler)[1],
            gaps(&layers, &truth)[1],
            gaps(&layers, &truth)[0],
            gaps(&rk4, &truth)[1],
        ];
        for (curve, error) in curves.iter_mut().zip(errors) {
            curve.push([steps as f64, error]);
        }
    }
    demands(findings, largest(same), largest(chains));
    orders(findings, curves);
    Ok(())
}

fn demands(findings: &mut Findings, same: f64, chains: f64) {
    let rounding = "the same sums in another order: 64 layers of a few roundings each";
    findings.at_most(
        "N steps of Euler, N residual steps, N contractive layers: largest difference of values",
        same,
        1e-13,
        rounding,
    );
    findings.at_most(
        "residual steps and contractive layers: largest difference of log-dets (nats)",
        chains,
        1e-12,
        rounding,
    );
}

/// How the gaps shrink over N.
fn orders(findings: &mut Findings, curves: [Vec<[f64; 2]>; 4]) {
    let mut plot = Plot::new(
        "Layers come near the ODE like 1/N, RK4 like 1/N^4.",
        Scale::log("layers or steps N"),
        Scale::log("largest difference"),
    );
    for ((name, order), curve) in [
        ("log-det of layers from Euler's trace integral (nats)", 1.0),
        ("log-det of layers from the ODE (nats)", 1.0),
        ("value of layers from the ODE", 1.0),
        ("log-det of RK4 from the ODE (nats)", 4.0),
    ]
    .into_iter()
    .zip(curves)
    {
        findings.between(
            &format!("exponent over N: {name}"),
            exponent(&curve),
            [-order - 0.3, -order + 0.3],
            "order of the method; terms of the next order are h L <= 0.24 of it at N = 8 and fade like 1/N",
        );
        plot.series(name, Stroke::Measured, curve);
    }
    findings.plots.push(plot);
}

fn inverses(field: &Perceptron, z: &Batch<f64>, findings: &mut Findings) -> Result<()> {
    let mut table = Table::new(
        "Fixed-point inverse of all layers: round trip and iterations, over the step.",
        &["N", "h L", "round trip", "iterations a layer"],
    );
    let mut worst = Vec::new();
    for steps in [2, 3, 4, 8, 32] {
        let layers = residual_steps(field, steps)?;
        let x = layers.forward(z, &Context::none(), &mut Tape::none())?.value;
        let back = layers.inverse(&x, &Context::none(), &mut Tape::none())?;
        let error = distance(&back.value.values(), &z.values());
        let contraction = field.lipschitz() / steps as f64;
        worst.push(error * (1.0 - contraction).powi(steps.min(4) as i32));
        let iterations = back.work.iterations as f64 / steps as f64;
        table.row([steps.into(), contraction.into(), error.into(), iterations.into()]);
    }
    findings.at_most(
        "round trips with h L = 0.95 to 0.06: largest error times (1 - h L)^min(N, 4)",
        largest(worst),
        1e-13,
        "a layer's fixed point ends within some 1e-15 / (1 - h L), and each later layer may amplify it by \
         1 / (1 - h L)",
    );
    findings.tables.push(table);
    Ok(())
}

/// h L < 1 suffices, and without it both may happen.
fn necessity(findings: &mut Findings) -> Result<()> {
    let z = batch(vec![1.0, -2.0, 0.5, 3.0], 2, 2)?;
    let (none, no_tape) = (Context::none(), &mut Tape::none());
    let linear = |rate: f64| residual_steps(&Perceptron::linear(DMatrix::identity(2, 2) * rate), 1);
    let (collapsed, _) = linear(-1.0)?.image(&z, &none)?;
    findings.at_most(
        "g = -z, h L = 1: largest image",
        largest(collapsed.values().iter().map(|v| v.abs())),
        0.0,
        "z - z is 0 for every z: not invertible",
    );
    let spread = linear(1.5)?.forward(&z, &none, no_tape)?;
    let log_det = 2.0 * 2.5_f64.ln();
    findings.at_most(
        "g = 1.5 z, h L = 1.5: distance of the log-det from ln 2.5^2",
        largest(spread.log_det.values().iter().map(|l| (l - log_det).abs())),
        1e-14,
        "2.5 z is invertible although h L > 1: the condition suffices and is not needed",
    );
    let inverse = linear(1.5)?.inverse(&spread.value, &none, no_tape);
    let refused = matches!(inverse, Err(Error::NotConverged { .. }));
    findings.at_least(
        "g = 1.5 z: the fixed point is refused (1 = yes)",
        f64::from(u8::from(refused)),
        1.0,
        "x - 1.5 z diverges: the inverse exists, the iteration does not find it",
    );
    Ok(())
}

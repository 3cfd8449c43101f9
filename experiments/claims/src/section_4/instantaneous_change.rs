//! C30: the change of log-density along a trajectory (review, Section 4).

use anyhow::Result;
use flows_continuous::{Adaptive, EqualSteps, GradientMethod, Solver};
use flows_core::tensor::batch;
use flows_core::{Base, Bijector, Context, Flow, Tape, Values, normals, stream};
use flows_report::finding::{Findings, Plot, Scale, Stroke};
use nalgebra::{DMatrix, DVector};

use crate::helper::perceptron::{Perceptron, equal, exact, random_matrix, spectral_norm};
use crate::helper::statistics::{distance, exponent, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C30: Claim = Claim {
    id: "C30",
    title: "Instantaneous change of variables",
    review: "Along dz/dt = g(z) the log-density changes at the rate -tr J_g(z_t), so that the log-det of \
             the flow is the integral of the trace (Section 4).",
    method: "For dz/dt = A z, log-densities of the flow against the matrix exponential, with equal steps of \
             methods of order 1, 2 and 4. For a tanh field in three dimensions: log-dets against the \
             determinant of the numerical Jacobian of the solution map, and the rate of log p by \
             differences over the end time against the trace of the field written out.",
    check: Check::Run(check),
};

const DIM: usize = 3;

/// Tolerance where the solver's error should not count.
const TIGHT: f64 = 1e-12;

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    linear(setting, &mut findings)?;
    jacobian(setting, &mut findings)?;
    rate(setting, &mut findings)?;
    Ok(findings)
}

fn points(setting: &Setting, rows: usize) -> Vec<f64> {
    normals(rows * DIM, &mut stream(setting.seed, "points"))
}

/// dz/dt = A z over [0, 1], with what the matrix exponential says.
struct Linear {
    matrix: DMatrix<f64>,
    x: Vec<f64>,
    log_prob: Vec<f64>,
}

impl Linear {
    fn new(setting: &Setting) -> Self {
        let matrix = random_matrix(DIM, DIM, &mut stream(setting.seed, "matrix"));
        let matrix = &matrix / spectral_norm(&matrix);
        let (x, back) = (points(setting, 200), (-&matrix).exp());
        let log_prob = |x: &[f64]| {
            let square = (&back * DVector::from_row_slice(x)).norm_squared();
            -0.5 * (square + DIM as f64 * std::f64::consts::TAU.ln()) - matrix.trace()
        };
        let log_prob = x.chunks(DIM).map(log_prob).collect();
        Self { matrix, x, log_prob }
    }

    /// Largest errors of log-densities and of log-dets.
    fn errors(&self, solver: Solver) -> Result<[f64; 2]> {
        let field = Perceptron::linear(self.matrix.clone());
        let flow = field.continuous(exact(solver), 1.0, GradientMethod::default())?;
        let x = batch(self.x.clone(), self.x.len() / DIM, DIM)?;
        let log_dets = flow.inverse(&x, &Context::none(), &mut Tape::none())?.log_det.values();
        let flow = Flow::new(Base::standard_normal(DIM), flow)?;
        let (got, _) = flow.evaluate(&self.x, &Context::none())?;
        let trace = largest(log_dets.iter().map(|l| (l + self.matrix.trace()).abs()));
        Ok([distance(&got, &self.log_prob), trace])
    }
}

/// A solver from its steps.
type Method = fn(EqualSteps) -> Solver;

/// Methods of equal steps with their orders.
const METHODS: [(&str, f64, Method); 4] = [
    ("Euler", 1.0, Solver::Euler),
    ("midpoint", 2.0, Solver::Midpoint),
    ("Heun", 2.0, Solver::Heun),
    ("RK4", 4.0, Solver::Rk4),
];

fn linear(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let linear = Linear::new(setting);
    let mut plot = Plot::new(
        "dz/dt = A z: the error of log p falls with the order of the method.",
        Scale::log("equal steps"),
        Scale::log("largest error of log p (nats)"),
    );
    let mut traces = Vec::new();
    for (name, order, solver) in METHODS {
        let mut curve = Vec::new();
        for steps in [16, 32, 64, 128] {
            let [error, trace] = linear.errors(solver(equal(steps)))?;
            curve.push([steps as f64, error]);
            traces.push(trace);
        }
        findings.between(
            &format!("{name}: exponent of the error of log p over the number of steps"),
            exponent(&curve),
            [-order - 0.2, -order + 0.2],
            "the order of the method; terms of the next order, at h |A| <= 1/16, turn the fit by some \
             1/16 at most",
        );
        plot.series(name, Stroke::Measured, curve);
    }
    findings.plots.push(plot);
    findings.at_most(
        "largest distance of a log-det from -tr A (nats)",
        largest(traces),
        1e-12,
        "the trace is constant: any method integrates it exactly, but for rounding of 128 steps",
    );
    let [error, _] = linear.errors(Solver::Dop853(Adaptive::new(TIGHT, TIGHT)))?;
    findings.at_most(
        "Dormand-Prince 8 at tolerance 1e-12: largest error of log p (nats)",
        error,
        1e-9,
        "some steps of 1e-12 x sqrt(800 components), grown by e^|A|, times |z| < 10 for log p",
    );
    Ok(())
}

fn field(setting: &Setting) -> Perceptron {
    Perceptron::random((DIM, 8), [1.5, 1.5], &mut stream(setting.seed, "weights"))
}

fn solution(field: &Perceptron, end: f64) -> Result<Box<dyn Bijector<f64>>> {
    let solver = Solver::RowWise(Adaptive::new(TIGHT, TIGHT));
    field.continuous(exact(solver), end, GradientMethod::default())
}

/// Four-point weights of a derivative, with the displacements in steps.
const STENCIL: [(f64, f64); 4] =
    [(-2.0, 1.0 / 12.0), (-1.0, -2.0 / 3.0), (1.0, 2.0 / 3.0), (2.0, -1.0 / 12.0)];

/// Step of the differences, in space and in time: h^4 / 30 = 3e-10 times fifth derivatives, and 1e-12
/// times a few dozen over h for the solver.
const STEP: f64 = 1e-2;

/// Bound of what differences are off by: fifth derivatives of up to some hundred.
const DIFFERENCES: f64 = 1e-7;

fn jacobian(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let rows = setting.either(50, 500);
    let (flow, z) = (solution(&field(setting), 1.0)?, points(setting, rows));
    let none = Context::none();
    let map = |z: Vec<f64>| flow.forward(&batch(z, rows, DIM)?, &none, &mut Tape::none());
    let mut jacobians = vec![DMatrix::zeros(DIM, DIM); rows];
    for column in 0..DIM {
        for (displacement, weight) in STENCIL {
            let mut moved = z.clone();
            moved.iter_mut().skip(column).step_by(DIM).for_each(|z| *z += displacement * STEP);
            let images = map(moved)?.value.values();
            for (jacobian, image) in jacobians.iter_mut().zip(images.chunks(DIM)) {
                let image = DVector::from_row_slice(image) * (weight / STEP);
                let sum = jacobian.column(column) + image;
                jacobian.set_column(column, &sum);
            }
        }
    }
    let numerical: Vec<f64> = jacobians.iter().map(|j| j.determinant().ln()).collect();
    let got = map(z)?.log_det.values();
    findings.at_most(
        "tanh field: largest distance of the log-det from ln det of the numerical Jacobian (nats)",
        distance(&got, &numerical),
        DIFFERENCES,
        "four-point differences with step 1e-2: 3e-10 times fifth derivatives of some hundred; what has \
         no logarithm would be not a number",
    );
    Ok(())
}

fn rate(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let (field, rows) = (field(setting), 20);
    let z = batch(points(setting, rows), rows, DIM)?;
    let count = setting.either(8, 32);
    let (mut off, mut seen, mut traces) = (Vec::new(), Vec::new(), Vec::new());
    for index in 1..=count {
        let time = 2.0 * f64::from(index) / f64::from(count);
        let mut rates = vec![0.0; rows];
        for (displacement, weight) in STENCIL {
            let flow = solution(&field, time + displacement * STEP)?;
            let log_dets = flow.forward(&z, &Context::none(), &mut Tape::none())?.log_det.values();
            // log p falls by what the log-det gains.
            rates.iter_mut().zip(log_dets).for_each(|(rate, l)| *rate -= weight / STEP * l);
        }
        let there = solution(&field, time)?.image(&z, &Context::none())?.0;
        let trace: Vec<f64> =
            there.values().chunks(DIM).map(|z| -field.jacobian(z).trace()).collect();
        off.push(distance(&rates, &trace));
        seen.push([time, rates[0]]);
        traces.push([time, trace[0]]);
    }
    findings.at_most(
        "tanh field: largest distance of d log p / dt from minus the trace (nats per unit time)",
        largest(off),
        DIFFERENCES,
        "four-point differences over the end time, as above",
    );
    let mut plot = Plot::new(
        "One trajectory: the rate of log p by differences lies on minus the trace.",
        Scale::linear("time"),
        Scale::linear("d log p / dt (nats)"),
    );
    plot.series("-tr J, written out", Stroke::Line, traces);
    plot.series("log p by differences", Stroke::Markers, seen);
    findings.plots.push(plot);
    Ok(())
}

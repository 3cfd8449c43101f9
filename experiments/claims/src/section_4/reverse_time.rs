//! C32: inverting a continuous flow by going back in time (review, Section 4).

use anyhow::Result;
use flows_continuous::{Adaptive, GradientMethod, Solver};
use flows_core::tensor::batch;
use flows_core::{Batch, Bijector, Context, Tape, Values, normals, stream};
use flows_report::finding::{Findings, Plot, Scale, Stroke};

use crate::helper::perceptron::{Perceptron, equal, exact};
use crate::helper::statistics::{distance, exponent, largest};
use crate::section_4::euler_residual::residual_steps;
use crate::{Check, Claim, Setting};

pub(crate) const C32: Claim = Claim {
    id: "C32",
    title: "Reverse time against the fixed point",
    review: "A continuous flow is inverted by integrating backwards, at the same cost as forwards and to \
             the solver's accuracy; a reversed step of Euler's method misses the inverse of the step by \
             O(h^2), which the fixed point of the residual layer finds exactly (Section 4).",
    method: "A tanh field in two dimensions over [0, 1]: round trips with three adaptive solvers at \
             tolerances from 1e-3 to 1e-11, held against a bound from their steps, tolerance and e^L; \
             round trips of N steps of Euler's method reversed, and by fixed point.",
    check: Check::Run(check),
};

const DIM: usize = 2;
const NORMS: [f64; 2] = [1.5, 3.0];

fn check(setting: &Setting) -> Result<Findings> {
    let rows = setting.either(128, 2000);
    let field = Perceptron::random((DIM, 8), NORMS, &mut stream(setting.seed, "weights"));
    let z = batch(normals(rows * DIM, &mut stream(setting.seed, "points")), rows, DIM)?;
    let mut findings = Findings::default();
    tolerances(&field, &z, &mut findings)?;
    steps(&field, &z, &mut findings)?;
    Ok(findings)
}

/// There and back.
struct Trip {
    error: f64,
    /// Largest value met.
    size: f64,
    /// Steps taken on both ways.
    steps: f64,
    /// Evaluations forwards over backwards.
    cost: f64,
}

impl Trip {
    fn new(field: &Perceptron, solver: Solver, z: &Batch<f64>) -> Result<Self> {
        let flow = field.continuous(exact(solver), 1.0, GradientMethod::default())?;
        let there = flow.forward(z, &Context::none(), &mut Tape::none())?;
        let size = largest(there.value.values().iter().chain(&z.values()).map(|v| v.abs()));
        let back = flow.inverse(&there.value, &Context::none(), &mut Tape::none())?;
        Ok(Self {
            error: distance(&back.value.values(), &z.values()),
            size,
            steps: (there.work.steps_accepted + back.work.steps_accepted) as f64,
            cost: there.work.field_evaluations as f64 / back.work.field_evaluations as f64,
        })
    }
}

fn tolerances(field: &Perceptron, z: &Batch<f64>, findings: &mut Findings) -> Result<()> {
    let mut plot = Plot::new(
        "Round trips of adaptive solvers follow the tolerance.",
        Scale::log("tolerance, relative and absolute"),
        Scale::log("largest round trip error"),
    );
    type Choice = fn(Adaptive) -> Solver;
    let solvers: [(&str, Choice); 3] = [
        ("Dormand-Prince 5", Solver::Dopri5),
        ("Dormand-Prince 8", Solver::Dop853),
        ("Dormand-Prince 5, row by row", Solver::RowWise),
    ];
    let (mut over, mut exponents, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    for (name, choice) in solvers {
        let mut curve = Vec::new();
        for power in [3, 5, 7, 9, 11] {
            let tolerance = 10.0_f64.powi(-power);
            let trip = Trip::new(field, choice(Adaptive::new(tolerance, tolerance)), z)?;
            // The solvers bound a mean over all components that share a step, the log-det among them.
            let together = if name.ends_with("row") { 1 } else { z.rows() } * (DIM + 1);
            let allowed = tolerance * (1.0 + trip.size) * (together as f64).sqrt();
            over.push(trip.error / (trip.steps * allowed * field.lipschitz().exp()));
            costs.push(trip.cost);
            curve.push([tolerance, trip.error]);
        }
        exponents.push((exponent(&curve) - 1.0).abs());
        plot.series(name, Stroke::Measured, curve);
    }
    plot.series("tolerance", Stroke::Reference, [1e-11, 1e-3].map(|t| [t, t]));
    demands(findings, [over, exponents], &costs);
    findings.plots.push(plot);
    Ok(())
}

fn demands(findings: &mut Findings, [over, exponents]: [Vec<f64>; 2], costs: &[f64]) {
    findings.at_most(
        "largest round trip error over steps x tolerance x (1 + |z|) x sqrt(components) x e^L",
        largest(over),
        1.0,
        "each step is allowed its tolerance in the mean over the components that share it, and L is the \
         most by which the flow lets an error grow",
    );
    findings.at_most(
        "largest deviation from 1 of the exponent of the error over the tolerance",
        largest(exponents),
        0.42,
        "estimate and error scale alike; but steps are whole numbers, and one more than two changes an \
         error of order 8 by 1.5^8 = 1.4 decades, which at both ends of eight decades tilts the fit by 0.42",
    );
    let [cheapest, dearest] =
        [f64::min, f64::max].map(|pick| costs.iter().copied().fold(1.0, pick));
    findings.observed("evaluations forwards over backwards, smallest", cheapest, None);
    findings.observed("evaluations forwards over backwards, largest", dearest, None);
}

fn steps(field: &Perceptron, z: &Batch<f64>, findings: &mut Findings) -> Result<()> {
    let (none, no_tape) = (Context::none(), &mut Tape::none());
    let (mut reversed, mut fixed) = (Vec::new(), Vec::new());
    for steps in [8, 16, 32, 64, 128, 256] {
        let layers = residual_steps(field, steps)?;
        let x = layers.image(z, &none)?.0;
        let euler = Solver::Euler(equal(steps));
        let euler = field.continuous(exact(euler), 1.0, GradientMethod::default())?;
        let error = |back: Batch<f64>| distance(&back.values(), &z.values());
        reversed.push([steps as f64, error(euler.inverse(&x, &none, no_tape)?.value)]);
        fixed.push([steps as f64, error(layers.inverse(&x, &none, no_tape)?.value)]);
    }
    findings.between(
        "reversed Euler: exponent of the round trip error over N, N >= 32",
        exponent(&reversed[2..]),
        [-1.2, -0.8],
        "N steps that miss by O(1/N^2) each; terms of the next order are h L <= 0.14",
    );
    findings.at_most(
        "fixed point: largest round trip error",
        largest(fixed.iter().map(|p| p[1])),
        1e-12,
        "rounding of 1e-16 in each of up to 256 layers, grown by e^L = 90 and, at N = 8, by 1 / (1 - h L) \
         = 2.3 a layer where the field is steepest",
    );
    let mut plot = Plot::new(
        "N steps of Euler's method: going back misses by O(1/N), the fixed point by rounding.",
        Scale::log("steps N"),
        Scale::log("largest round trip error"),
    );
    let last = reversed.last().map_or(f64::NAN, |p| p[0] * p[1]);
    plot.series("reversed", Stroke::Measured, reversed);
    plot.series("1/N", Stroke::Reference, [8.0, 256.0].map(|n| [n, last / n]));
    plot.series("fixed point", Stroke::Measured, fixed);
    findings.plots.push(plot);
    Ok(())
}

//! C33: gradients by the adjoint and through the solver (review, Section 4).

use std::num::NonZeroUsize;

use anyhow::Result;
use flows_continuous::{Adaptive, Checkpoints, GradientMethod, Solver};
use flows_core::tensor::batch;
use flows_core::{Base, Context, Flow, Purpose, Tape, Work, forward_kl, normals, stream};
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};
use nalgebra::{DMatrix, DVector};

use crate::helper::perceptron::{Perceptron, equal, exact};
use crate::helper::statistics::{exponent, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C33: Claim = Claim {
    id: "C33",
    title: "Adjoint gradients",
    review: "The adjoint ODE gives gradients with memory that does not depend on the number of steps, but \
             integrates the state backwards anew, so that they are inexact, badly so where that is \
             unstable; checkpoints are the remedy, and differentiating the steps themselves is exact for \
             what was computed (Section 4).",
    method: "Gradients of the mean negative log-likelihood for all weights of a tanh field: through RK4 \
             steps against four-point differences of the same discrete map, with any number of \
             checkpoints; by the adjoint, over N and over the tolerance, against a solve at 1e-13; and for \
             a field that contracts ever faster in the direction of the solve. States kept are counted \
             from the steps; bytes in use are measured by the test `memory` of flows-continuous, which \
             has an allocator of its own.",
    check: Check::Run(check),
};

const DIM: usize = 2;
const ROWS: usize = 64;

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    let case = Case::new(setting);
    discrete(&case, &mut findings)?;
    continuous(&case, &mut findings)?;
    equal_steps(&case, &mut findings)?;
    stiff(&case, &mut findings)?;
    memory(&case, &mut findings)?;
    Ok(findings)
}

fn replay(checkpoints: usize) -> GradientMethod {
    let checkpoints = NonZeroUsize::MIN.saturating_add(checkpoints - 1);
    GradientMethod::Replay(Checkpoints { checkpoints })
}

fn adaptive(tolerance: f64) -> Solver {
    Solver::RowWise(Adaptive::new(tolerance, tolerance))
}

/// A field with data.
struct Case {
    field: Perceptron,
    /// A direction in the space of weights.
    direction: Perceptron,
    x: Vec<f64>,
}

/// Mean negative log-likelihood with its gradient for the weights.
struct Loss {
    value: f64,
    gradient: Vec<f64>,
    work: Work,
}

impl Case {
    fn new(setting: &Setting) -> Self {
        let perceptron =
            |norms, name| Perceptron::random((DIM, 8), norms, &mut stream(setting.seed, name));
        Self {
            field: perceptron([1.5, 2.0], "weights"),
            direction: perceptron([1.0, 1.0], "direction"),
            x: normals(ROWS * DIM, &mut stream(setting.seed, "points")),
        }
    }

    fn loss(&self, field: &Perceptron, solver: Solver, gradient: GradientMethod) -> Result<Loss> {
        let bijector = field.continuous(exact(solver), 1.0, gradient)?;
        let mut flow = Flow::new(Base::standard_normal(DIM), bijector)?;
        flow.bijector_mut().set_purpose(Purpose::Training)?;
        let x = batch(self.x.clone(), ROWS, DIM)?;
        let mut loss = forward_kl(&flow, &x, &Context::none(), Tape::recording())?;
        let mut tensors = Vec::new();
        flow.bijector().visit(&mut |_, _, tensor| tensors.push(tensor.clone()));
        let mut gradient = Vec::new();
        for tensor in &tensors {
            gradient.extend_from_slice(loss.gradient.of(tensor)?);
        }
        Ok(Loss { value: loss.value, gradient, work: loss.work })
    }

    /// Derivative along the direction, by four-point differences.
    fn differences(&self, solver: Solver) -> Result<f64> {
        let value = |step: f64| -> Result<f64> {
            let moved = self.field.clone().moved(&self.direction, 1e-3 * step);
            Ok(self.loss(&moved, solver, replay(32))?.value)
        };
        let (near, far) = (value(1.0)? - value(-1.0)?, value(2.0)? - value(-2.0)?);
        Ok((8.0 * near - far) / 12e-3)
    }

    fn along(&self, gradient: &[f64]) -> f64 {
        gradient.iter().zip(self.direction.weights()).map(|(g, d)| g * d).sum()
    }
}

/// |a - b| / |b|, Euclidean.
fn relative(a: &[f64], b: &[f64]) -> f64 {
    let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    (square / b.iter().map(|b| b * b).sum::<f64>()).sqrt()
}

/// A gradient through the steps belongs to the steps, however coarse they are.
fn discrete(case: &Case, findings: &mut Findings) -> Result<()> {
    let coarse = Solver::Rk4(equal(3));
    let through = case.loss(&case.field, coarse, replay(32))?.gradient;
    let adjoint = case.loss(&case.field, coarse, GradientMethod::Adjoint)?.gradient;
    let differences = case.differences(coarse)?;
    findings.at_most(
        "three RK4 steps: gradient through the steps minus differences, along one direction (nats)",
        (case.along(&through) - differences).abs(),
        1e-9,
        "differences with step 1e-3 are off by 3e-14 fifth derivatives and 1e-12 of rounding",
    );
    findings.observed(
        "three RK4 steps: adjoint minus differences, along the same direction (nats)",
        case.along(&adjoint) - differences,
        None,
    );
    let few = Solver::Rk4(equal(40));
    let every = case.loss(&case.field, few, replay(40))?.gradient;
    let mut unequal = Vec::new();
    for checkpoints in [1, 2, 7, 1000] {
        let other = case.loss(&case.field, few, replay(checkpoints))?.gradient;
        unequal.push(relative(&other, &every));
    }
    findings.at_most(
        "forty RK4 steps with 1, 2, 7, 1000 checkpoints: largest relative difference from all states kept",
        largest(unequal),
        0.0,
        "states between checkpoints are computed anew by the same operations: the same bits",
    );
    Ok(())
}

fn truth(case: &Case) -> Result<Vec<f64>> {
    let solver = Solver::Dop853(Adaptive::new(1e-13, 1e-13));
    Ok(case.loss(&case.field, solver, replay(1000))?.gradient)
}

/// The adjoint with equal steps.
fn equal_steps(case: &Case, findings: &mut Findings) -> Result<()> {
    let truth = truth(case)?;
    let mut orders = Vec::new();
    for steps in [16, 32, 64, 128] {
        let solver = Solver::Rk4(equal(steps));
        let got = case.loss(&case.field, solver, GradientMethod::Adjoint)?.gradient;
        orders.push([steps as f64, relative(&got, &truth)]);
    }
    findings.between(
        "adjoint by RK4: exponent of the error over the number of steps",
        exponent(&orders),
        [-4.4, -3.6],
        "order 4, with terms of the next order at h L <= 0.2 times factors of order one",
    );
    Ok(())
}

fn continuous(case: &Case, findings: &mut Findings) -> Result<()> {
    let truth = truth(case)?;
    let mut plot = Plot::new(
        "The adjoint's gradient is as accurate as its solve.",
        Scale::log("tolerance"),
        Scale::log("relative error of the gradient"),
    );
    let mut exponents = Vec::new();
    for (name, method) in [("adjoint", GradientMethod::Adjoint), ("through the steps", replay(32))]
    {
        let mut curve = Vec::new();
        for power in [4, 6, 8, 10] {
            let tolerance = 10.0_f64.powi(-power);
            let got = case.loss(&case.field, adaptive(tolerance), method)?.gradient;
            curve.push([tolerance, relative(&got, &truth)]);
        }
        exponents.push((exponent(&curve) - 1.0).abs());
        plot.series(name, Stroke::Measured, curve);
    }
    plot.series("tolerance", Stroke::Reference, [1e-10, 1e-4].map(|t| [t, t]));
    findings.at_most(
        "adjoint and steps: largest deviation from 1 of the exponent of the error over the tolerance",
        largest(exponents),
        0.35,
        "the error follows the tolerance; but steps are whole numbers, and one more than two changes an \
         error of order 5 by 1.5^5 = 0.9 decades, which at both ends of six decades tilts the fit by 0.35",
    );
    findings.plots.push(plot);
    Ok(())
}

/// In the direction of the density the first feature contracts at `rate` and the second one is driven
/// by it; going back, the adjoint has to find out of the rounded end where the first feature was.
fn contracting(rate: f64) -> Perceptron {
    // Nearly linear, and bounded, so that no wrong state overflows.
    let small = 0.1;
    let first = DMatrix::from_row_slice(2, 2, &[small, 0.0, 1.0, 0.0]);
    let second = DMatrix::from_row_slice(2, 2, &[rate / small, 0.0, 0.0, 1.0]);
    Perceptron { layers: vec![(first, DVector::zeros(2)), (second, DVector::zeros(2))] }
}

fn stiff(case: &Case, findings: &mut Findings) -> Result<()> {
    let tolerance = 1e-6;
    let mut curves = [Vec::new(), Vec::new()];
    for rate in [1.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0] {
        let field = contracting(rate);
        let truth = case.loss(&field, adaptive(1e-12), replay(1000))?.gradient;
        for (curve, method) in curves.iter_mut().zip([GradientMethod::Adjoint, replay(32)]) {
            let got = case.loss(&field, adaptive(tolerance), method)?.gradient;
            curve.push([rate, relative(&got, &truth)]);
        }
    }
    stiff_demands(findings, &curves);
    let mut plot = Plot::new(
        "A field that contracts: the adjoint loses the state, the gradient through the steps does not.",
        Scale::linear("contraction rate over the interval"),
        Scale::log("relative error of the gradient"),
    );
    let [adjoint, through] = curves;
    let growth = (1..=14).map(|rate| [f64::from(rate), tolerance * f64::from(rate).exp()]);
    plot.series("adjoint", Stroke::Measured, adjoint);
    plot.series("through the steps", Stroke::Measured, through);
    plot.series("tolerance times e^rate", Stroke::Reference, growth);
    findings.plots.push(plot);
    Ok(())
}

fn stiff_demands(findings: &mut Findings, curves: &[Vec<[f64; 2]>; 2]) {
    let [adjoint, through] = curves.each_ref().map(|curve| {
        let error = |rate: f64| curve.iter().find(|p| p[0] == rate).map_or(f64::NAN, |p| p[1]);
        [error(1.0), error(40.0)]
    });
    findings.at_most(
        "contraction rate 1: relative error of the adjoint at tolerance 1e-6",
        adjoint[0],
        1e-4,
        "a hundred tolerances: some ten steps, twice, grown by e",
    );
    findings.at_least(
        "contraction rate 40: relative error of the adjoint at tolerance 1e-6",
        adjoint[1],
        1e-2,
        "going back multiplies the tolerance by e^40 > 1e17: where the first feature was is lost, and \
         with it the gradient of what it drives",
    );
    findings.at_most(
        "contraction rate 40: relative error through the steps at tolerance 1e-6",
        through[1],
        1e-4,
        "nothing is integrated backwards: a hundred tolerances, for some hundred steps whose errors decay",
    );
}

/// States of a row that each method has to keep, from the steps of its solve.
fn memory(case: &Case, findings: &mut Findings) -> Result<()> {
    let mut table = Table::new(
        "States of a row kept for the backward pass; the adjoint keeps the end and integrates the state, \
         its adjoint and the weights.",
        &["steps", "all states", "32 checkpoints", "adjoint"],
    );
    for power in [3, 6, 9, 12] {
        let solver = adaptive(10.0_f64.powi(-power));
        let steps = case.loss(&case.field, solver, GradientMethod::Adjoint)?.work.steps_accepted;
        table.row([steps.into(), steps.into(), steps.min(32).into(), 1_u64.into()]);
    }
    findings.tables.push(table);
    Ok(())
}

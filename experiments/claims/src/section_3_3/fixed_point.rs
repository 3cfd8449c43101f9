//! C23: the rate at which a residual layer is inverted (review, Section 3.3.1).

use anyhow::Result;
use flows_core::tensor::batch;
use flows_core::{Bijector, Context, Inverse, Tape, Values, normals, stream};
use flows_finite::residual::Determinant;
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};
use nalgebra::DMatrix;

use crate::helper::perceptron::Perceptron;
use crate::helper::statistics::{distances, largest, slope};
use crate::{Check, Claim, Setting};

pub(crate) const C23: Claim = Claim {
    id: "C23",
    title: "Rate of the fixed-point inverse",
    review: "z + g(z) with a Lipschitz constant L of g below 1 is inverted by iterating z <- x - g(z), \
             with an error of at most L^k / (1 - L) times the first step after k iterations: a small L \
             inverts fast and expresses little (Section 3.3.1).",
    method: "Layers whose L is known, tanh perceptrons and the linear g(z) = L z in three dimensions, for \
             L from 0.5 to 0.97. z is mapped to x, the iteration is run from x, and every iterate of \
             every row is held against the bound; the slope of ln error over k is fitted.",
    check: Check::Run(check),
};

const DIM: usize = 3;

/// Errors below are not compared with the bound: rounding of values of order one, and what of it a
/// contraction accumulates, 1e-16 / (1 - L).
const ROUNDING: f64 = 1e-13;

const CONSTANTS: [f64; 4] = [0.5, 0.7, 0.9, 0.97];

fn check(setting: &Setting) -> Result<Findings> {
    let rows = setting.either(128, 2000);
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Fixed points for each Lipschitz constant, and what the library's inverse took.",
        &["L", "error over bound", "slope over ln L", "slope, linear g", "library's iterations"],
    );
    let mut plot = Plot::new(
        "The worst error of a row stays below the bound and falls faster.",
        Scale::linear("iterations"),
        Scale::log("error of z (Euclidean)"),
    );
    let (mut over, mut slowest, mut attained) = (Vec::new(), Vec::new(), Vec::new());
    for constant in CONSTANTS {
        let rng = &mut stream(setting.seed, "weights");
        let curved = Perceptron::decreasing((DIM, 8), constant, rng);
        let straight = Perceptron::linear(DMatrix::identity(DIM, DIM) * constant);
        let [curved, straight] =
            [&curved, &straight].map(|residual| Iteration::new(residual, rows, setting.seed));
        let (curved, straight) = (curved?, straight?);
        let rates = [&curved, &straight].map(|iteration| iteration.rate() / constant.ln());
        let [rate, linear] = rates.map(Into::into);
        let iterations = curved.iterations.into();
        table.row([constant.into(), curved.over.into(), rate, linear, iterations]);
        over.extend([curved.over, straight.over]);
        slowest.push(rates[0]);
        attained.push((rates[1] - 1.0).abs());
        if constant != 0.7 {
            let bound = curved.bound(constant);
            plot.series(format!("tanh, L = {constant}"), Stroke::Line, curved.errors);
            plot.series(format!("bound, L = {constant}"), Stroke::Reference, bound);
        }
    }
    demands(&mut findings, over, [slowest, attained]);
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(findings)
}

/// What the ratios to the bound, and slopes over ln L, of tanh layers and of linear ones less 1, have
/// to satisfy.
fn demands(findings: &mut Findings, over: Vec<f64>, [slowest, attained]: [Vec<f64>; 2]) {
    findings.at_most(
        "largest error over its bound, all iterates of all rows",
        largest(over),
        1.0 + 1e-9,
        "Banach's bound is a theorem; what exceeds 1 is rounding of errors above 1e-13",
    );
    findings.at_least(
        "slope of ln error over ln L, the slowest tanh layer",
        slowest.into_iter().fold(f64::INFINITY, f64::min),
        1.0,
        "each iteration shrinks the error by L or more, and a fitted slope is a mean of these factors",
    );
    findings.at_most(
        "linear g: largest deviation of slope over ln L from 1",
        largest(attained),
        1e-4,
        "x - L z shrinks every error by L exactly; the last errors fitted, 1e-12, are known to 1e-16",
    );
}

/// A run of the iteration.
struct Iteration {
    /// k with the largest error of a row, above rounding.
    errors: Vec<[f64; 2]>,
    /// Largest ratio of an error to its bound.
    over: f64,
    /// Largest first step of a row.
    first: f64,
    /// What the library's inverse took to its own tolerance.
    iterations: u64,
}

impl Iteration {
    fn new(residual: &Perceptron, rows: usize, seed: u64) -> Result<Self> {
        let (flow, constant) = (residual.residual(1, Determinant::Exact)?, residual.lipschitz());
        let z: Vec<f64> = normals(rows * DIM, &mut stream(seed, "points"));
        let x = image(&flow, &z)?;
        let of_rows = batch(x.clone(), rows, DIM)?;
        let iterations =
            flow.inverse(&of_rows, &Context::none(), &mut Tape::none())?.work.iterations;
        let mut this = Self { errors: Vec::new(), over: 0.0, first: 0.0, iterations };
        let (mut iterate, mut steps) = (x.clone(), Vec::new());
        for k in 0..1000 {
            let images = image(&flow, &iterate)?;
            let values = images.iter().zip(&iterate).zip(&x);
            let next: Vec<f64> = values.map(|((image, z), x)| x - (image - z)).collect();
            if k == 0 {
                steps = distances(&next, &iterate, DIM);
                this.first = largest(steps.iter().copied());
            }
            let errors = distances(&iterate, &z, DIM);
            let bounds = steps.iter().map(|step| constant.powi(k) / (1.0 - constant) * step);
            let ratio = |(&error, bound): (&f64, f64)| {
                if error > ROUNDING / (1.0 - constant) { error / bound } else { 0.0 }
            };
            this.over =
                largest([this.over].into_iter().chain(errors.iter().zip(bounds).map(ratio)));
            let worst = largest(errors);
            if worst <= 10.0 * ROUNDING / (1.0 - constant) {
                break;
            }
            this.errors.push([f64::from(k), worst]);
            iterate = next;
        }
        Ok(this)
    }

    /// Slope of ln error an iteration.
    fn rate(&self) -> f64 {
        slope(&self.errors.iter().map(|&[k, error]| [k, error.ln()]).collect::<Vec<_>>())
    }

    fn bound(&self, constant: f64) -> Vec<[f64; 2]> {
        let at = |&[k, _]: &[f64; 2]| [k, constant.powf(k) / (1.0 - constant) * self.first];
        self.errors.iter().map(at).collect()
    }
}

fn image(flow: &Inverse<f64>, z: &[f64]) -> Result<Vec<f64>> {
    let z = batch(z.to_vec(), z.len() / DIM, DIM)?;
    Ok(flow.forward(&z, &Context::none(), &mut Tape::none())?.value.values())
}

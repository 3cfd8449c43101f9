//! C13: the slow direction of a masked flow as a fixed point (review, Section 3.1.2).

use anyhow::{Result, bail};
use flows_core::activation::Activation;
use flows_core::testing::perturb;
use flows_core::{
    Architecture, Bijector, Chain, Context, Error, Tape, Values, normals, stream, tensor,
};
use flows_finite::architecture::{AutoregressiveFlow, Conditioner, LayerOrder, Perceptron};
use flows_finite::{Newton, Sampling};
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};

use crate::helper::statistics::{distance, larger};
use crate::{Check, Claim, Setting};

pub(crate) const C13: Claim = Claim {
    id: "C13",
    title: "Accelerated inverse of a masked layer",
    review: "The inverse of a masked layer is the fixed point of z <- z - alpha diag(J)^-1 (f(z) - z'), \
             which attracts for 0 < alpha < 2 and repels outside (Section 3.1.2, after MintNet); for \
             alpha = 1 and an affine transformer feature i is exact after i iterations.",
    method: "One masked affine layer away from its start, one row. Residuals max |f(z) - z'|/(1 + |z'|) \
             by iteration for several alpha; with one feature the residual is multiplied by 1 - alpha \
             each time. Iterations until 1e-6 for growing D, and for alpha = 1 until 1e-12 with the \
             distance to the sequential solution.",
    check: Check::Run(check),
};

/// Relaxations within the interval in which the fixed point attracts.
const ATTRACTING: [f64; 5] = [0.25, 0.5, 1.0, 1.5, 1.9];

/// Tolerance for "exact": some thousand units of rounding, as sums of 32 products and the
/// conditioning of the layer leave.
const EXACT: f64 = 1e-12;

fn check(setting: &Setting) -> Result<Findings> {
    let dims: &[usize] = setting.either(&[1, 4, 16, 64], &[1, 2, 4, 8, 16, 32, 64, 128, 256]);
    let mut findings = Findings::default();
    contraction(setting, &mut findings)?;
    counts(dims, setting.seed, &mut findings)?;
    traces(setting.seed, &mut findings)?;
    Ok(findings)
}

/// One feature: the residual shrinks or grows by |1 - alpha|.
fn contraction(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let mut worst = 0.0;
    for alpha in [0.25, 0.5, 1.5, 1.9, 2.1, 2.5] {
        let layer = Layer::new(1, setting.seed)?;
        let first = layer.residual(alpha, 1)?;
        for iterations in 2..10 {
            let expected = first * (1.0_f64 - alpha).abs().powi(iterations - 1);
            worst =
                larger(worst, (layer.residual(alpha, iterations as usize)? / expected - 1.0).abs());
        }
    }
    findings.at_most(
        "D = 1, alpha from 0.25 to 2.5: residual after up to 8 steps against |1 - alpha|^steps, relative",
        worst,
        1e-9,
        "an affine residual is multiplied by 1 - alpha exactly; rounding of 1e-16 over residuals down \
         to 1 / 4^8 = 2e-5",
    );
    Ok(())
}

/// Iterations until the tolerance, and until nothing is left for alpha = 1.
fn counts(dims: &[usize], seed: u64, findings: &mut Findings) -> Result<()> {
    let mut columns = vec!["D".to_owned()];
    columns.extend(ATTRACTING.map(|alpha| format!("alpha = {alpha}: iterations to 1e-6")));
    columns.push("alpha = 1: iterations to 1e-12".into());
    columns.push("then: distance to the sequential solution".into());
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("Iterations by the number of features.", &columns);
    let (mut beyond, mut error) = (f64::NEG_INFINITY, 0.0);
    let mut curves = ATTRACTING.map(|_| Vec::new());
    for &dim in dims {
        let layer = Layer::new(dim, seed)?;
        let mut row = vec![dim.into()];
        for (alpha, curve) in ATTRACTING.into_iter().zip(&mut curves) {
            let (_, iterations) = layer.solve(alpha, 1e-6)?;
            curve.push([dim as f64, iterations as f64]);
            row.push(iterations.into());
        }
        let (solution, iterations) = layer.solve(1.0, EXACT)?;
        let distance = distance(&solution, &layer.sequential()?);
        beyond = larger(beyond, iterations as f64 - dim as f64 - 1.0);
        error = larger(error, distance);
        row.extend([iterations.into(), distance.into()]);
        table.rows.push(row);
    }
    findings.at_most(
        "alpha = 1: iterations beyond D + 1, largest over D",
        beyond,
        0.0,
        "iteration i + 1 makes feature i exact, and one more sees it",
    );
    findings.at_most(
        "alpha = 1: largest distance to the sequential solution",
        error,
        100.0 * EXACT,
        "the tolerance times the condition of the layer",
    );
    findings.tables.push(table);
    findings.plots.push(growth(dims, curves));
    Ok(())
}

fn growth(dims: &[usize], curves: [Vec<[f64; 2]>; 5]) -> Plot {
    let mut plot = Plot::new(
        "Iterations until a residual of 1e-6; dashed: D + 1, after which alpha = 1 is exact.",
        Scale::log("D"),
        Scale::log("iterations"),
    );
    for (alpha, points) in ATTRACTING.into_iter().zip(curves) {
        plot.series(format!("alpha = {alpha}"), Stroke::Measured, points);
    }
    let bound = dims.iter().map(|&d| [d as f64, d as f64 + 1.0]);
    plot.series("D + 1", Stroke::Reference, bound);
    plot
}

/// Residuals by iteration on both sides of 2.
fn traces(seed: u64, findings: &mut Findings) -> Result<()> {
    const STEPS: usize = 60;
    let layer = Layer::new(8, seed)?;
    let mut plot = Plot::new(
        "Residual by iteration, D = 8.",
        Scale::linear("iteration"),
        Scale::log("residual"),
    );
    for alpha in [0.5, 1.0, 1.5, 1.9, 2.1] {
        let points: Result<Vec<_>> = (1..=STEPS)
            .map(|iterations| Ok([(iterations - 1) as f64, layer.residual(alpha, iterations)?]))
            .collect();
        plot.series(format!("alpha = {alpha}"), Stroke::Line, points?);
    }
    let growth = layer.residual(2.1, STEPS + 1)? / layer.residual(2.1, 1)?;
    findings.at_least(
        "alpha = 2.1, D = 8: residual after 60 iterations over the first",
        growth,
        1.0,
        "the fixed point repels: the first feature's residual grows by 1.1 each time",
    );
    findings.plots.push(plot);
    Ok(())
}

/// A masked layer and what it is to be inverted at.
struct Layer {
    dim: usize,
    seed: u64,
    z: Vec<f64>,
}

impl Layer {
    fn new(dim: usize, seed: u64) -> Result<Self> {
        Ok(Self { dim, seed, z: normals(dim, &mut stream(seed, "point")) })
    }

    /// The same weights whatever the sampling.
    fn chain(&self, sampling: Sampling) -> Result<Chain<f64>> {
        let conditioner =
            Perceptron { hidden: vec![self.dim.max(32)], activation: Activation::Tanh };
        let config = AutoregressiveFlow {
            layers: 1,
            conditioner: Conditioner::Perceptron(conditioner),
            order: LayerOrder::Natural,
            sampling,
            act_norm: false,
            ..AutoregressiveFlow::default()
        };
        let mut chain = config.build::<f64>(self.dim, 0, &mut stream(self.seed, "init"))?;
        perturb(&mut chain, 1.0 / (self.dim as f64).sqrt(), &mut stream(self.seed, "perturb"))?;
        Ok(chain)
    }

    fn sample(&self, sampling: Sampling) -> Result<flows_core::Result<(Vec<f64>, u64)>> {
        let z = tensor::batch(self.z.clone(), 1, self.dim)?;
        let mapped = self.chain(sampling)?.forward(&z, &Context::none(), &mut Tape::none());
        Ok(mapped.map(|mapped| (mapped.value.values(), mapped.work.network_passes)))
    }

    fn sequential(&self) -> Result<Vec<f64>> {
        Ok(self.sample(Sampling::Sequential)??.0)
    }

    /// The solution and the number of iterations.
    fn solve(&self, relaxation: f64, tolerance: f64) -> Result<(Vec<f64>, u64)> {
        let newton = Newton { relaxation, tolerance, iterations: 100_000 };
        Ok(self.sample(Sampling::Newton(newton))??)
    }

    /// The residual that iteration `iterations` finds, before it moves; 0 where it is exactly that.
    fn residual(&self, relaxation: f64, iterations: usize) -> Result<f64> {
        let newton = Newton { relaxation, tolerance: f64::MIN_POSITIVE, iterations };
        match self.sample(Sampling::Newton(newton))? {
            Ok(_) => Ok(0.0),
            Err(Error::NotConverged { residual, .. }) => Ok(residual),
            Err(other) => bail!(other),
        }
    }
}

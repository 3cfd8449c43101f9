//! C28: how far a composition of contractive layers can stretch (review, Sections 3.3.1 and 3.4).

use anyhow::Result;
use flows_core::tensor::batch;
use flows_core::{Bijector, Context, Tape, Values, normals, stream};
use flows_finite::residual::Determinant;
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};
use nalgebra::DMatrix;

use crate::helper::perceptron::Perceptron;
use crate::helper::statistics::{distances, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C28: Claim = Claim {
    id: "C28",
    title: "Lipschitz bound of a composition",
    review: "Layers z + g(z) with Lip(g) <= kappa < 1 stretch distances by at most 1 + kappa and shrink \
             them by at most 1 - kappa each; K of them are bi-Lipschitz with constant \
             max(1 + kappa, 1 / (1 - kappa))^K, so that depth buys expressivity back (Section 3.3.1).",
    method: "Chains of 1 to 16 layers with one kappa: tanh layers, and the linear g(z) = kappa z and \
             g(z) = -kappa z, for which the bounds are attained. Ratios of distances between images and \
             between points, over pairs near and far.",
    check: Check::Run(check),
};

const DIM: usize = 3;
const KAPPA: f64 = 0.8;
/// Relative error of a ratio of distances.
const ROUNDING: f64 = 1e-9;

const EXPANDING: &str = "kappa z";
const SHRINKING: &str = "-kappa z";

const DEPTHS: [usize; 5] = [1, 2, 4, 8, 16];

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Largest stretch and largest shrinking over pairs, kappa = 0.8.",
        &["layers", "residual", "stretch", "its bound", "shrinking", "its bound"],
    );
    let mut plot = Plot::new(
        "Stretch (above 1) and one over shrinking (below 1) with depth; linear layers attain the bounds.",
        Scale::log("layers"),
        Scale::log("distance of images over distance of points"),
    );
    let (mut over, mut attained) = (Vec::new(), Vec::new());
    for (name, residual) in residuals(setting) {
        let (mut high, mut low) = (Vec::new(), Vec::new());
        for depth in DEPTHS {
            let [stretch, shrink] = ratios(&residual, depth, setting)?;
            let bounds = [1.0 + KAPPA, 1.0 / (1.0 - KAPPA)].map(|b| b.powi(depth as i32));
            over.extend([stretch / bounds[0], shrink / bounds[1]]);
            match name {
                EXPANDING => attained.push((stretch / bounds[0] - 1.0).abs()),
                SHRINKING => attained.push((shrink / bounds[1] - 1.0).abs()),
                _ => {}
            }
            let [a, b] = bounds.map(Into::into);
            table.row([depth.into(), name.into(), stretch.into(), a, shrink.into(), b]);
            high.push([depth as f64, stretch]);
            low.push([depth as f64, 1.0 / shrink]);
        }
        if name != SHRINKING {
            plot.series(format!("stretch, {name}"), Stroke::Measured, high);
        }
        if name != EXPANDING {
            plot.series(format!("1 / shrinking, {name}"), Stroke::Measured, low);
        }
    }
    references(&mut plot);
    demands(&mut findings, largest(over), largest(attained));
    Ok(Findings { tables: vec![table], plots: vec![plot], ..findings })
}

fn references(plot: &mut Plot) {
    for (name, base) in [("(1 + kappa)^K", 1.0 + KAPPA), ("(1 - kappa)^K", 1.0 - KAPPA)] {
        let points = DEPTHS.map(|depth| [depth as f64, base.powi(depth as i32)]);
        plot.series(name, Stroke::Reference, points);
    }
}

fn residuals(setting: &Setting) -> [(&'static str, Perceptron); 3] {
    let rng = &mut stream(setting.seed, "weights");
    let identity = DMatrix::identity(DIM, DIM) * KAPPA;
    [
        ("tanh", Perceptron::random((DIM, 8), [KAPPA.sqrt(); 2], rng)),
        (EXPANDING, Perceptron::linear(identity.clone())),
        (SHRINKING, Perceptron::linear(-identity)),
    ]
}

fn demands(findings: &mut Findings, over: f64, attained: f64) {
    findings.at_most(
        "largest ratio to its bound",
        over,
        1.0 + ROUNDING,
        "a theorem, but for rounding: sixteen layers of a few 1e-16 of |z| <= 5, beside points 1e-4 apart",
    );
    findings.at_most(
        "linear layers: largest relative distance from the bound they attain",
        attained,
        ROUNDING,
        "stretch or shrinking is the same for every pair, and rounding as above",
    );
}

/// Largest ratio of distances image to point, and point to image.
fn ratios(residual: &Perceptron, depth: usize, setting: &Setting) -> Result<[f64; 2]> {
    let rows = setting.either(2_000, 20_000);
    let flow = residual.residual(depth, Determinant::Exact)?;
    let rng = &mut stream(setting.seed, "pairs");
    let first: Vec<f64> = normals(rows * DIM, rng);
    let moves: Vec<f64> = normals(rows * DIM, rng);
    let norms: Vec<f64> = moves.chunks(DIM).map(|m| distances(m, &[0.0; DIM], DIM)[0]).collect();
    // A third each near, at an arm's length, and far.
    let size = |row: usize| [1e-4, 0.1, 3.0][row % 3] / norms[row];
    let moved = first.iter().zip(moves).enumerate();
    let second: Vec<f64> = moved.map(|(i, (z, m))| z + size(i / DIM) * m).collect();
    let image = |points: &[f64]| -> Result<Vec<f64>> {
        let points = batch(points.to_vec(), rows, DIM)?;
        Ok(flow.forward(&points, &Context::none(), &mut Tape::none())?.value.values())
    };
    let before = distances(&first, &second, DIM);
    let after = distances(&image(&first)?, &image(&second)?, DIM);
    let ratio = |a: &[f64], b: &[f64]| largest(a.iter().zip(b).map(|(a, b)| a / b));
    Ok([ratio(&after, &before), ratio(&before, &after)])
}

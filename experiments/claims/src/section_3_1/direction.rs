//! C12: masked and inverse autoregressive flows are one map, used in two directions (review,
//! Section 3.1).

use anyhow::Result;
use flows_core::activation::Activation;
use flows_core::tensor::{self, columns};
use flows_core::testing::perturb;
use flows_core::{
    Architecture, Base, Bijector, Chain, Context, Mapped, Tape, Values, normals, stream,
};
use flows_finite::architecture::{
    AutoregressiveFlow, Conditioner, Direction, LayerOrder, Perceptron,
};
use flows_report::finding::{Cell, Findings, Table};

use crate::helper::statistics::{distance, larger};
use crate::{Check, Claim, Setting};

pub(crate) const C12: Claim = Claim {
    id: "C12",
    title: "MAF and IAF are one map",
    review: "Whether an autoregressive map is the transformation or its inverse is a free choice: with \
             the same weights MAF and IAF exchange what is parallel and what is sequential \
             (Sections 3 and 3.1).",
    method: "Layers with the same weights in either direction, those of the IAF composed in the \
             opposite order: log-densities of the MAF against the base density of the IAF's forward \
             image plus its log-determinant, at the same points; the same by the sequential direction \
             of both, over a round trip; and the order of layers forgotten, for contrast.",
    check: Check::Run(check),
};

/// Rounding of a density by two sequences of operations: some thousands, each 1e-16, amplified by
/// feeding D features into each other.
const ROUNDING: f64 = 1e-9;

fn check(setting: &Setting) -> Result<Findings> {
    let rows = setting.either(200, 2000);
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Largest differences of log-densities over rows.",
        &[
            "D",
            "layers",
            "parallel",
            "sequential",
            "order forgotten",
            "MAF: passes for a density",
            "IAF: passes for a draw",
        ],
    );
    let (mut parallel, mut sequential, mut contrast) = (0.0, 0.0, f64::INFINITY);
    for (dim, layers) in [(1, 1), (2, 1), (2, 3), (8, 3), (24, 5)] {
        let pair = Pair::new(dim, layers, setting.seed)?;
        let x = normals::<f64>(rows * dim, &mut stream(setting.seed, "points"));
        let ([maf, iaf], passes) = pair.densities(&pair.iaf, &x)?;
        let ([_, forgotten], _) = pair.densities(&pair.forgotten, &x)?;
        let differences = [distance(&maf, &iaf), pair.over_a_draw(&x)?, distance(&maf, &forgotten)];
        parallel = larger(parallel, differences[0]);
        sequential = larger(sequential, differences[1]);
        if layers > 1 {
            contrast = differences[2].min(contrast);
        }
        let [one, two, wrong] = differences.map(Cell::from);
        let [density, draw] = passes.map(Cell::from);
        table.row([dim.into(), layers.into(), one, two, wrong, density, draw]);
    }
    judge([parallel, sequential, contrast], &mut findings);
    findings.tables.push(table);
    Ok(findings)
}

fn judge([parallel, sequential, contrast]: [f64; 3], findings: &mut Findings) {
    findings.at_most(
        "parallel directions: largest difference (nats)",
        parallel,
        0.0,
        "the same operations in the same order leave the same bits",
    );
    findings.at_most(
        "sequential directions: largest difference (nats)",
        sequential,
        ROUNDING,
        "one number by two routes: rounding alone",
    );
    findings.at_least(
        "layers composed in the same order instead: smallest difference of several layers (nats)",
        contrast,
        ROUNDING,
        "another map, whose density differs by more than rounding",
    );
}

/// One map as MAF and as IAF, and the IAF with the layers in the order of the MAF.
struct Pair {
    maf: Chain<f64>,
    iaf: Chain<f64>,
    forgotten: Chain<f64>,
}

impl Pair {
    fn new(dim: usize, layers: usize, seed: u64) -> Result<Self> {
        let layer = |formula: Direction, index: usize| -> flows_core::Result<_> {
            let order =
                if index.is_multiple_of(2) { LayerOrder::Natural } else { LayerOrder::Random };
            let conditioner = Perceptron { hidden: vec![32], activation: Activation::Tanh };
            let config = AutoregressiveFlow {
                layers: 1,
                conditioner: Conditioner::Perceptron(conditioner),
                order,
                formula,
                act_norm: false,
                ..AutoregressiveFlow::default()
            };
            let mut chain = config.build::<f64>(dim, 0, &mut stream(seed, "init"))?;
            perturb(&mut chain, 0.2, &mut stream(seed, &format!("layer {index}")))?;
            Ok(Box::new(chain) as Box<dyn Bijector<f64>>)
        };
        let all = |formula| (0..layers).map(|index| layer(formula, index)).collect::<Vec<_>>();
        let chain = |parts: Vec<_>| -> flows_core::Result<Chain<f64>> {
            Chain::new(dim, parts.into_iter().collect::<flows_core::Result<_>>()?)
        };
        let backwards = all(Direction::Sampling).into_iter().rev().collect();
        Ok(Self {
            maf: chain(all(Direction::Density))?,
            iaf: chain(backwards)?,
            forgotten: chain(all(Direction::Sampling))?,
        })
    }

    /// Densities at x in one pass a layer by the MAF and by the given IAF run backwards, and passes
    /// of both.
    fn densities(&self, iaf: &Chain<f64>, x: &[f64]) -> Result<([Vec<f64>; 2], [u64; 2])> {
        let dim = self.maf.dim();
        let x = tensor::batch(x.to_vec(), x.len() / dim, dim)?;
        let inverse = self.maf.inverse(&x, &Context::none(), &mut Tape::none())?;
        let forward = iaf.forward(&x, &Context::none(), &mut Tape::none())?;
        let passes = [inverse.work.network_passes, forward.work.network_passes];
        Ok(([density(inverse)?, density(forward)?], passes))
    }

    /// The largest difference of the densities at draws x: by the MAF's sequential sampling of x,
    /// and by the IAF run backwards at x.
    fn over_a_draw(&self, z: &[f64]) -> Result<f64> {
        let dim = self.maf.dim();
        let z = tensor::batch(z.to_vec(), z.len() / dim, dim)?;
        let drawn = self.maf.forward(&z, &Context::none(), &mut Tape::none())?;
        let of_base = Base::standard_normal(dim).log_prob(&z, &mut Tape::none())?.values();
        let log_det = drawn.log_det.values();
        let drawn_density: Vec<f64> = of_base.iter().zip(log_det).map(|(p, l)| p - l).collect();
        let ([_, mirrored], _) = self.densities(&self.iaf, &drawn.value.values())?;
        Ok(distance(&drawn_density, &mirrored))
    }
}

/// Log-density of the point that was mapped to base space.
fn density(mapped: Mapped<f64>) -> Result<Vec<f64>> {
    let base = Base::standard_normal(columns(&mapped.value));
    let base = base.log_prob(&mapped.value, &mut Tape::none())?;
    let log_det = mapped.log_det.values();
    Ok(base.values().iter().zip(log_det).map(|(base, log_det)| base + log_det).collect())
}

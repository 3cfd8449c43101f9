//! C11: what the conditioner decides about the cost of either direction (review, Sections 3.1.2).

use std::time::Instant;

use anyhow::Result;
use flows_core::testing::perturb;
use flows_core::{Architecture, Bijector, Chain, Context, Tape, Values, normals, stream, tensor};
use flows_finite::Sampling;
use flows_finite::architecture::{
    AutoregressiveFlow, Conditioner, CouplingFlow, Direction, Mixing,
};
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};

use crate::helper::statistics::exponent;
use crate::helper::timing::median;
use crate::{Check, Claim, Setting};

pub(crate) const C11: Claim = Claim {
    id: "C11",
    title: "Cost of both directions",
    review: "A masked autoregressive flow evaluates densities in one pass of its network and draws \
             samples in D, an inverse autoregressive flow the other way round; a coupling layer needs \
             one pass for either, and a layer of K parts K (Section 3.1.2).",
    method: "One layer of each kind over D features, 128 rows: passes of the conditioner counted in \
             either direction, and the ratio of their times, the median of interleaved repetitions. \
             Sampling is the plain one that the review describes, the whole network anew for each \
             part; the library's default, which computes each hidden unit once, is timed as well.",
    check: Check::Run(check),
};

const ROWS: usize = 128;

/// One layer, the number of passes expected of density and sampling, and its name.
struct Layer {
    name: &'static str,
    chain: Chain<f64>,
    expected: [u64; 2],
}

fn check(setting: &Setting) -> Result<Findings> {
    let dims: &[usize] = setting.either(&[2, 8, 32], &[2, 8, 32, 128, 512]);
    let repetitions = setting.either(3, 5);
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Passes of the conditioner for 128 rows, and seconds.",
        &["layer", "D", "density (passes)", "sampling (passes)", "density (s)", "sampling (s)"],
    );
    let mut wrong = 0;
    let mut curves: Vec<Curve> = Vec::new();
    for &dim in dims {
        for layer in layers(dim, setting.seed)? {
            let passes = passes(&layer.chain, setting.seed)?;
            wrong += u64::from(passes != layer.expected);
            let [density, sampling] = times(&layer.chain, repetitions, setting.seed)?;
            let [a, b] = passes.map(Into::into);
            table.row([layer.name.into(), dim.into(), a, b, density.into(), sampling.into()]);
            let point = [dim as f64, sampling / density];
            match curves.iter_mut().find(|(name, _)| *name == layer.name) {
                Some((_, points)) => points.push(point),
                None => curves.push((layer.name, vec![point])),
            }
        }
    }
    findings.at_most(
        "layers whose passes are not (1, D), (D, 1), (1, 1), (1, K)",
        wrong as f64,
        0.0,
        "counts are exact",
    );
    findings.tables.push(table);
    ratios(curves, dims, &mut findings);
    Ok(findings)
}

/// Ratios of times by the number of features, under the name of the layer.
type Curve = (&'static str, Vec<[f64; 2]>);

fn ratios(curves: Vec<Curve>, dims: &[usize], findings: &mut Findings) {
    let mut plot = Plot::new(
        "Time of sampling over that of the density; dashed: D.",
        Scale::log("D"),
        Scale::log("ratio of times"),
    );
    for (name, points) in curves {
        if name == MASKED || name == INVERSE {
            let slope = exponent(&points);
            findings.observed(&format!("{name}: growth of the ratio, power of D"), slope, None);
        }
        plot.series(name, Stroke::Measured, points);
    }
    plot.series("D", Stroke::Reference, dims.iter().map(|&d| [d as f64, d as f64]));
    findings.plots.push(plot);
}

const MASKED: &str = "masked (MAF)";
const INVERSE: &str = "inverse (IAF)";

fn layers(dim: usize, seed: u64) -> Result<Vec<Layer>> {
    let conditioner = Conditioner::perceptron(vec![dim.max(64)]);
    let sequential = AutoregressiveFlow {
        layers: 1,
        conditioner: conditioner.clone(),
        sampling: Sampling::Sequential,
        act_norm: false,
        ..AutoregressiveFlow::default()
    };
    let build = |flow: &AutoregressiveFlow| flow.build::<f64>(dim, 0, &mut stream(seed, "init"));
    let mirrored = AutoregressiveFlow { formula: Direction::Sampling, ..sequential.clone() };
    let kept = AutoregressiveFlow { sampling: Sampling::Incremental, ..sequential.clone() };
    let coupling = CouplingFlow {
        layers: 1,
        conditioner,
        mixing: Mixing::None,
        act_norm: false,
        ..CouplingFlow::default()
    };
    let coupling = coupling.build::<f64>(dim, 0, &mut stream(seed, "init"))?;
    let all = dim as u64;
    let mut layers = vec![
        Layer { name: MASKED, chain: build(&sequential)?, expected: [1, all] },
        Layer { name: INVERSE, chain: build(&mirrored)?, expected: [all, 1] },
        Layer { name: "coupling", chain: coupling, expected: [1, 1] },
        Layer { name: "masked, each unit once", chain: build(&kept)?, expected: [1, 1] },
    ];
    for (name, parts) in [("2 parts", 2), ("8 parts", 8)] {
        if parts <= dim {
            let flow = AutoregressiveFlow { parts: Some(parts), ..sequential.clone() };
            layers.push(Layer { name, chain: build(&flow)?, expected: [1, parts as u64] });
        }
    }
    for layer in &mut layers {
        perturb(&mut layer.chain, 0.02, &mut stream(seed, "perturb"))?;
    }
    Ok(layers)
}

/// Of the density and of sampling.
fn passes(chain: &Chain<f64>, seed: u64) -> Result<[u64; 2]> {
    let dim = chain.dim();
    let z = tensor::batch(normals(dim, &mut stream(seed, "draws")), 1, dim)?;
    let sampled = chain.forward(&z, &Context::none(), &mut Tape::none())?;
    let mapped = chain.inverse(&sampled.value, &Context::none(), &mut Tape::none())?;
    Ok([mapped.work.network_passes, sampled.work.network_passes])
}

/// Median seconds of the density and of sampling.
fn times(chain: &Chain<f64>, repetitions: usize, seed: u64) -> Result<[f64; 2]> {
    let dim = chain.dim();
    let z = tensor::batch(normals(ROWS * dim, &mut stream(seed, "rows")), ROWS, dim)?;
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..repetitions {
        let clock = Instant::now();
        let x = chain.forward(&z, &Context::none(), &mut Tape::none())?.value;
        seconds[1].push(clock.elapsed().as_secs_f64());
        let clock = Instant::now();
        let z = chain.inverse(&x, &Context::none(), &mut Tape::none())?.value;
        std::hint::black_box(z.values());
        seconds[0].push(clock.elapsed().as_secs_f64());
    }
    Ok(seconds.map(median))
}

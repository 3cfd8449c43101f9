//! A flow of four steps from a normal to a cross, step by step (review, Section 2.1).

use anyhow::Result;
use flows_bench::targets::KnownTarget;
use flows_claims::{Check, Claim, Setting};
use flows_core::train::{AdamConfig, Budget, Checkpoint, SamplerSource, TrainConfig, Trainer};
use flows_core::{
    Architecture, Base, Batch, Bijector, Context, Flow, Stream, Target, Values, stream,
};
use flows_finite::architecture::{
    Conditioner, CouplingFlow, RationalQuadraticConfig, SplineConfig, TransformerConfig,
};
use flows_inference::Weighted;
use flows_report::Estimate;
use flows_report::finding::{Content, Criterion, Findings, Panel, Panels, Table};
use flows_report::grid::{IMAGE_CELLS, cell_area, centres};

use crate::evaluate::KEPT_DRAWS;

pub(super) const PART: Claim = Claim {
    id: "figure-1",
    title: "Four steps from a normal to a cross",
    review: "A flow moves draws of a simple base step by step to a complicated density; every step is \
             invertible and its density known (Section 2.1 and its figure).",
    method: "Four spline couplings fitted to draws of a cross whose density is known. The same draws \
             of the base after every step, the density after every step, and the divergence of \
             each from the cross.",
    check: Check::Run(check),
};

const TARGET: KnownTarget = KnownTarget::Cross;
const STEPS: usize = 4;

/// Draws of either side that divergences are means over.
const DRAWS: usize = 50_000;

fn check(setting: &Setting) -> Result<Findings> {
    let whole = train(setting)?;
    let z0 = whole.base().sample(KEPT_DRAWS, &mut stream(setting.seed, "figure"))?;
    let window = TARGET.window();
    let cells = centres(window, IMAGE_CELLS);
    let truth = TARGET.log_densities(&cells)?;
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Divergence of the density after every step from the cross.",
        &["after step", "forward KL (nats)", "reverse KL (nats)"],
    );
    let (mut draws, mut densities) = (Vec::new(), Vec::new());
    let mut last = None;
    for step in 0..=STEPS {
        let flow = prefix(&whole, step, setting.seed)?;
        let title = format!("z{step}");
        let moved = flow.bijector().image(&z0, &Context::none())?.0;
        draws.push(panel(&title, Content::points(&values(&moved))));
        let density = flow.evaluate(&cast(&cells), &Context::none())?.0;
        densities.push(panel(&title, Content::log_density(&density)));
        let [forward, reverse] = divergences(&flow, setting.seed)?;
        let pair = |e: Estimate| (e.mean, e.standard_error);
        table.row([step.into(), pair(forward).into(), pair(reverse).into()]);
        last = Some(forward);
    }
    draws.push(panel("cross", Content::points(&target_draws(KEPT_DRAWS, setting.seed))));
    densities.push(panel("cross", Content::log_density(&truth)));
    if let Some(Estimate { mean, standard_error }) = last {
        findings.demand(
            "forward KL after the last step (nats)",
            (mean, Some(standard_error)),
            Criterion::Between(-3.0 * standard_error, best_normal()?),
            "at least 0, within three standard errors, and below that of the best normal, which \
             has the target's moments",
        );
    }
    findings.tables.push(table);
    for (title, panels) in [
        ("The same draws of the base after every step, and draws of the cross.", draws),
        ("The density after every step, and the cross.", densities),
    ] {
        let axes = ["first feature".into(), "second feature".into()];
        findings.panels.push(Panels { title: title.into(), window, axes, panels });
    }
    Ok(findings)
}

fn panel(title: &str, content: Content) -> Panel {
    Panel { title: title.into(), content }
}

/// Divergence of the normal with the cross's variance (2^2 + 0.3^2) / 2 in both features, by the
/// midpoint rule.
fn best_normal() -> Result<f64> {
    const CELLS: usize = 400;
    let window = [-16.0, 16.0, -16.0, 16.0];
    let points = centres(window, CELLS);
    let variance: f64 = 0.5 * (2.0 * 2.0 + 0.3 * 0.3);
    let log_p = TARGET.log_densities(&points)?;
    let terms = points.chunks_exact(2).zip(log_p).map(|(x, p)| {
        let log_q =
            -0.5 * (x[0] * x[0] + x[1] * x[1]) / variance - (std::f64::consts::TAU * variance).ln();
        p.exp() * (p - log_q)
    });
    Ok(terms.sum::<f64>() * cell_area(window, CELLS))
}

fn config(layers: usize) -> CouplingFlow {
    let conditioner = Conditioner::perceptron(vec![64, 64]);
    let transformer =
        RationalQuadraticConfig(SplineConfig { bound: 8.0, ..SplineConfig::default() }).shared();
    CouplingFlow { layers, conditioner, transformer, act_norm: false, ..CouplingFlow::nsf() }
}

fn build(layers: usize, seed: u64) -> Result<Flow<f32>> {
    let bijector: Box<dyn Bijector<f32>> = match layers {
        0 => Box::new(flows_core::Chain::new(2, Vec::new())?),
        _ => Box::new(config(layers).build::<f32>(2, 0, &mut stream(seed, "init"))?),
    };
    Ok(Flow::new(Base::standard_normal(2), bijector)?)
}

fn train(setting: &Setting) -> Result<Flow<f32>> {
    let config = TrainConfig {
        optimiser: AdamConfig { learning_rate: 3e-3, ..AdamConfig::default() },
        ema: Some(0.99),
        ..TrainConfig::default()
    };
    let budget = Budget::Steps { steps: setting.either(400, 6_000) };
    let trainer = Trainer::new(build(STEPS, setting.seed)?, config, budget, setting.seed)?;
    let draw = |rows: usize, rng: &mut Stream| cast(&TARGET.sample(rows, rng));
    Ok(trainer.fit(&SamplerSource::new(draw, 2, setting.seed))?)
}

/// The first steps of a flow.
fn prefix(whole: &Flow<f32>, steps: usize, seed: u64) -> Result<Flow<f32>> {
    let mut flow = build(steps, seed)?;
    let mut weights = Checkpoint::new();
    weights.add_model("flow", whole);
    weights.restore_model("flow", &mut flow)?;
    Ok(flow)
}

fn target_draws(rows: usize, seed: u64) -> Vec<f64> {
    TARGET.sample(rows, &mut stream(seed, "target"))
}

fn divergences(flow: &Flow<f32>, seed: u64) -> Result<[Estimate; 2]> {
    let truth = target_draws(DRAWS, seed);
    let log_p = TARGET.log_densities(&truth)?;
    let log_q = flow.evaluate(&cast(&truth), &Context::none())?.0;
    let forward = Estimate::of(log_p.iter().zip(&log_q).map(|(p, q)| p - q));
    let weighted = Weighted::draw(flow, &TARGET, DRAWS, &mut stream(seed, "reverse"))?;
    Ok([forward, Estimate::of(weighted.log_weights.values().iter().map(|w| -w))])
}

fn values(batch: &Batch<f32>) -> Vec<f64> {
    batch.values().iter().map(|&v| f64::from(v)).collect()
}

fn cast(values: &[f64]) -> Vec<f32> {
    flows_core::tensor::cast(values)
}

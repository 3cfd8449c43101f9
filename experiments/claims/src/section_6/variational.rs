//! C47: flows as approximate posteriors (review, Section 6.2.3).

use std::sync::Arc;

use anyhow::Result;
use flows_bench::targets::KnownTarget;
use flows_core::train::{Annealing, ReverseKl};
use flows_core::{Architecture, stream};
use flows_finite::architecture::{
    AffineConfig, AutoregressiveFlow, Conditioner, Direction, LemmaFlow, TransformerConfig,
};
use flows_inference::Weighted;
use flows_report::finding::{Criterion, Findings, Plot, Scale, Stroke, Table};

use crate::helper::short_training::Course;
use crate::helper::statistics::mean;
use crate::{Check, Claim, Setting};

pub(crate) const C47: Claim = Claim {
    id: "C47",
    title: "Variational inference",
    review: "A flow as an approximate posterior, whose draws are reparametrised, maximises the evidence \
             lower bound; a richer flow makes the bound tighter (Section 6.2.3).",
    method: "The ring u1 as the joint density of a model, its log Z the evidence, which is known. The \
             gap log Z - ELBO, which is the reverse divergence, of 1, 2, 4 and 8 planar and inverse \
             autoregressive layers after the same number of steps.",
    check: Check::Run(check),
};

const TARGET: KnownTarget = KnownTarget::U1;

const LAYERS: [usize; 4] = [1, 2, 4, 8];

/// Architecture of so many layers.
type Layers = fn(usize) -> Arc<dyn Architecture>;

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Gap of the evidence lower bound (nats).",
        &["layers", "1 layer", "2 layers", "4 layers", "8 layers"],
    );
    let mut plot = Plot::new(
        "Gap of the evidence lower bound by number of layers.",
        Scale::log("layers"),
        Scale::log("log Z - ELBO (nats)"),
    );
    let kinds: [(&str, Layers); 2] =
        [("planar", planar), ("inverse autoregressive", inverse_autoregressive)];
    for (name, config) in kinds {
        let mut gaps = Vec::new();
        for layers in LAYERS {
            gaps.push(gap(name, config(layers).as_ref(), layers, setting)?);
        }
        demand(name, &gaps, &mut findings);
        let points = LAYERS.iter().zip(&gaps).map(|(&k, &(gap, error))| [k as f64, gap, error]);
        plot.series_with_errors(name, Stroke::Measured, points);
        if let &[one, two, four, eight] = gaps.as_slice() {
            table.row([name.into(), one.into(), two.into(), four.into(), eight.into()]);
        }
    }
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(findings)
}

fn demand(name: &str, gaps: &[(f64, f64)], findings: &mut Findings) {
    if let (Some(&(one, first)), Some(&(eight, last))) = (gaps.first(), gaps.last()) {
        let error = first.hypot(last);
        findings.demand(
            &format!("{name}: gap with 1 layer less that with 8 (nats)"),
            (one - eight, Some(error)),
            Criterion::AtLeast(4.0 * error),
            "the claim: flows of 8 layers contain those of 1; four standard errors",
        );
    }
    let least = gaps.iter().map(|(gap, error)| gap / error).fold(f64::INFINITY, f64::min);
    findings.at_least(
        &format!("{name}: least gap (standard errors)"),
        least,
        -4.0,
        "the gap is a divergence, which is not negative",
    );
}

/// log Z - ELBO after training, with its standard error.
fn gap(
    name: &str,
    config: &dyn Architecture,
    layers: usize,
    setting: &Setting,
) -> Result<(f64, f64)> {
    let named = |what: &str| format!("{what} of {layers} {name}");
    let bijector = config.build_f64(2, 0, &mut stream(setting.seed, &named("init")))?;
    let steps = setting.either(800, 5000);
    let course = Course { steps, learning_rate: 5e-3, seed: setting.seed };
    let annealing = Some(Annealing { from: 0.1, until: 0.5 });
    let reverse = ReverseKl { annealing, ..ReverseKl::default() };
    let flow = course.train_on_density(Box::new(bijector), reverse, &TARGET)?;
    let rows = setting.either(20_000, 100_000);
    let drawn = Weighted::draw(&flow, &TARGET, rows, &mut stream(setting.seed, &named("draws")))?;
    let (bound, error) = mean(drawn.log_weights.values());
    Ok((TARGET.log_normaliser().nats - bound, error))
}

/// The formula is in the direction of the draws.
fn planar(layers: usize) -> Arc<dyn Architecture> {
    Arc::new(LemmaFlow { layers, formula: Direction::Sampling, ..LemmaFlow::default() })
}

fn inverse_autoregressive(layers: usize) -> Arc<dyn Architecture> {
    Arc::new(AutoregressiveFlow {
        layers,
        conditioner: Conditioner::perceptron(vec![16, 16]),
        transformer: AffineConfig::default().shared(),
        formula: Direction::Sampling,
        ..AutoregressiveFlow::default()
    })
}

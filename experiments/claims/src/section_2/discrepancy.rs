//! C10: a divergence that is estimated from draws alone trains a flow without log-determinants
//! (review, Section 2.3.4).

use anyhow::Result;
use flows_bench::targets::KnownTarget;
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::per_row;
use flows_core::train::{
    AdamConfig, Budget, MaximumMeanDiscrepancy, Objective, SamplerSource, TrainConfig, Trainer,
};
use flows_core::{
    Architecture, Base, Batch, Bijector, Context, Costs, Flow, Mapped, Parameters, Stream, Tape,
    Values, stream,
};
use flows_finite::architecture::{
    Conditioner, CouplingFlow, RationalQuadraticConfig, SplineConfig, TransformerConfig,
};
use flows_report::Estimate;
use flows_report::finding::{Content, Criterion, Findings, Panel, Panels, Table};

use crate::{Check, Claim, Setting};

pub(crate) const C10: Claim = Claim {
    id: "C10",
    title: "Training on a discrepancy of draws",
    review: "Flows can be trained on integral probability metrics, which compare draws of the flow \
             with draws of the target and need no density; the likelihood stays available for \
             evaluation (Section 2.3.4).",
    method: "A small spline flow fitted to the banana by the maximum mean discrepancy of draws, and \
             the same flow by maximum likelihood. The first is trained a second time with \
             log-determinants replaced by NaN: no weight may change by a bit. Discrepancy on fresh \
             draws and negative log-likelihood of both.",
    check: Check::Run(check),
};

/// Draws in a panel.
const SHOWN_DRAWS: usize = 3_000;

const TARGET: KnownTarget = KnownTarget::Banana;

/// Bandwidths 0.5, 1, 2 and 4: the scales of the target.
const DISCREPANCY: MaximumMeanDiscrepancy = MaximumMeanDiscrepancy { bandwidth: 0.5, kernels: 4 };

/// Draws of flow and target in a step.
const ROWS: usize = 128;

/// Draws of either that a discrepancy is measured on.
const TEST_ROWS: usize = 20_000;

fn check(setting: &Setting) -> Result<Findings> {
    let steps = setting.either(400, 3_000);
    let start = flow(setting.seed)?;
    let discrepancy = Objective::MaximumMeanDiscrepancy(DISCREPANCY);
    let fitted = fit(flow(setting.seed)?, discrepancy, steps, setting.seed)?;
    let blind = fit(blinded(flow(setting.seed)?)?, discrepancy, steps, setting.seed)?;
    let likely = fit(flow(setting.seed)?, Objective::MaximumLikelihood, steps, setting.seed)?;
    let mut findings = Findings::default();
    let differing = weights(&fitted).iter().zip(weights(&blind)).filter(|(a, b)| **a != *b).count();
    findings.at_most(
        "weights that differ when every log-determinant is NaN",
        differing as f64,
        0.0,
        "the discrepancy is a function of draws alone",
    );
    let mut table = Table::new(
        "The flow before training and after it by either objective, on fresh draws.",
        &["trained by", "squared discrepancy", "negative log-likelihood (nats)"],
    );
    let mut rows = Vec::new();
    let named = [("nothing", &start), ("discrepancy", &fitted), ("likelihood", &likely)];
    for (name, flow) in named {
        let [discrepancy, nll] = measure(flow, setting.seed)?;
        let pair = |e: Estimate| (e.mean, e.standard_error);
        table.row([name.into(), pair(discrepancy).into(), pair(nll).into()]);
        rows.push([discrepancy, nll]);
    }
    demand(&mut findings, &rows);
    findings.tables.push(table);
    findings.panels.push(panels(&named, setting.seed)?);
    Ok(findings)
}

fn demand(findings: &mut Findings, rows: &[[Estimate; 2]]) {
    let [[before, nll_before], [after, nll_after], [_, nll_best]] = rows else { return };
    findings.demand(
        "squared discrepancy after training on it, as a fraction of that before",
        (after.mean / before.mean, Some(after.standard_error / before.mean)),
        Criterion::AtMost(0.1),
        "the distance itself falls to less than a third",
    );
    findings.demand(
        "negative log-likelihood that training on the discrepancy gained (nats)",
        (
            nll_before.mean - nll_after.mean,
            Some(nll_before.standard_error.hypot(nll_after.standard_error)),
        ),
        Criterion::AtLeast(0.0),
        "a density that comes near in distribution comes near in likelihood, for a smooth flow",
    );
    let error = nll_after.standard_error.hypot(nll_best.standard_error);
    findings.demand(
        "negative log-likelihood above that of maximum likelihood (nats)",
        (nll_after.mean - nll_best.mean, Some(error)),
        Criterion::AtLeast(-3.0 * error),
        "nothing has a smaller one than what is trained on it, within three standard errors",
    );
}

/// Three small spline couplings.
fn flow(seed: u64) -> Result<Flow<f64>> {
    let conditioner = Conditioner::perceptron(vec![32]);
    let transformer =
        RationalQuadraticConfig(SplineConfig { bins: 8, ..SplineConfig::default() }).shared();
    let config = CouplingFlow {
        layers: 3,
        conditioner,
        transformer,
        act_norm: false,
        ..CouplingFlow::nsf()
    };
    let chain = config.build::<f64>(2, 0, &mut stream(seed, "init"))?;
    Ok(Flow::new(Base::standard_normal(2), Box::new(chain))?)
}

fn weights(flow: &Flow<f64>) -> Vec<f64> {
    let mut all = Vec::new();
    flow.visit(&mut |_, _, tensor| all.extend(tensor.values()));
    all
}

/// A flow whose log-determinants are not numbers.
fn blinded(flow: Flow<f64>) -> Result<Flow<f64>> {
    Ok(Flow::new(Base::standard_normal(2), Box::new(WithoutLogDet(flow)))?)
}

/// The map of a flow with NaN for its log-determinants.
#[derive(Debug)]
struct WithoutLogDet(Flow<f64>);

impl Parameters<f64> for WithoutLogDet {
    fn visit(&self, f: &mut Visitor<'_, f64>) {
        self.0.bijector().visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, f64>) -> flows_core::Result<()> {
        self.0.bijector_mut().visit_mut(f)
    }
}

impl Bijector<f64> for WithoutLogDet {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn costs(&self) -> Costs {
        self.0.bijector().costs()
    }

    fn forward(
        &self,
        z: &Batch<f64>,
        context: &Context<f64>,
        tape: &mut Tape<f64>,
    ) -> flows_core::Result<Mapped<f64>> {
        let mapped = self.0.bijector().forward(z, context, tape)?;
        Ok(Mapped { log_det: per_row(vec![f64::NAN; mapped.value.rows()])?, ..mapped })
    }

    fn inverse(
        &self,
        x: &Batch<f64>,
        context: &Context<f64>,
        tape: &mut Tape<f64>,
    ) -> flows_core::Result<Mapped<f64>> {
        let mapped = self.0.bijector().inverse(x, context, tape)?;
        Ok(Mapped { log_det: per_row(vec![f64::NAN; mapped.value.rows()])?, ..mapped })
    }
}

fn fit(flow: Flow<f64>, objective: Objective, steps: u64, seed: u64) -> Result<Flow<f64>> {
    let config = TrainConfig {
        objective,
        batch_rows: ROWS,
        optimiser: AdamConfig { learning_rate: 5e-3, ..AdamConfig::default() },
        ..TrainConfig::default()
    };
    let trainer = Trainer::new(flow, config, Budget::Steps { steps }, seed)?;
    let draw = |rows: usize, rng: &mut Stream| TARGET.sample(rows, rng);
    Ok(trainer.fit(&SamplerSource::new(draw, 2, seed))?)
}

/// k(a, b) = sum over bandwidths h of exp(-|a - b|^2 / 2 h^2).
fn kernel(a: &[f64], b: &[f64]) -> f64 {
    let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    DISCREPANCY.bandwidths().iter().map(|h| (-0.5 * square / (h * h)).exp()).sum()
}

/// Squared discrepancy over disjoint pairs of fresh draws, and negative log-likelihood.
fn measure(flow: &Flow<f64>, seed: u64) -> Result<[Estimate; 2]> {
    let rng = &mut stream(seed, "test");
    let x = flow.base().sample(TEST_ROWS, rng)?;
    let x = flow.bijector().image(&x, &Context::none())?.0.values();
    let y = TARGET.sample(TEST_ROWS, rng);
    // One value for each pair of rows: all four draws of a term are its own.
    let term = |(x, y): (&[f64], &[f64])| {
        let ([a, b], [c, d]) = ([&x[..2], &x[2..]], [&y[..2], &y[2..]]);
        kernel(a, b) + kernel(c, d) - kernel(a, d) - kernel(b, c)
    };
    let discrepancy = Estimate::of(x.chunks_exact(4).zip(y.chunks_exact(4)).map(term));
    let log_q = flow.evaluate(&y, &Context::none())?.0;
    Ok([discrepancy, Estimate::of(log_q.iter().map(|q| -q))])
}

fn panels(named: &[(&str, &Flow<f64>)], seed: u64) -> Result<Panels> {
    let target = TARGET.sample(SHOWN_DRAWS, &mut stream(seed, "panel"));
    let mut panels = vec![Panel { title: "target".into(), content: Content::points(&target) }];
    for (name, flow) in named {
        let u = flow.base().sample(SHOWN_DRAWS, &mut stream(seed, "panel"))?;
        let x = flow.bijector().image(&u, &Context::none())?.0;
        panels.push(Panel { title: (*name).into(), content: Content::points(&x.values()) });
    }
    Ok(Panels {
        title:
            "Draws of the target, and of the flow before and after training by either objective."
                .into(),
        window: TARGET.window(),
        axes: ["x1".into(), "x2".into()],
        panels,
    })
}

//! Both families on correlated mixtures of normals in 4 to 400 dimensions.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use flows_bench::correlated_mixture::CorrelatedMixture;
use flows_bench::metrics::{Distance, distances};
use flows_claims::{Check, Claim, Setting};
use flows_core::tensor::cast;
use flows_core::train::{Budget, SamplerSource, StopReason, TrainConfig, Trainer, Validation};
use flows_core::{Architecture, Context, Flow, Purpose, Stream, Values, stream};
use flows_finite::architecture::{AutoregressiveFlow, Conditioner};
use flows_report::Estimate;
use flows_report::finding::{Criterion, Findings, Plot, Scale, Stroke, Table};
use flows_report::record::BETWEEN_SAMPLES;
use nalgebra::DMatrix;

use crate::config::RunConfig;
use crate::preset::Preset;

pub(super) const PART: Claim = Claim {
    id: "high-dim",
    title: "Correlated mixtures of normals in many dimensions",
    review: "Flows of either family can represent any density that is smooth and positive (Sections 2.2 \
             and 4); how their fits fare as dimensions are added, the review leaves to experiments.",
    method: "Three normals at random places (Coccaro et al. 2024), a fresh batch of draws each step, the \
             same seconds for every flow. Masked networks have at least D units a layer. On held-out draws \
             the divergence from the mixture, whose density is known; between draws of the flow and \
             held-out draws five distances, with what they exceed once in twenty for two samples of one \
             distribution.",
    check: Check::Run(check),
};

/// The four of the paper, and the continuous flow whose trace costs least.
const FLOWS: [&str; 5] = ["real-nvp", "maf", "nsf-coupling", "nsf-autoregressive", "ot-flow"];

/// Units of a masked network, if there are no more features.
const UNITS: usize = 128;

fn check(setting: &Setting) -> Result<Findings> {
    let dims: &[usize] = setting.either(&[4, 16], &[4, 16, 64, 100, 400]);
    let mut page = Page::new();
    for &dim in dims {
        let problem = Problem::new(dim, setting);
        page.normal.push([dim as f64, problem.best_normal()? / dim as f64]);
        for (index, name) in FLOWS.into_iter().enumerate() {
            let preset = Preset::named(Some(name))?;
            match problem.fit(preset, setting) {
                Ok(fit) => page.add(index, preset, &problem, &fit),
                // One that diverges leaves the others to be seen.
                Err(error) => page.failures.push(format!("{name}, D = {dim}: {error:#}")),
            }
        }
    }
    Ok(page.close())
}

/// A mixture with held-out draws.
struct Problem {
    mixture: CorrelatedMixture,
    /// Mean and standard deviation of each feature, which flows are trained without.
    moments: Vec<[f64; 2]>,
    test: Vec<f64>,
    log_p: Vec<f64>,
    /// Nats.
    entropy: Estimate,
}

/// What a flow came to.
struct Fit {
    divergence: Estimate,
    distances: Vec<Distance>,
    steps: u64,
}

impl Problem {
    fn new(dim: usize, setting: &Setting) -> Self {
        let mixture = CorrelatedMixture::new(dim, setting.seed);
        let rows = setting.either(2_000, 10_000);
        let test = mixture.sample(rows, &mut stream(setting.seed, "test"));
        let log_p: Vec<f64> = test.chunks_exact(dim).map(|x| mixture.log_density(x)).collect();
        let (mean, standard_error) = mixture.entropy(rows, &mut stream(setting.seed, "entropy"));
        let (moments, entropy) = (mixture.moments(), Estimate { mean, standard_error });
        Self { mixture, moments, test, log_p, entropy }
    }

    fn dim(&self) -> usize {
        self.mixture.dim()
    }

    /// Divergence from the mixture of the normal with its moments, nats: the least of any normal.
    fn best_normal(&self) -> Result<f64> {
        let covariance =
            DMatrix::from_row_slice(self.dim(), self.dim(), &self.mixture.covariance());
        let factor = covariance.cholesky().context("a covariance that is not positive")?;
        let log_det: f64 = factor.l_dirty().diagonal().iter().map(|v| 2.0 * v.ln()).sum();
        let unit = (std::f64::consts::TAU * std::f64::consts::E).ln();
        Ok(0.5 * (self.dim() as f64 * unit + log_det) - self.entropy.mean)
    }

    fn standardised(&self, rows: &[f64]) -> Vec<f32> {
        let moments = self.moments.iter().cycle();
        cast(&rows.iter().zip(moments).map(|(x, [m, s])| (x - m) / s).collect::<Vec<_>>())
    }

    fn fit(&self, preset: &Preset, setting: &Setting) -> Result<Fit> {
        let mut config = RunConfig::of(preset);
        config.seed = setting.seed;
        config.flow = wide(preset, self.dim()).into();
        let flow = config.build::<f32>(self.dim(), 0)?;
        // Batches are drawn anew: there is nothing to stop early for.
        let train = TrainConfig { patience: None, ..config.train };
        let budget =
            Budget::Seconds { seconds: setting.seconds.unwrap_or(setting.either(1.5, 20.0)) };
        let mut trainer = Trainer::new(flow, train, budget, setting.seed)?;
        let draw =
            |rows: usize, rng: &mut Stream| self.standardised(&self.mixture.sample(rows, rng));
        // Rows on which steps of a solver are refined.
        let values = draw(1_000, &mut stream(setting.seed, "validation"));
        let validation = Validation { values, context: Context::none() };
        let source = SamplerSource::new(draw, self.dim(), setting.seed);
        let on = |_: &_, _: &_| Ok(ControlFlow::Continue(()));
        if let StopReason::Diverged { step, reason } =
            trainer.run(&source, Some(&validation), on)?
        {
            bail!("training stopped at step {step}: {reason}");
        }
        let steps = trainer.steps();
        self.evaluate(trainer.into_flow()?, steps, setting)
    }

    fn evaluate(&self, mut flow: Flow<f32>, steps: u64, setting: &Setting) -> Result<Fit> {
        flow.bijector_mut().set_purpose(Purpose::Reporting)?;
        let (log_q, _) = flow.evaluate(&self.standardised(&self.test), &Context::none())?;
        let offset: f64 = self.moments.iter().map(|[_, s]| s.ln()).sum();
        let gaps = self.log_p.iter().zip(log_q).map(|(p, q)| p - (q - offset));
        let rows = self.log_p.len();
        let (drawn, _) = flow.sample(rows, &Context::none(), &mut stream(setting.seed, "draws"))?;
        let moments = self.moments.iter().cycle();
        let drawn = drawn.values().into_iter().zip(moments);
        let drawn: Vec<f64> = drawn.map(|(z, [m, s])| m + s * f64::from(z)).collect();
        let distances = distances(&drawn, &self.test, self.dim(), setting.seed)?;
        Ok(Fit { divergence: Estimate::of(gaps), distances, steps })
    }
}

/// The preset's flow, with as many units as masks need.
fn wide(preset: &Preset, dim: usize) -> Arc<dyn Architecture> {
    match preset.flow.downcast_ref::<AutoregressiveFlow>() {
        Some(flow) => {
            let conditioner = Conditioner::perceptron(vec![dim.max(UNITS); 2]);
            Arc::new(AutoregressiveFlow { conditioner, ..flow.clone() })
        }
        None => Arc::clone(&preset.flow),
    }
}

/// A curve for each flow.
type Curves = [Vec<[f64; 3]>; FLOWS.len()];

struct Page {
    findings: Findings,
    table: Table,
    divergences: Curves,
    wasserstein: Curves,
    null: Vec<[f64; 2]>,
    normal: Vec<[f64; 2]>,
    /// Fits that could not be made, and why.
    failures: Vec<String>,
    /// Names of the flows for readers.
    titles: [&'static str; FLOWS.len()],
}

impl Page {
    fn new() -> Self {
        let mut columns = vec!["D", "flow", "KL divergence (nats)", "entropy (nats)"];
        columns.extend(BETWEEN_SAMPLES.iter().flat_map(|name| [name.title, "its null 95 %"]));
        columns.push("steps");
        Self {
            findings: Findings::default(),
            table: Table::new("Every fit.", &columns),
            divergences: Default::default(),
            wasserstein: Default::default(),
            null: Vec::new(),
            normal: Vec::new(),
            failures: Vec::new(),
            titles: FLOWS,
        }
    }

    fn add(&mut self, index: usize, preset: &Preset, problem: &Problem, fit: &Fit) {
        let dim = problem.dim();
        self.titles[index] = preset.title;
        let Estimate { mean, standard_error } = fit.divergence;
        self.findings.demand(
            &format!("{}, D = {dim}: KL divergence (nats)", preset.name),
            (mean, Some(standard_error)),
            Criterion::AtLeast(-4.0 * standard_error),
            "a divergence is not negative: so far within four standard errors",
        );
        let pair = |e: Estimate| (e.mean, e.standard_error);
        let mut row = vec![
            dim.into(),
            preset.title.into(),
            pair(fit.divergence).into(),
            pair(problem.entropy).into(),
        ];
        for name in BETWEEN_SAMPLES {
            let distance = fit.distances.iter().find(|distance| distance.name == name.key);
            let numbers = distance.map_or([f64::NAN; 2], |d| [d.value, d.null_95]);
            row.extend(numbers.map(Into::into));
        }
        row.push(fit.steps.into());
        self.table.rows.push(row);
        let scale = dim as f64;
        self.divergences[index].push([scale, mean / scale, standard_error / scale]);
        if let Some(wasserstein) = fit.distances.first() {
            self.wasserstein[index].push([scale, wasserstein.value, 0.0]);
            if index == 0 {
                self.null.push([scale, wasserstein.null_95]);
            }
        }
    }

    fn close(self) -> Findings {
        let mut findings = self.findings;
        let failed = self.failures.len() as f64;
        findings.at_most("fits that could not be made", failed, 0.0, "every flow can be trained");
        self.failures.into_iter().for_each(|failure| findings.remark(failure));
        let dimensions = || Scale::log("features D");
        let mut divergences = Plot::new(
            "Divergence a feature; dashed: of the best normal.",
            dimensions(),
            Scale::log("KL divergence / D (nats)"),
        );
        let mut wasserstein = Plot::new(
            "Sliced Wasserstein distance of draws from held-out draws, in standard deviations; dashed: \
             exceeded once in twenty by samples of one distribution.",
            dimensions(),
            Scale::log("sliced Wasserstein distance"),
        );
        for (index, (kl, distance)) in
            self.divergences.into_iter().zip(self.wasserstein).enumerate()
        {
            divergences.series_with_errors(self.titles[index], Stroke::Measured, kl);
            wasserstein.series_with_errors(self.titles[index], Stroke::Measured, distance);
        }
        divergences.series("best normal", Stroke::Reference, self.normal);
        wasserstein.series("95 % of one distribution", Stroke::Reference, self.null);
        findings.tables.push(self.table);
        findings.plots.extend([divergences, wasserstein]);
        findings
    }
}

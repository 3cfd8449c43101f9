//! Chains of one method with what they cost.

use std::time::Instant;

use anyhow::{Context as _, Result};
use flows_claims::Setting;
use flows_core::train::{Budget, Trainer};
use flows_core::{Base, Flow, Purpose, Target, normals, stream};
use flows_inference::chain::diagnostics::LARGEST_R_HAT;
use flows_inference::chain::{Chains, NutsChains, Pullback};
use flows_report::finding::{Cell, Findings, Table};

use super::contender::{Contender, nuts};

/// Number of chains.
const CHAINS: usize = 4;

/// Chains of one method.
pub(super) struct Sampled {
    pub(super) title: String,
    family: &'static str,
    /// Draws in the space of the density.
    pub(super) chains: Chains,
    /// Draws in base space, if there was one.
    pub(super) base: Option<Chains>,
    /// Where the chains began, in the space of the density.
    pub(super) starts: Vec<Vec<f64>>,
    run: NutsChains,
    seconds: f64,
    training: Option<Training>,
}

/// What a flow's training took.
struct Training {
    seconds: f64,
    gradients: u64,
}

/// How chains mix: numbers of the worst coordinate.
pub(super) struct Mixing {
    r_hat: f64,
    bulk_ess: f64,
    /// Gradient evaluations after warm-up.
    gradients: u64,
}

impl Mixing {
    /// Effective draws a gradient evaluation.
    pub(super) fn per_gradient(&self) -> f64 {
        self.bulk_ess / self.gradients as f64
    }
}

/// Chains in the base space of a flow that is trained here.
pub(super) fn in_base_space(
    target: &dyn Target,
    contender: &Contender,
    setting: &Setting,
) -> Result<Sampled> {
    let Contender { title, family, .. } = *contender;
    let (flow, training) =
        trained(target, contender, setting.seed).with_context(|| format!("training of {title}"))?;
    let pullback = Pullback::new(&flow, target)?;
    let points: Vec<f64> = normals(CHAINS * target.dim(), &mut stream(setting.seed, "starts"));
    let starts = rows(&pullback.push_points(&points)?, target.dim());
    let clock = Instant::now();
    let run = contender.nuts.sample(
        &pullback,
        &rows(&points, target.dim()),
        &mut stream(setting.seed, "chains"),
    )?;
    let seconds = clock.elapsed().as_secs_f64();
    Ok(Sampled {
        title: format!("NeuTra, {title}"),
        family,
        chains: pullback.push(&run.chains)?,
        base: Some(run.chains.clone()),
        starts,
        run,
        seconds,
        training: Some(training),
    })
}

/// Chains in the space of the density.
pub(super) fn in_space(
    target: &dyn Target,
    starts: &[Vec<f64>],
    setting: &Setting,
) -> Result<Sampled> {
    let clock = Instant::now();
    let run = nuts(setting).sample(target, starts, &mut stream(setting.seed, "chains"))?;
    let seconds = clock.elapsed().as_secs_f64();
    Ok(Sampled {
        title: "NUTS".into(),
        family: "none",
        chains: run.chains.clone(),
        base: None,
        starts: starts.to_vec(),
        run,
        seconds,
        training: None,
    })
}

fn rows(points: &[f64], dim: usize) -> Vec<Vec<f64>> {
    points.chunks(dim).map(<[f64]>::to_vec).collect()
}

fn trained(target: &dyn Target, contender: &Contender, seed: u64) -> Result<(Flow<f64>, Training)> {
    let dim = target.dim();
    let bijector = contender.flow.build_f64(dim, 0, &mut stream(seed, "init"))?;
    let flow = Flow::new(Base::standard_normal(dim), Box::new(bijector))?;
    let budget = Budget::Steps { steps: contender.steps };
    let clock = Instant::now();
    let trainer = Trainer::new(flow, contender.train.clone(), budget, seed)?;
    let mut flow = trainer.fit(target)?;
    let seconds = clock.elapsed().as_secs_f64();
    flow.bijector_mut().set_purpose(Purpose::Reporting)?;
    let gradients = contender.steps * contender.train.batch_rows as u64;
    Ok((flow, Training { seconds, gradients }))
}

impl Sampled {
    pub(super) fn mixing(&self) -> Result<Mixing> {
        let gradients = self.run.sampling.iter().map(|counts| counts.gradient_evaluations).sum();
        let mut worst = Mixing { r_hat: 1.0, bulk_ess: f64::INFINITY, gradients };
        for coordinate in self.chains.diagnostics()? {
            // What is not defined counts as the worst.
            worst.r_hat = worst.r_hat.max(coordinate.r_hat.unwrap_or(f64::INFINITY));
            worst.bulk_ess = worst.bulk_ess.min(coordinate.bulk_ess.unwrap_or(0.0));
        }
        Ok(worst)
    }

    /// Says where chains are not to be believed.
    pub(super) fn warn(&self, findings: &mut Findings) {
        let Ok(Mixing { r_hat, .. }) = self.mixing() else { return };
        let divergences = self.run.divergences();
        if r_hat > LARGEST_R_HAT || divergences > 0 {
            findings.remark(format!(
                "The chains of {} are not to be believed: the largest R-hat is {r_hat:.3}, and {divergences} \
                 draws diverged, where the density is too narrow for their steps. What they leave out is \
                 in no effective sample size either.",
                self.title
            ));
        }
    }
}

/// A row a method.
pub(super) fn table(plain: &Sampled, all: &[Sampled]) -> Result<Table> {
    let without = plain.mixing()?.per_gradient();
    let mut table = Table::new(
        "Chains by method; numbers of the coordinate that mixes worst.",
        &[
            "method",
            "family",
            "largest R-hat",
            "least bulk ESS",
            "divergences",
            "gradient evaluations",
            "effective draws a gradient",
            "times those without a flow",
            "sampling (s)",
            "training (s)",
            "gradients of training",
        ],
    );
    for sampled in [plain].into_iter().chain(all) {
        let mixing = sampled.mixing()?;
        let training = |of: fn(&Training) -> Cell| {
            sampled.training.as_ref().map_or_else(|| Cell::from("none"), of)
        };
        table.row([
            sampled.title.clone().into(),
            sampled.family.into(),
            mixing.r_hat.into(),
            mixing.bulk_ess.into(),
            sampled.run.divergences().into(),
            mixing.gradients.into(),
            mixing.per_gradient().into(),
            (mixing.per_gradient() / without).into(),
            sampled.seconds.into(),
            training(|training| training.seconds.into()),
            training(|training| training.gradients.into()),
        ]);
    }
    Ok(table)
}

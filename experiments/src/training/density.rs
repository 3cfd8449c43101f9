//! Training on a density that is known up to a constant.

use anyhow::{Context as _, Result};
use flows_core::train::{StopReason, TrainingData};
use flows_core::{Flow, Real, Target, stream};
use flows_inference::objective::{ImportanceLoss, ImportanceObjective};
use flows_inference::{Bootstrap, BootstrapConfig, Weighted};
use flows_report::record::MetricsRow;

use super::{Curve, Place, Trained, Units, go_on, train, trained};
use crate::Usage;
use crate::config::{ProposalConfig, RunConfig};
use crate::density::Density;

/// Batches of draws that a bootstrap is validated on.
const VALIDATION_BATCHES: usize = 8;

/// Trains a flow on a density; validations are above the least that the objective allows, where the
/// normaliser is known.
///
/// # Errors
/// As [`on_rows`](super::on_rows).
pub fn on_density<E: Real>(
    config: &RunConfig,
    flow: Flow<E>,
    density: &Density,
    place: &Place<'_>,
) -> Result<Trained<E>> {
    let (target, log_z) = (density.target(), density.log_normaliser().unwrap_or(0.0));
    let above = |validation| Units { validation, own: 0.0 };
    if let Some(ProposalConfig::Bootstrap(settings)) = &config.proposal {
        return bootstrap(config, (flow, settings), target, above(log_z), place);
    }
    let Some(objective) = config.proposal.as_ref().and_then(ProposalConfig::objective) else {
        return train(config, flow, (TrainingData::Density(target), None), above(log_z), place);
    };
    let least = match objective {
        ImportanceObjective::ImportanceBound { .. } => -log_z,
        ImportanceObjective::ForwardKl | ImportanceObjective::AlphaDivergence { .. } => 0.0,
    };
    let loss = ImportanceLoss { objective, target };
    train(config, flow, (TrainingData::Loss(&loss), None), above(-least), place)
}

/// Annealed importance sampling bootstrap; what it is validated by, the reverse KL divergence, chooses
/// nothing.
fn bootstrap<E: Real>(
    config: &RunConfig,
    (flow, settings): (Flow<E>, &BootstrapConfig),
    target: &dyn Target,
    units: Units,
    place: &Place<'_>,
) -> Result<Trained<E>> {
    let Place { folder, resume, bar, .. } = *place;
    let (train, seed) = (&config.train, config.seed);
    let made = Bootstrap::new(flow, settings.clone(), train.clone(), config.budget, seed);
    let mut run = made.map_err(|error| Usage(format!("proposal: {error}")))?;
    let mut curve = Curve::new(folder, units);
    let files = ["checkpoint", "buffer"].map(|name| folder.file(&format!("{name}.safetensors")));
    let [checkpoint, buffer] = &files;
    if resume {
        let resumed = run.resume(checkpoint, buffer);
        resumed.with_context(|| format!("resuming {}", checkpoint.display()))?;
        curve.resume(run.trainer().steps())?;
    }
    let mut due = run.trainer().steps() + train.validate_every;
    let outcome = run.run(target, |run, round| {
        bar.set_position((round.fraction * 1000.0) as u64);
        let trainer = run.trainer();
        let validation_nats = match round.steps >= due || round.fraction >= 1.0 {
            true => {
                due = round.steps + train.validate_every;
                let (rows, rng) = (VALIDATION_BATCHES * train.batch_rows, "validation");
                Weighted::draw(trainer.flow(), target, rows, &mut stream(seed, rng))
                    .ok()
                    .map(|weighted| mean_of_minus(weighted.log_weights.values()))
                    .filter(|nats| nats.is_finite())
            }
            false => None,
        };
        let (step, seconds, proposal_loss) = (round.steps, trainer.seconds(), round.loss);
        if proposal_loss.is_some() {
            let row = MetricsRow {
                step,
                seconds,
                proposal_loss,
                validation_nats,
                ..MetricsRow::default()
            };
            curve.add(row, bar);
        }
        if curve.is_due() {
            curve.write()?;
            run.save(checkpoint, buffer)?;
        }
        Ok(go_on())
    })?;
    curve.write()?;
    if !matches!(outcome, StopReason::Diverged { .. }) {
        run.save(checkpoint, buffer)?;
    }
    trained(run.into_trainer(), outcome, place)
}

fn mean_of_minus(values: &[f64]) -> f64 {
    -values.iter().sum::<f64>() / values.len() as f64
}

//! A run on a density that is known up to a constant.

use anyhow::{Context as _, Result};
use flows_bench::table::{Values, write_npy};
use flows_core::{Parameters, Real, Values as _, stream};
use flows_report::record::{Family, RunSummary, Stop};

use super::Execution;
use crate::density::Density;
use crate::evaluate::KEPT_DRAWS;
use crate::evaluate::target::evaluate;
use crate::training::{Place, on_density};
use crate::{preset, progress};

impl Execution<'_> {
    /// Trains by reverse KL and evaluates against the target.
    pub(super) fn on_target<E: Real>(&self, density: &Density) -> Result<RunSummary> {
        let Self { config, folder, .. } = self;
        let record = density.data()?;
        let flow = config.build::<E>(density.dim(), 0).with_context(|| self.place.to_owned())?;
        let resume = self.begin(&record)?;
        let bar = progress::training(&self.label());
        let metadata = self.metadata(&record)?;
        let place = Place { folder, resume, bar: &bar, metadata };
        let mut trained = on_density(config, flow, density, &place)?;
        bar.finish_and_clear();
        if let Some(summary) = self.ended_early(&trained.outcome, trained.steps)? {
            return Ok(summary);
        }
        let evaluation = evaluate(&mut trained.flow, config, density)?;
        let none = flows_core::Context::none();
        let mut rng = stream(config.seed, "draws");
        let mut draws: Vec<f64> = trained
            .flow
            .sample(KEPT_DRAWS, &none, &mut rng)?
            .0
            .values()
            .iter()
            .map(|value| value.as_f64())
            .collect();
        record.units.undo(&mut draws)?;
        let shape = [KEPT_DRAWS, density.dim()];
        write_npy(&folder.file("samples.npy"), &shape, Values::F64(&draws))?;
        if let Some(mut exact) = density.sample(KEPT_DRAWS, &mut stream(0, "test")) {
            record.units.undo(&mut exact)?;
            write_npy(&folder.file("data_samples.npy"), &shape, Values::F64(&exact))?;
        }
        let family = preset::family(&*config.flow);
        let accuracy = (family == Family::Continuous).then(|| preset::accuracy(&*config.flow));
        Ok(RunSummary {
            dim: Some(density.dim()),
            parameters: Some(Parameters::count(&trained.flow) as u64),
            train_seconds: Some(trained.seconds),
            steps: Some(trained.steps),
            stop: Stop::of(&trained.outcome),
            train_work: Some(trained.work),
            kl_nats: evaluation.forward_kl.map(|kl| kl.mean),
            kl_standard_error: evaluation.forward_kl.and_then(|kl| kl.known_error()),
            round_trip_error: Some(evaluation.round_trip_error),
            evaluations: Some(evaluation.evaluations),
            log_det: Some(trained.flow.bijector().exactness().into()),
            precision: Some(E::NAME.to_owned()),
            patience: config.train.patience,
            log_prob_rows_per_second: Some(evaluation.log_prob_rows_per_second),
            sample_rows_per_second: Some(evaluation.sample_rows_per_second),
            accuracy: accuracy.flatten(),
            solver_error_nats: evaluation.account.map(|account| account.solver),
            trace_noise_nats: evaluation.account.map(|account| account.trace),
            on_target: Some(evaluation.on_target),
            ..RunSummary::finished([self.problem.name(), self.flow], family, config.seed)
        })
    }
}

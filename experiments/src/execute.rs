//! One run: a flow trained on a problem, evaluated, with everything that is kept in its folder.

mod on_target;
mod summary;

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use flows_bench::table::{Values, write_npy};
use flows_core::train::StopReason;
use flows_core::{Parameters, Real};
use flows_report::grid::IMAGE_CELLS;
use flows_report::record::{RunSummary, Status, Stop};

use crate::config::{Precision, RunConfig};
use crate::evaluate::{Evaluation, KEPT_DRAWS, evaluate};
use crate::interrupt::{self, Interrupted};
use crate::problem::{Problem, ProblemData};
use crate::run::RunFolder;
use crate::training::{Place, on_rows};
use crate::{preset, progress};
use summary::summarise;

/// A flow on a problem, and the folder of the run.
#[derive(Debug)]
pub struct Execution<'a> {
    /// What is learned.
    pub problem: &'a Problem,
    /// Name of the flow.
    pub flow: &'a str,
    /// How it is trained.
    pub config: &'a RunConfig,
    /// Where the config comes from, for messages.
    pub place: &'a str,
    /// Where everything is written.
    pub folder: &'a RunFolder,
}

impl Execution<'_> {
    /// Trains as far as that is not done, evaluates and writes the summary. A divergence is a status
    /// of it.
    ///
    /// # Errors
    /// Wrong config, unusable data, a file that cannot be written; [`Interrupted`] by a signal, with
    /// the checkpoint and the weights so far written.
    pub fn run(&self) -> Result<RunSummary> {
        let summary = match (self.problem.target(), self.config.precision) {
            (Some(density), Precision::F32) => self.on_target::<f32>(density),
            (Some(density), Precision::F64) => self.on_target::<f64>(density),
            (None, Precision::F32) => self.on_rows::<f32>(),
            (None, Precision::F64) => self.on_rows::<f64>(),
        }?;
        self.folder.write_json("summary.json", &summary)?;
        Ok(summary)
    }

    /// A run that has no numbers.
    #[must_use]
    pub fn without_numbers(&self, status: Status, message: String) -> RunSummary {
        let family = preset::family(&*self.config.flow);
        let named =
            RunSummary::finished([self.problem.name(), self.flow], family, self.config.seed);
        RunSummary { message: Some(message), status, ..named }
    }

    fn label(&self) -> String {
        format!("{} {} {}", self.problem.name(), self.flow, self.config.seed)
    }

    fn on_rows<E: Real>(&self) -> Result<RunSummary> {
        let Self { problem, config, folder, .. } = self;
        let data = problem.data(config.seed)?.context("a problem without a target has rows")?;
        let config = &config.on_line();
        let built = config.build::<E>(data.dim(), data.context_dim());
        let flow = built.with_context(|| self.place.to_owned())?;
        let resume = self.begin(&data.record)?;
        let bar = progress::training(&self.label());
        let metadata = self.metadata(&data.record)?;
        let place = Place { folder, resume, bar: &bar, metadata };
        let mut trained = on_rows(config, flow, &data, &place)?;
        bar.finish_and_clear();
        if let Some(summary) = self.ended_early(&trained.outcome, trained.steps)? {
            return Ok(summary);
        }
        let working = progress::working(&format!("{}: evaluating", self.label()));
        let pictures = problem.pictures();
        let evaluation = evaluate(&mut trained.flow, config, &data, &pictures)?;
        working.finish_and_clear();
        write_arrays(folder, &data, &evaluation)?;
        let oddities = problem.oddities().iter().map(|oddity| oddity.message.clone());
        let of_run: Vec<String> =
            trained.warning().into_iter().chain(evaluation.warnings(&data)).collect();
        for warning in &of_run {
            eprintln!("warning: {}: {warning}", self.label());
        }
        let warnings = oddities.chain(of_run).collect();
        Ok(RunSummary {
            parameters: Some(trained.flow.count() as u64),
            train_seconds: Some(trained.seconds),
            steps: Some(trained.steps),
            stop: Stop::of(&trained.outcome),
            train_work: Some(trained.work),
            warnings,
            window: pictures.first().map(|picture| picture.window),
            along: pictures.first().and_then(|picture| picture.along.clone()),
            pictures: pictures.into_iter().map(|picture| picture.given).collect(),
            ..summarise::<E>((problem.name(), self.flow), config, &data, &evaluation)
        })
    }

    /// Makes the folder, or finds in it what the run goes on from; the config comes last, because it
    /// is what makes the folder a run that can be resumed.
    fn begin(&self, record: &crate::data::RunData) -> Result<bool> {
        let Self { folder, config, problem, .. } = self;
        let resume = folder.file("checkpoint.safetensors").exists();
        if resume && folder.data()? != *record {
            bail!(
                "{}: expected the data that the run began with, got others; resume with those",
                problem.title()
            );
        }
        folder.create()?;
        folder.write_json("data.json", record)?;
        folder.write_config(config)?;
        Ok(resume)
    }

    /// What a model file says of itself: version, config, and units and columns of the data.
    fn metadata(&self, record: &crate::data::RunData) -> Result<HashMap<String, String>> {
        // One entry, because the order of several would be another in each file.
        let run = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "config": self.config,
            "data": record,
        });
        Ok(HashMap::from([("flows-rs".to_owned(), run.to_string())]))
    }

    /// The summary of a run that diverged; an error for one that was interrupted.
    fn ended_early(&self, outcome: &StopReason, steps: u64) -> Result<Option<RunSummary>> {
        match outcome {
            StopReason::Finished | StopReason::EarlyStop => Ok(None),
            StopReason::Diverged { reason, .. } => {
                let diverged = self.without_numbers(Status::Diverged, reason.clone());
                Ok(Some(RunSummary { steps: Some(steps), ..diverged }))
            }
            StopReason::Interrupted => {
                let folder = self.folder.path().display();
                let kept = "its checkpoint and the weights so far are kept";
                bail!(Interrupted(format!("{folder}: stopped at step {steps}; {kept}")))
            }
        }
    }
}

/// Writes what figures and later comparisons are made of.
fn write_arrays(folder: &RunFolder, data: &ProblemData, evaluation: &Evaluation) -> Result<()> {
    interrupt::check()?;
    evaluation.write_log_prob(folder)?;
    let shape = [evaluation.draws.len() / data.dim(), data.dim()];
    write_npy(&folder.file("samples.npy"), &shape, Values::F64(&evaluation.draws))?;
    let test = data.in_own_units(data.test.first(KEPT_DRAWS).values().to_vec())?;
    let shape = [test.len() / data.dim(), data.dim()];
    write_npy(&folder.file("data_samples.npy"), &shape, Values::F64(&test))?;
    write_images(folder, "density.npy", &evaluation.images)?;
    if let Some(views) = &evaluation.image_views {
        for (name, images) in
            [("nearest.npy", &views.nearest), ("interpolations.npy", &views.interpolations)]
        {
            // One held-out row has no other to go to.
            if !images.is_empty() {
                let shape = [images.len() / data.dim(), data.dim()];
                write_npy(&folder.file(name), &shape, Values::F64(images))?;
            }
        }
    }
    if let Some((ranks, columns)) = &evaluation.by_draws.ranks {
        let shape = [ranks.len() / columns, *columns];
        write_npy(&folder.file("calibration.npy"), &shape, Values::F64(ranks))?;
    }
    if let Some(rows) = &evaluation.transport {
        let shape = [rows.len() / (1 + data.dim()), 1 + data.dim()];
        write_npy(&folder.file("transport.npy"), &shape, Values::F32(rows))?;
    }
    Ok(())
}

/// Writes log-densities at the cells of pictures, one picture below the other; a line is one row.
///
/// # Errors
/// The system's reason.
pub fn write_images(folder: &RunFolder, name: &str, images: &[Vec<f64>]) -> Result<()> {
    if images.is_empty() {
        return Ok(());
    }
    let values = images.concat();
    let shape = [values.len() / IMAGE_CELLS, IMAGE_CELLS];
    Ok(write_npy(&folder.file(name), &shape, Values::F64(&values))?)
}

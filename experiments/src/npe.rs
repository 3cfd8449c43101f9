//! `npe`: neural posterior estimation for a simulator (review, Section 6.2.4).

mod config;
mod estimate;
mod known;
mod page;
mod panels;
mod reference;

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flows_bench::metrics::Distance;
use flows_bench::table::{self, Table};
use flows_core::{Real, stream};
use flows_inference::simulation::{
    CalibrationDraws, Progress, Simulations, Simulator, Training, nle, npe, snpe,
};
use serde::Serialize;

use crate::cli::Npe;
use crate::config::{Precision, RunConfig};
use crate::run::write_json;
use crate::{Usage, interrupt, progress, say};

pub(crate) use config::builder;
pub use config::{Method, NpeConfig, SimulatorName};
use estimate::{Drawn, Estimate, Sampler};
pub use known::KnownSimulator;
pub(crate) use panels::panels;
pub use reference::distance_to_reference;

/// Draws of the posterior for each pair of a calibration.
const CALIBRATION_DRAWS: usize = 99;

/// Below this share of accepted moves, draws of a sampler hardly moved.
const LEAST_ACCEPTANCE: f64 = 0.05;

/// Draws of data given draws of the posterior.
const PREDICTIVE_DRAWS: usize = 1_000;

/// What `npe` writes as `summary.json`.
#[derive(Debug, Serialize)]
struct Summary {
    simulations: usize,
    left_out: usize,
    clipped_in_training: usize,
    simulation_seconds: f64,
    train_seconds: f64,
    train_steps: u64,
    train_work: u64,
    validation_nats: f64,
    observations: Vec<OfObservation>,
    warnings: Vec<String>,
}

/// The posterior of one observation.
#[derive(Debug, Serialize)]
struct OfObservation {
    file: String,
    parameters: Vec<Moments>,
    /// Values of the observation that lie far outside of what was simulated.
    clipped: usize,
    /// Logarithm of the prior's mean of the likelihood in nats, where a likelihood was learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_evidence: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    c2st: Option<Distance>,
}

#[derive(Debug, Serialize)]
struct Moments {
    name: String,
    mean: f64,
    standard_deviation: f64,
    quantile_05: f64,
    median: f64,
    quantile_95: f64,
}

/// What was estimated, for the page.
#[derive(Debug)]
struct Estimated {
    names: Vec<String>,
    /// Draws for each observation, row after row.
    draws: Vec<Vec<f64>>,
    /// Data given draws of the first observation's posterior.
    predictive: Vec<f64>,
    observations: Table,
    reference: Option<Table>,
    calibration: Option<CalibrationDraws>,
}

/// Estimates posteriors and writes draws, summary and page.
///
/// # Errors
/// [`Usage`] for wrong settings; unreadable files; a simulator that fails; a training that diverges.
pub fn run(arguments: &Npe) -> Result<()> {
    let config = NpeConfig::read(arguments)?;
    let flow = config.flow()?;
    config.estimation(&flow)?;
    if arguments.draws < 2 {
        bail!(Usage(format!("--draws must be at least 2, got {}", arguments.draws)));
    }
    config.check_method(arguments)?;
    let simulator = config.simulator()?;
    let observations = observations(arguments, &*simulator)?;
    if config.rounds > 1 && observations.rows() > 1 {
        bail!(Usage(format!(
            "--rounds {}: several rounds serve one observation, and {} has {}; give one, or one round",
            config.rounds,
            arguments.observation.display(),
            observations.rows()
        )));
    }
    let reference = arguments.reference.as_deref().map(table::read).transpose()?;
    if let Some(reference) = &reference {
        let (expected, got) = (simulator.prior().names().len(), reference.columns());
        if expected != got {
            let path = arguments.reference.as_deref().unwrap_or(Path::new("")).display();
            bail!(Usage(format!("{path}: expected {expected} columns of parameters, got {got}")));
        }
    }
    let folder = &arguments.out;
    if folder.join("config.toml").exists() {
        let path = folder.display();
        bail!(Usage(format!("{path} holds an estimation; name another --out")));
    }
    let unwritable = || format!("{}: the folder cannot be made", folder.display());
    std::fs::create_dir_all(folder).with_context(unwritable)?;
    let text = toml::to_string(&config).context("the config as TOML")?;
    let path = folder.join("config.toml");
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    let task = Task { arguments, config: &config, flow: &flow, simulator: &*simulator };
    match config.precision {
        Precision::F32 => task.run::<f32>(observations, reference),
        Precision::F64 => task.run::<f64>(observations, reference),
    }
}

/// One row an observation.
fn observations(arguments: &Npe, simulator: &dyn Simulator) -> Result<Table> {
    let observations = table::read(&arguments.observation)?;
    let (expected, got) = (simulator.data_columns(), observations.columns());
    if expected != got {
        let path = arguments.observation.display();
        bail!(Usage(format!(
            "{path}: expected {expected} columns, as many as the simulator answers, got {got}"
        )));
    }
    Ok(observations)
}

struct Task<'a> {
    arguments: &'a Npe,
    config: &'a NpeConfig,
    flow: &'a RunConfig,
    simulator: &'a dyn Simulator,
}

impl Task<'_> {
    fn run<E: Real>(&self, observations: Table, reference: Option<Table>) -> Result<()> {
        let estimate = self.estimate::<E>(&observations)?;
        let names = self.simulator.prior().names();
        let mut rng = stream(self.config.seed, "posterior");
        let mut summary = Summary::of(estimate.training());
        let mut draws = Vec::new();
        for index in 0..observations.rows() {
            let row = observations.row(index);
            let prior = self.simulator.prior();
            let drawn = estimate.draw(prior, row, self.arguments.draws, &mut rng)?;
            summary.warn_of(index, &drawn);
            let Drawn { rows: drawn, clipped, sampler } = drawn;
            let file = match observations.rows() {
                1 => "posterior.csv".to_owned(),
                _ => format!("posterior-{}.csv", index + 1),
            };
            let of_all = Table::new(names.clone(), names.len(), drawn.clone())?;
            table::write(&self.arguments.out.join(&file), &of_all)?;
            let c2st = match (&reference, index) {
                (Some(reference), 0) => {
                    Some(distance_to_reference(&drawn, reference.values(), names.len())?)
                }
                _ => None,
            };
            let log_evidence = sampler.map(|sampler| sampler.log_evidence);
            let parameters = moments(&names, &drawn);
            summary.observations.push(OfObservation {
                file,
                parameters,
                clipped,
                log_evidence,
                c2st,
            });
            draws.push(drawn);
        }
        let mut rng = stream(self.config.seed, "predictive");
        let first = draws.first().map_or(&[][..], Vec::as_slice);
        let rows = PREDICTIVE_DRAWS.min(first.len() / names.len()) * names.len();
        let predictive = self.simulator.simulate(&first[..rows], &mut rng)?;
        let calibration = self.calibration(&estimate)?;
        write_json(&self.arguments.out.join("summary.json"), &summary)?;
        summary.print()?;
        let estimated =
            Estimated { names, draws, predictive, observations, reference, calibration };
        let path = page::write(&estimated, &summary, self.config, &self.arguments.out)?;
        say(&path.display().to_string())
    }

    fn estimate<E: Real>(&self, observations: &Table) -> Result<Estimate<E>> {
        let settings = self.config.estimation(self.flow)?;
        let build = config::builder(self.flow);
        let bar = progress::training("posterior");
        let mut report = |progress: &Progress| {
            let share = match progress {
                Progress::Simulation { rows, of } => *rows as f64 / *of as f64,
                Progress::Training(progress) => progress.fraction,
            };
            bar.set_position((share * 1000.0) as u64);
            let go_on = !interrupt::asked();
            Ok(if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        };
        let mut rng = stream(self.config.seed, "npe");
        let estimation = &settings.estimation;
        let (simulator, report) = (self.simulator, &mut report);
        let found = match (self.config.method, settings.rounds) {
            (Method::Nle, _) => {
                nle(simulator, &build, estimation, report, &mut rng).map(Estimate::Likelihood)
            }
            (Method::Npe, 1) => {
                npe(simulator, &build, estimation, report, &mut rng).map(Estimate::Posterior)
            }
            (Method::Npe, _) => {
                let observation = observations.row(0);
                snpe(simulator, observation, &build, &settings, report, &mut rng)
                    .map(Estimate::Posterior)
            }
        };
        bar.finish_and_clear();
        interrupt::check()?;
        Ok(found?)
    }

    /// Draws for fresh pairs of parameters and data.
    fn calibration<E: Real>(&self, estimate: &Estimate<E>) -> Result<Option<CalibrationDraws>> {
        let (Some(pairs), Estimate::Posterior(posterior)) = (self.arguments.calibrate, estimate)
        else {
            return Ok(None);
        };
        let mut rng = stream(self.config.seed, "calibration");
        let mut report = |_: &Progress| Ok(ControlFlow::Continue(()));
        let invalid = self.config.invalid;
        let pairs = Simulations::of_prior(self.simulator, pairs, invalid, &mut report, &mut rng)?;
        Ok(Some(CalibrationDraws::new(posterior, &pairs, CALIBRATION_DRAWS, &mut rng)?))
    }
}

impl Summary {
    fn of(training: &Training) -> Self {
        let mut warnings = Vec::new();
        if training.left_out > 0 {
            warnings
                .push(format!("{} rows of data were not finite and left out", training.left_out));
        }
        if training.clipped > 0 {
            warnings.push(format!(
                "{} simulated values lie more than ten robust deviations from the median of their column \
                 and were clipped",
                training.clipped
            ));
        }
        Self {
            simulations: training.rows,
            left_out: training.left_out,
            clipped_in_training: training.clipped,
            simulation_seconds: training.simulation_seconds,
            train_seconds: training.seconds,
            train_steps: training.steps,
            train_work: training.work,
            validation_nats: training.validation_nats,
            observations: Vec::new(),
            warnings,
        }
    }

    fn warn_of(&mut self, observation: usize, drawn: &Drawn) {
        let clipped = drawn.clipped;
        let rate = drawn.sampler.and_then(|Sampler { acceptance, .. }| acceptance);
        if let Some(rate @ ..LEAST_ACCEPTANCE) = rate {
            self.warnings.push(format!(
                "the sampler of observation {observation} (from 0) accepted {:.1} % of its last moves: parts \
                 of the posterior may be missing",
                100.0 * rate
            ));
        }
        if clipped > 0 {
            self.warnings.push(format!(
                "{clipped} values of observation {observation} (from 0) lie far outside of what was \
                 simulated and were clipped: its posterior is an extrapolation"
            ));
        }
    }

    fn print(&self) -> Result<()> {
        for warning in &self.warnings {
            eprintln!("warning: {warning}");
        }
        say(&format!(
            "{} simulations in {:.1} s, {} steps of training in {:.1} s",
            self.simulations, self.simulation_seconds, self.train_steps, self.train_seconds
        ))?;
        for of in &self.observations {
            say(&of.file)?;
            for Moments { name, mean, standard_deviation, quantile_05, quantile_95, .. } in
                &of.parameters
            {
                say(&format!(
                    "  {name:<16} mean {mean:>10.4}  sd {standard_deviation:>9.4}  90 % in [{quantile_05:.4}, \
                     {quantile_95:.4}]"
                ))?;
            }
            if let Some(nats) = of.log_evidence {
                say(&format!("  log evidence {nats:.4} nats"))?;
            }
            if let Some(c2st) = &of.c2st {
                let (value, null) = (c2st.value, c2st.null_95);
                say(&format!(
                    "  C2ST to the reference {value:.4} (95 % of equal samples: {null:.4})"
                ))?;
            }
        }
        Ok(())
    }
}

fn moments(names: &[String], draws: &[f64]) -> Vec<Moments> {
    let dim = names.len();
    let column = |index: usize| draws.iter().skip(index).step_by(dim).copied();
    let of = |(index, name): (usize, &String)| {
        let mut sorted: Vec<f64> = column(index).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let count = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / count;
        let variance = sorted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let quantile = |p: f64| sorted[((p * count) as usize).min(sorted.len() - 1)];
        Moments {
            name: name.clone(),
            mean,
            standard_deviation: variance.sqrt(),
            quantile_05: quantile(0.05),
            median: quantile(0.5),
            quantile_95: quantile(0.95),
        }
    };
    names.iter().enumerate().map(of).collect()
}

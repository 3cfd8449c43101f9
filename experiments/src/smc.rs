//! `smc`: a density's normaliser and draws by sequential Monte Carlo, with a run's flow as proposal and
//! preconditioner (review, Section 6.2).

use std::any::Any;

use anyhow::{Context as _, Result, bail};
use flows_bench::table::{self, Table};
use flows_core::{Flow, Real, stream};
use flows_inference::chain::Acceptance;
use flows_inference::smc::log_normaliser;
use flows_inference::{Smc, SmcRun};
use serde::Serialize;

use crate::Usage;
use crate::cli::SmcArguments;
use crate::config::RunConfig;
use crate::data::RunData;
use crate::density::Density;
use crate::draw_archive::DrawArchive;
use crate::run::RunFolder;
use crate::trained_run::{Use, density_of, table_name, with_run};
use crate::training::refit;
use crate::{progress, say};

/// Below this share of accepted proposals, particles hardly move.
const LEAST_ACCEPTANCE: f64 = 0.05;

/// What all runs say of the density.
#[derive(Debug, Serialize)]
struct Summary {
    target: String,
    particles: usize,
    log_z: f64,
    /// From the spread of the runs; none of a single run.
    log_z_standard_error: Option<f64>,
    exact_log_z: Option<f64>,
    evaluations: u64,
    runs: Vec<OfRun>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct OfRun {
    log_z: f64,
    temperatures: usize,
    /// Of all steps at the last temperature.
    acceptance: Option<f64>,
    undefined: u64,
}

/// Runs particles from the flow to the density and writes them.
///
/// # Errors
/// An unusable run, a density of other dimension or that fails, a file that cannot be written.
pub fn run(arguments: &SmcArguments) -> Result<()> {
    table_name(&arguments.out)?;
    if arguments.runs == 0 {
        bail!(Usage("--runs must be at least 1, got 0".into()));
    }
    with_run(&arguments.run, arguments)
}

impl Use for SmcArguments {
    fn with<E: Real>(&self, flow: &Flow<E>, config: &RunConfig, data: &RunData) -> Result<()> {
        let density = density_of(&self.run, &self.density, (config, data))?;
        let Some(flow) = (flow as &dyn Any).downcast_ref::<Flow<f64>>() else {
            bail!(Usage(format!(
                "{}: sequential Monte Carlo moves particles in double precision; fit the run with \
                 --precision f64",
                self.run.display()
            )));
        };
        let settings = Smc { particles: self.particles, moves: self.moves, ..Smc::default() };
        let refit = refit(config);
        let (mut runs, mut rows) = (Vec::new(), Vec::new());
        for index in 0..self.runs {
            let working = progress::working(&format!("run {} of {}", index + 1, self.runs));
            // Each run refines a flow of its own.
            let own = RunFolder::new(&self.run).flow::<f64>(config, data)?;
            let mut rng = stream(self.seed, &format!("smc {index}"));
            let found = settings.run(density.target(), flow, own, &refit, &mut rng);
            let found = found.with_context(|| density.name().to_owned())?;
            working.finish_and_clear();
            let (names, values) = density.values(&data.columns, found.particles.clone())?;
            rows.push((names, values));
            runs.push(found);
        }
        self.write(rows)?;
        let summary = self.summary(&density, &runs)?;
        for warning in &summary.warnings {
            eprintln!("warning: {}: {warning}", self.run.display());
        }
        summary.print(self.json)
    }
}

impl SmcArguments {
    /// Writes a row a particle, the number of the run, then the values; or an archive whose chains are runs.
    fn write(&self, runs: Vec<(Vec<String>, Vec<f64>)>) -> Result<()> {
        let names = runs.first().map(|(names, _)| names.clone()).unwrap_or_default();
        let dim = names.len();
        if DrawArchive::is_meant_by(&self.out) {
            let rows: Vec<f64> = runs.into_iter().flat_map(|(_, values)| values).collect();
            let mut archive = DrawArchive::default();
            archive.add_parameters(&names, &rows, &[self.runs, self.particles]);
            return archive.write(&self.out);
        }
        let columns = std::iter::once("run".to_owned()).chain(names).collect();
        let values = runs.iter().enumerate().flat_map(|(index, (_, values))| {
            values.chunks(dim).flat_map(move |row| [&[index as f64], row].concat())
        });
        Ok(table::write(&self.out, &Table::new(columns, dim + 1, values.collect())?)?)
    }

    fn summary(&self, density: &Density, runs: &[SmcRun]) -> Result<Summary> {
        let each: Vec<f64> = runs.iter().map(|run| run.log_normaliser).collect();
        let log_z = log_normaliser(&each)?;
        let evaluations = runs.iter().map(|run| run.evaluations).sum();
        let runs: Vec<OfRun> = runs.iter().map(OfRun::of).collect();
        let mut warnings = Vec::new();
        if log_z.standard_error.is_none() {
            warnings.push("one run has no standard error; add --runs 4".to_owned());
        }
        for (index, run) in runs.iter().enumerate() {
            if run.acceptance.is_none_or(|rate| rate < LEAST_ACCEPTANCE) {
                warnings.push(format!(
                    "run {index} (from 0) accepted {:.1} % of its last moves: parts of the density that \
                     particles do not reach are missing from log Z; train the flow longer",
                    100.0 * run.acceptance.unwrap_or(0.0)
                ));
            }
            if run.undefined > 0 {
                let times = run.undefined;
                warnings.push(format!(
                    "run {index} (from 0): the density could not be evaluated at {times} proposals, which \
                     were refused"
                ));
            }
        }
        Ok(Summary {
            target: density.name().to_owned(),
            particles: self.particles,
            log_z: log_z.nats,
            log_z_standard_error: log_z.standard_error,
            exact_log_z: density.log_normaliser(),
            evaluations,
            runs,
            warnings,
        })
    }
}

impl OfRun {
    fn of(run: &SmcRun) -> Self {
        let last = run.temperatures.last();
        Self {
            log_z: run.log_normaliser,
            temperatures: run.temperatures.len(),
            acceptance: last
                .and_then(|at| [at.global, at.local].into_iter().sum::<Acceptance>().rate()),
            undefined: run.undefined,
        }
    }
}

impl Summary {
    fn print(&self, json: bool) -> Result<()> {
        if json {
            return say(&serde_json::to_string_pretty(self)?);
        }
        let number = |value: Option<f64>| value.map_or("unknown".into(), |v| format!("{v:.5}"));
        say(&format!(
            "log Z {:.5} +- {} (exactly {}) nats, by {} runs of {} particles",
            self.log_z,
            number(self.log_z_standard_error),
            number(self.exact_log_z),
            self.runs.len(),
            self.particles
        ))?;
        for (index, run) in self.runs.iter().enumerate() {
            let rate = run.acceptance.map_or("no".into(), |rate| format!("{:.1} %", 100.0 * rate));
            say(&format!(
                "  run {index}: log Z {:.5}, {} temperatures, {rate} of the last moves accepted",
                run.log_z, run.temperatures
            ))?;
        }
        say(&format!("{} evaluations of the density", self.evaluations))
    }
}

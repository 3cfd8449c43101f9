//! `compare`: finite and continuous flows on the same problems, seeds and time.

mod describe;
mod plan;
pub mod size;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use flows_bench::table::{Values, write_npy};
use flows_core::train::StopReason;
use flows_core::train::write_atomically;
use flows_core::{Parameters, Real};
use flows_report::grid::{IMAGE_CELLS, centres};
use flows_report::record::{About, Comparison, RunSummary, Status, Stop, summary_csv};

use crate::cli::Compare;
use crate::config::RunConfig;
use crate::evaluate::{Evaluation, KEPT_DRAWS, evaluate};
use crate::fit::summarise;
use crate::preset::Preset;
use crate::problem::{Problem, ProblemData};
use crate::run::{RunFolder, write_json};
use crate::training::{Place, on_rows};
use crate::{progress, say};
use describe::describe;
use plan::plan;

/// Trains everything, writes the result files and the report, which says what it is about.
///
/// # Errors
/// Wrong usage, or a file that cannot be written; a run that fails is a row of the report.
pub fn run(arguments: &Compare, about: Option<About>) -> Result<()> {
    let clock = Instant::now();
    let plan = plan(arguments)?;
    std::fs::create_dir_all(&plan.out)
        .with_context(|| format!("{}: the folder cannot be made", plan.out.display()))?;
    let mut comparison = Comparison { about, ..describe(&plan)? };
    let record = plan.out.join("comparison.json");
    write_json(&record, &comparison)?;
    let mut summaries = Vec::new();
    for (p, problem) in plan.problems.iter().enumerate() {
        write_problem(&plan.out, problem)?;
        for (f, &preset) in plan.presets.iter().enumerate() {
            for &seed in &plan.seeds {
                let config = plan.config(p, f, seed);
                let run = Run { problem, preset, config };
                summaries.push(run.finish(&plan.out, arguments.resume)?);
                write_atomically(&plan.out.join("summary.csv"), &summary_csv(&summaries)?)?;
            }
        }
    }
    comparison.wall_seconds = clock.elapsed().as_secs_f64();
    write_json(&record, &comparison)?;
    let path = flows_report::write(&plan.out)?;
    print(&summaries, &path)?;
    if summaries.iter().all(|summary| summary.status != Status::Finished) {
        bail!("no run finished; {} says why", path.display());
    }
    Ok(())
}

/// Writes the true density and held-out rows for the figures.
fn write_problem(out: &Path, problem: &Problem) -> Result<()> {
    let folder = out.join("problems").join(problem.name());
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{}: the folder cannot be made", folder.display()))?;
    let data = problem.data(0)?;
    let mut rows = data.test[..data.test.len().min(KEPT_DRAWS * data.dim)].to_vec();
    if let Some(standardiser) = &data.standardiser {
        standardiser.undo(&mut rows)?;
    }
    let shape = [rows.len() / data.dim, data.dim];
    write_npy(&folder.join("samples.npy"), &shape, Values::F64(&rows))?;
    if let Some(toy) = problem.toy() {
        let points = centres(toy.window(), IMAGE_CELLS);
        let truth: Vec<f64> =
            points.chunks_exact(2).map(|x| toy.log_density([x[0], x[1]])).collect();
        write_image(&folder.join("truth.npy"), &truth)?;
    }
    Ok(())
}

fn write_image(path: &Path, values: &[f64]) -> Result<()> {
    Ok(write_npy(path, &[IMAGE_CELLS, IMAGE_CELLS], Values::F64(values))?)
}

/// One run of a comparison.
struct Run<'a> {
    problem: &'a Problem,
    preset: &'static Preset,
    config: RunConfig,
}

impl Run<'_> {
    /// Trains and evaluates, as far as that is not done; whatever keeps it from finishing becomes its
    /// status.
    fn finish(&self, out: &Path, resume: bool) -> Result<RunSummary> {
        let Self { problem, preset, config } = self;
        let path = out.join("runs").join(problem.name()).join(preset.name);
        let folder = RunFolder::new(&path.join(format!("seed-{}", config.seed)));
        let same = resume && folder.config().is_ok_and(|before| before == *config);
        if same && let Some(done) = finished(&folder) {
            return Ok(done);
        }
        folder.create()?;
        if !same {
            // A checkpoint of another config must not be taken for one of this.
            folder.remove("checkpoint.safetensors")?;
        }
        folder.write_config(config)?;
        let name = format!("{} {} {}", problem.name(), preset.name, config.seed);
        let summary = match self.measured::<f32>(&folder, &name) {
            Ok(summary) => summary,
            Err(error) => {
                eprintln!("warning: {name}: {error:#}");
                self.failed(Status::Failed, format!("{error:#}"))
            }
        };
        folder.write_json("summary.json", &summary)?;
        Ok(summary)
    }

    fn failed(&self, status: Status, message: String) -> RunSummary {
        RunSummary {
            problem: self.problem.name().into(),
            flow: self.preset.name.into(),
            family: self.preset.family,
            seed: self.config.seed,
            message: Some(message),
            status,
            ..RunSummary::default()
        }
    }

    fn measured<E: Real>(&self, folder: &RunFolder, name: &str) -> Result<RunSummary> {
        let Self { problem, preset, config } = self;
        let data = problem.data(config.seed)?;
        let bar = progress::training(name);
        let resume = folder.file("checkpoint.safetensors").exists();
        let flow = config.build::<E>(data.dim)?;
        let place = Place { folder, resume, bar: &bar };
        let mut trained = on_rows(config, flow, &data, &place)?;
        bar.finish_and_clear();
        if let StopReason::Diverged { reason, .. } = trained.outcome {
            return Ok(self.failed(Status::Diverged, reason));
        }
        let working = progress::working(&format!("{name}: evaluating"));
        let window = problem.toy().map(flows_bench::toys::Toy::window);
        let evaluation = evaluate(&mut trained.flow, config, &data, window)?;
        working.finish_and_clear();
        write_arrays(folder, &data, &evaluation)?;
        Ok(RunSummary {
            parameters: Some(trained.flow.count() as u64),
            train_seconds: Some(trained.seconds),
            steps: Some(trained.steps),
            stop: Stop::of(&trained.outcome),
            train_work: Some(trained.work),
            ..summarise::<E>((problem.name(), preset.name), config, &data, &evaluation)
        })
    }
}

/// The result that an interrupted comparison left of a run, if the run had finished.
fn finished(folder: &RunFolder) -> Option<RunSummary> {
    let text = std::fs::read_to_string(folder.file("summary.json")).ok()?;
    let summary: RunSummary = serde_json::from_str(&text).ok()?;
    (summary.status == Status::Finished).then_some(summary)
}

fn write_arrays(folder: &RunFolder, data: &ProblemData, evaluation: &Evaluation) -> Result<()> {
    evaluation.write_log_prob(folder)?;
    let shape = [evaluation.draws.len() / data.dim, data.dim];
    write_npy(&folder.file("samples.npy"), &shape, Values::F64(&evaluation.draws))?;
    if let Some(image) = &evaluation.image {
        write_image(&folder.file("density.npy"), image)?;
    }
    if let Some(rows) = &evaluation.transport {
        let shape = [rows.len() / (1 + data.dim), 1 + data.dim];
        write_npy(&folder.file("transport.npy"), &shape, Values::F32(rows))?;
    }
    Ok(())
}

fn print(summaries: &[RunSummary], report: &Path) -> Result<()> {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
    };
    say(&format!(
        "{:<14} {:<14} {:>4} {:>8} {:>9} {:>9} {:>9} {:>8} {:>10}",
        "problem", "flow", "seed", "steps", "NLL nats", "KL nats", "s.e.", "integral", "status"
    ))?;
    for run in summaries {
        say(&format!(
            "{:<14} {:<14} {:>4} {:>8} {:>9} {:>9} {:>9} {:>8} {:>10}",
            run.problem,
            run.flow,
            run.seed,
            run.steps.map_or_else(|| "-".to_owned(), |s| s.to_string()),
            number(run.nll_nats, 4),
            number(run.kl_nats, 4),
            number(run.kl_standard_error.or(run.nll_standard_error), 4),
            number(run.normalisation, 4),
            run.status.to_string(),
        ))?;
    }
    say(&report.display().to_string())
}

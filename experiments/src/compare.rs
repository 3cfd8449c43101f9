//! `compare`: finite and continuous flows on the same problems, seeds and time.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use flows_bench::table::{Values, write_npy};
use flows_bench::toys::Toy;
use flows_core::train::{Budget, Outcome};
use flows_core::{Parameters, Real};

use crate::cli::{BudgetName, Compare};
use crate::config::RunConfig;
use crate::evaluate::{Evaluation, IMAGE_CELLS, KEPT_DRAWS, centres, evaluate};
use crate::fit::summarise;
use crate::preset::{self, Preset};
use crate::problem::{Problem, ProblemData};
use crate::record::{self, RunSummary, Started, Status, SummaryRow};
use crate::run::{RunFolder, train, write_csv, write_json};
use crate::{Usage, progress, report, say};

/// Most seeds of a comparison.
const MOST_SEEDS: u64 = 1_000;

/// What a comparison will do, resolved and checked.
struct Plan {
    problems: Vec<Problem>,
    presets: Vec<&'static Preset>,
    seeds: Vec<u64>,
    budget: Budget,
    name: &'static str,
    out: PathBuf,
}

/// Trains everything, writes the result files and the report.
///
/// # Errors
/// Wrong usage, or a file that cannot be written; a run that fails is a row of the report.
pub fn run(arguments: &Compare) -> Result<()> {
    let clock = Instant::now();
    let plan = plan(arguments)?;
    std::fs::create_dir_all(&plan.out)
        .with_context(|| format!("{}: the folder cannot be made", plan.out.display()))?;
    let mut comparison = describe(&plan)?;
    let record = plan.out.join("comparison.json");
    write_json(&record, &comparison)?;
    let mut summaries = Vec::new();
    for &problem in &plan.problems {
        write_problem(&plan.out, problem)?;
        for &preset in &plan.presets {
            for &seed in &plan.seeds {
                summaries.push(run_one(&plan, problem, preset, seed, arguments.resume)?);
                let rows: Vec<SummaryRow> = summaries.iter().map(SummaryRow::from).collect();
                write_csv(&plan.out.join("summary.csv"), &rows)?;
            }
        }
    }
    comparison.wall_seconds = clock.elapsed().as_secs_f64();
    write_json(&record, &comparison)?;
    let path = report::write(&plan.out)?;
    print(&summaries, &path)?;
    if summaries.iter().all(|summary| summary.status != Status::Finished) {
        bail!("no run finished; {} says why", path.display());
    }
    Ok(())
}

fn plan(arguments: &Compare) -> Result<Plan> {
    let (name, seconds, quick) = match arguments.budget {
        BudgetName::Quick => ("quick", 14.0, true),
        BudgetName::Full => ("full", 60.0, false),
    };
    let budget = match (arguments.seconds, arguments.steps) {
        (_, Some(steps)) => Budget::Steps(steps),
        (given, None) => Budget::Seconds(given.unwrap_or(seconds)),
    };
    budget.check().map_err(|error| Usage(error.to_string()))?;
    if !(1..=MOST_SEEDS).contains(&arguments.seeds) {
        let got = arguments.seeds;
        bail!(Usage(format!("--seeds must be between 1 and {MOST_SEEDS}, got {got}")));
    }
    let problems = if arguments.problems.is_empty() {
        let few = [Toy::EightGaussians, Toy::Checkerboard, Toy::Pinwheel];
        let kept = |p: &Problem| !quick || !matches!(p, Problem::Toy(t) if !few.contains(t));
        Problem::all().filter(kept).collect()
    } else {
        unique(&arguments.problems, Problem::named)?
    };
    let presets = if arguments.flows.is_empty() {
        preset::ALL.iter().filter(|preset| preset.quick).collect()
    } else {
        unique(&arguments.flows, |name| Preset::named(Some(name)))?
    };
    let out = folder(arguments)?;
    Ok(Plan { problems, presets, seeds: (0..arguments.seeds).collect(), budget, name, out })
}

/// The things called `names`, each named once.
fn unique<T>(names: &[String], named: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            bail!(Usage(format!("{name} is named twice")));
        }
    }
    names.iter().map(|name| named(name)).collect()
}

fn folder(arguments: &Compare) -> Result<PathBuf> {
    if let Some(out) = &arguments.out {
        if out.join("comparison.json").exists() && !arguments.resume {
            let path = out.display();
            bail!(Usage(format!(
                "{path} holds a comparison; add --resume to finish it, or name another --out"
            )));
        }
        return Ok(out.clone());
    }
    let free = |path: &PathBuf| !path.exists();
    let numbered = (2..).map(|n| PathBuf::from(format!("results/compare-{n}")));
    let mut names = std::iter::once(PathBuf::from("results/compare")).chain(numbered);
    names.find(free).context("no free folder name")
}

fn describe(plan: &Plan) -> Result<record::Comparison> {
    let problems = plan.problems.iter().map(|&p| describe_problem(p)).collect::<Result<_>>()?;
    let flows = plan
        .presets
        .iter()
        .map(|preset| record::Flow {
            name: preset.name.into(),
            title: preset.title.into(),
            family: preset.family,
            description: preset.description.into(),
        })
        .collect();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    Ok(record::Comparison {
        version: env!("CARGO_PKG_VERSION").into(),
        command: format!("cargo run --release -p experiments -- {}", arguments.join(" ")),
        budget: match plan.budget {
            Budget::Seconds(_) => plan.name.into(),
            Budget::Steps(steps) => format!("{steps} steps"),
        },
        seconds_per_run: match plan.budget {
            Budget::Seconds(seconds) => seconds,
            Budget::Steps(_) => 0.0,
        },
        seeds: plan.seeds.clone(),
        threads: rayon::current_num_threads(),
        precision: "f32".into(),
        host: record::Host::here(),
        started: Started::now(),
        wall_seconds: 0.0,
        problems,
        flows,
    })
}

fn describe_problem(problem: Problem) -> Result<record::Problem> {
    let data = problem.data(0)?;
    let toy = match problem {
        Problem::Toy(toy) => Some(toy),
        Problem::RedWine => None,
    };
    Ok(record::Problem {
        name: problem.name().into(),
        title: if toy.is_some() { problem.name().into() } else { "red wine".into() },
        kind: if toy.is_some() { record::ProblemKind::Toy } else { record::ProblemKind::Table },
        dim: data.dim,
        columns: data.columns.clone(),
        window: toy.map(Toy::window),
        entropy_nats: toy.map(|toy| toy.entropy().nats),
        entropy_error: toy.map(|toy| toy.entropy().error),
        test_rows: (data.test.len() / data.dim) as u64,
        training_rows: data.training_rows().map(|rows| rows as u64),
    })
}

/// Writes the true density and held-out rows for the figures.
fn write_problem(out: &Path, problem: Problem) -> Result<()> {
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
    if let Problem::Toy(toy) = problem {
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

/// One run; whatever keeps it from finishing becomes its status.
fn run_one(
    plan: &Plan,
    problem: Problem,
    preset: &Preset,
    seed: u64,
    resume: bool,
) -> Result<RunSummary> {
    let path = plan.out.join("runs").join(problem.name()).join(preset.name);
    let folder = RunFolder::new(&path.join(format!("seed-{seed}")));
    let config = config(plan, problem, preset, seed);
    if resume && let Some(done) = finished(&folder, &config) {
        return Ok(done);
    }
    folder.create()?;
    folder.write_config(&config)?;
    let name = format!("{} {} {seed}", problem.name(), preset.name);
    let summary = match measured::<f32>(&config, problem, preset, &folder, &name) {
        Ok(summary) => summary,
        Err(error) => {
            eprintln!("warning: {name}: {error:#}");
            failed(problem, preset, seed, Status::Failed, format!("{error:#}"))
        }
    };
    folder.write_json("summary.json", &summary)?;
    Ok(summary)
}

/// The preset's config with the comparison's seed and budget. A toy's rows are fresh each step, so
/// there is nothing to stop early for.
fn config(plan: &Plan, problem: Problem, preset: &Preset, seed: u64) -> RunConfig {
    let mut config = RunConfig { seed, budget: plan.budget, ..RunConfig::of(preset) };
    if matches!(problem, Problem::Toy(_)) {
        config.train = preset.train.clone();
    }
    config
}

/// The result of a run that an interrupted comparison had finished with the same config.
fn finished(folder: &RunFolder, config: &RunConfig) -> Option<RunSummary> {
    let same = folder.config().is_ok_and(|before| before == *config);
    let text = std::fs::read_to_string(folder.file("summary.json")).ok()?;
    let summary: RunSummary = serde_json::from_str(&text).ok()?;
    (same && summary.status == Status::Finished).then_some(summary)
}

fn failed(
    problem: Problem,
    preset: &Preset,
    seed: u64,
    status: Status,
    message: String,
) -> RunSummary {
    let row = SummaryRow {
        problem: problem.name().into(),
        flow: preset.name.into(),
        family: preset.family,
        seed,
        parameters: None,
        train_seconds: None,
        steps: None,
        nll_nats: None,
        nll_standard_error: None,
        kl_nats: None,
        normalisation: None,
        round_trip_error: None,
        evaluations: None,
        kl_standard_error: None,
        log_prob_rows_per_second: None,
        sample_rows_per_second: None,
        solver_error_nats: None,
        trace_noise_nats: None,
        status: Some(status),
    };
    RunSummary { message: Some(message), ..RunSummary::from(row) }
}

fn measured<E: Real>(
    config: &RunConfig,
    problem: Problem,
    preset: &Preset,
    folder: &RunFolder,
    name: &str,
) -> Result<RunSummary> {
    let data = problem.data(config.seed)?;
    let bar = progress::training(name);
    let mut trained = train::<E>(config, &data, folder, false, &bar)?;
    bar.finish_and_clear();
    if let Outcome::Diverged { reason, .. } = trained.outcome {
        return Ok(failed(problem, preset, config.seed, Status::Diverged, reason));
    }
    let working = progress::working(&format!("{name}: evaluating"));
    let window = match problem {
        Problem::Toy(toy) => Some(toy.window()),
        Problem::RedWine => None,
    };
    let evaluation = evaluate(&mut trained.flow, config, &data, window)?;
    working.finish_and_clear();
    write_arrays(folder, &data, &evaluation)?;
    Ok(RunSummary {
        parameters: Some(trained.flow.count() as u64),
        train_seconds: Some(trained.seconds),
        steps: Some(trained.steps),
        ..summarise::<E>((problem.name(), preset.name), config, &data, &evaluation)
    })
}

fn write_arrays(folder: &RunFolder, data: &ProblemData, evaluation: &Evaluation) -> Result<()> {
    let shape = [evaluation.draws.len() / data.dim, data.dim];
    write_npy(&folder.file("samples.npy"), &shape, Values::F64(&evaluation.draws))?;
    if let Some(image) = &evaluation.image {
        write_image(&folder.file("density.npy"), image)?;
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

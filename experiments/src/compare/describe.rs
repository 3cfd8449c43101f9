//! What a comparison says about itself, in `comparison.json`.

use anyhow::Result;
use flows_bench::toys::Toy;
use flows_core::train::Budget;
use flows_report::record::{self, Started};

use super::plan::Plan;
use crate::problem::Problem;

pub(super) fn describe(plan: &Plan) -> Result<record::Comparison> {
    let problems = plan.problems.iter().map(describe_problem).collect::<Result<_>>()?;
    let flows = plan
        .presets
        .iter()
        .map(|preset| record::Flow {
            name: preset.name.into(),
            title: preset.title.into(),
            family: preset.family,
            description: description(plan, preset.description),
        })
        .collect();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    Ok(record::Comparison {
        version: env!("CARGO_PKG_VERSION").into(),
        command: format!("cargo run --release -p experiments -- {}", arguments.join(" ")),
        budget: match plan.matching.budget {
            Budget::Seconds { .. } => plan.name.into(),
            Budget::Steps { steps } => format!("{steps} steps"),
            Budget::Work { work } => format!("{work} row passes"),
        },
        seconds_per_run: match plan.matching.budget {
            Budget::Seconds { seconds } => seconds,
            Budget::Steps { .. } | Budget::Work { .. } => 0.0,
        },
        matched: Some(plan.matching),
        about: None,
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

fn describe_problem(problem: &Problem) -> Result<record::Problem> {
    let data = problem.data(0)?;
    let toy = problem.toy();
    Ok(record::Problem {
        name: problem.name().into(),
        title: problem.title().into(),
        kind: if toy.is_some() { record::ProblemKind::Toy } else { record::ProblemKind::Table },
        table: problem.arguments(),
        dim: data.dim,
        columns: data.columns.clone(),
        window: toy.map(Toy::window),
        entropy_nats: toy.map(|toy| toy.entropy().nats),
        entropy_error: toy.map(|toy| toy.entropy().error),
        test_rows: (data.test.len() / data.dim) as u64,
        training_rows: data.training_rows().map(|rows| rows as u64),
        warnings: Vec::new(),
        unbounded: false,
    })
}

/// The preset in words, and that its widths are others where it was scaled.
fn description(plan: &Plan, preset: &str) -> String {
    match plan.matching.parameters {
        Some(count) => format!("{preset}; here with all widths scaled to about {count} weights"),
        None => preset.into(),
    }
}

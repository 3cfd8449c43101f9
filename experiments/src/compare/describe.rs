//! What a comparison says about itself, in `comparison.json`.

use anyhow::Result;
use flows_core::train::Budget;
use flows_report::record::{self, Started};

use super::flows::FlowChoice;
use super::plan::Plan;
use super::plan_file::EVERY;
use crate::config::setting::words;
use crate::problem::Problem;

pub(super) fn describe(plan: &Plan) -> Result<record::Comparison> {
    let problems = plan.problems.iter().map(describe_problem).collect::<Result<_>>()?;
    let flows = plan
        .flows
        .iter()
        .map(|flow| record::Flow {
            name: flow.name.clone(),
            title: flow.title.clone(),
            family: flow.family,
            description: description(plan, flow),
            group: (!flow.sets.is_empty()).then(|| flow.group.clone()),
            settings: flow.sets.iter().map(|set| (set.key.clone(), words(&set.value))).collect(),
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
    let pictures = problem.pictures();
    let columns = match problem {
        Problem::Toy(_) | Problem::Target(_) => Vec::new(),
        _ => data.as_ref().map_or_else(Vec::new, |data| data.record.columns.clone()),
    };
    Ok(record::Problem {
        name: problem.name().into(),
        title: problem.title().into(),
        kind: problem.kind(),
        table: problem.arguments(),
        published: problem.published().map(|table| table.title().to_owned()),
        dim: problem.dim(),
        image: data.as_ref().and_then(|data| data.record.image),
        columns,
        context: data.as_ref().map_or_else(Vec::new, |data| {
            data.record.context_names().into_iter().map(str::to_owned).collect()
        }),
        along: pictures.first().and_then(|picture| picture.along.clone()),
        pictures: pictures.iter().map(|picture| picture.given.clone()).collect(),
        window: pictures.first().map(|picture| picture.window),
        entropy_nats: problem.entropy().map(|[nats, _]| nats),
        entropy_error: problem.entropy().map(|[_, error]| error),
        test_rows: data.as_ref().map_or(0, |data| data.test.count() as u64),
        training_rows: data.and_then(|data| data.training_rows()).map(|rows| rows as u64),
        warnings: problem.oddities().iter().map(|oddity| oddity.message.clone()).collect(),
        unbounded: problem.oddities().iter().any(|oddity| oddity.kind.unbounded()),
    })
}

/// The preset in words, what it has on single problems, and that its widths are others where it was
/// scaled.
fn description(plan: &Plan, flow: &FlowChoice) -> String {
    let mut text = flow.description.clone();
    let problems = plan.problems.iter().map(|problem| (problem.name(), problem.title()));
    for (name, title) in [(EVERY, "every problem")].into_iter().chain(problems) {
        let Some(sets) = flow.on.get(name) else { continue };
        let sets: Vec<String> =
            sets.iter().map(|set| format!("{} {}", set.name(), words(&set.value))).collect();
        text += &format!("; on {title}: {}", sets.join(", "));
    }
    if let Some(count) = plan.matching.parameters {
        text += &format!("; here with all widths scaled to about {count} weights");
    }
    text
}

//! The tables of a comparison as files for a paper: CSV, Markdown and LaTeX.

mod sheet;

use std::path::Path;

use anyhow::{Context, Result};
use flows_core::train::write_atomically;

use self::sheet::{Cell, Row, Sheet};
use super::distances;
use super::flow_results::FlowResults;
use super::gather::{ProblemResults, Results};
use super::number::{AUDITS, NUMERICS, Number, ON_TARGET, RESULTS};
use super::published;
use super::ranking::Rank;
use crate::record::{DistanceName, ProblemKind, RunSummary};

/// Writes `dir/tables/NAME.csv`, `.md` and `.tex`: `results` with what flows are ranked by on every problem, and
/// for each problem its numbers, distances and audits, of a standard table also what is published.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn write(dir: &Path, results: &Results) -> Result<()> {
    let folder = dir.join("tables");
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let of_problems = results.problems.iter().flat_map(|problem| {
        [
            numbers(problem),
            on_target(problem),
            between_samples(problem),
            numerics(problem),
            audits(problem),
            likelihoods(problem),
        ]
    });
    for sheet in [overview(results)].into_iter().chain(of_problems) {
        if sheet.columns.is_empty() {
            continue;
        }
        let files = [("csv", sheet.csv()?), ("md", sheet.markdown()), ("tex", sheet.latex())];
        for (ending, text) in files {
            let path = folder.join(format!("{}.{ending}", sheet.name));
            write_atomically(&path, text.as_bytes())
                .with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(())
}

/// A row for each flow, a column for each problem: what flows are ranked by.
fn overview(results: &Results) -> Sheet {
    let head = |problem: &ProblemResults| {
        format!("{}, {}", problem.problem.title, problem.measure().name())
    };
    let flows = results.problems.first().map_or(&[][..], |problem| &problem.flows);
    let rows = flows.iter().enumerate().map(|(index, flow)| {
        let cell = |problem: &ProblemResults| {
            let flow = problem.flows.get(index)?;
            let value = flow.mean(problem.measure())?;
            Some(Cell::new(value, leads(problem, index), problem.measure().number().text))
        };
        named(flow, results.problems.iter().map(cell).collect())
    });
    Sheet {
        name: "results".into(),
        caption: "Test rows: Kullback-Leibler divergence from the truth (KL) or negative log-likelihood (NLL), in nats, \
                  means over seeds with their standard error; lower is better. Bold: the lowest, and what is \
                  not above it by more than two standard errors of the paired difference."
            .into(),
        columns: results.problems.iter().map(head).collect(),
        rows: rows.collect(),
        ..Sheet::default()
    }
}

/// Whether a flow is the lowest of a problem, or not clearly above it.
fn leads(problem: &ProblemResults, flow: usize) -> bool {
    problem.ranks().get(flow).is_some_and(|rank| *rank != Rank::Unmarked)
}

fn numbers(problem: &ProblemResults) -> Sheet {
    let caption = "means over seeds with their standard error. Bold: the lowest by what flows are ranked by, and what is not above it by more than two standard errors of the paired \
                   difference.";
    of_numbers(problem, ("", caption), &RESULTS)
}

fn on_target(problem: &ProblemResults) -> Sheet {
    let numbers: &[&Number] =
        if problem.problem.kind == ProblemKind::Target { &ON_TARGET } else { &[] };
    of_numbers(problem, ("-target", "against the exact target, means over seeds."), numbers)
}

fn numerics(problem: &ProblemResults) -> Sheet {
    let caption = "work and numerical errors, means over seeds; of errors the largest.";
    of_numbers(problem, ("-numerics", caption), &NUMERICS)
}

fn audits(problem: &ProblemResults) -> Sheet {
    of_numbers(problem, ("-audits", "audits in both precisions, the worst over seeds."), &AUDITS)
}

/// The numbers that any flow of a problem has.
fn of_numbers(
    problem: &ProblemResults,
    (suffix, caption): (&str, &str),
    numbers: &[&Number],
) -> Sheet {
    let measured =
        |number: &&&Number| problem.flows.iter().any(|flow| flow.over_seeds(number).is_some());
    let numbers: Vec<&&Number> = numbers.iter().filter(measured).collect();
    let head = |number: &&&Number| number.head.replace('\u{ad}', "");
    let ranked_by = problem.measure().number();
    let rows = problem.flows.iter().enumerate().map(|(index, flow)| {
        let cell = |number: &&&Number| {
            let best = std::ptr::eq(**number, ranked_by) && leads(problem, index);
            Some(Cell::new(flow.over_seeds(number)?, best, number.text))
        };
        named(flow, numbers.iter().map(cell).collect())
    });
    Sheet {
        name: format!("{}{suffix}", problem.problem.name),
        caption: format!("{}: {caption}", problem.problem.title),
        columns: numbers.iter().map(head).collect(),
        rows: rows.collect(),
        ..Sheet::default()
    }
}

/// Distances between draws and test rows; bold is what is within its band.
fn between_samples(problem: &ProblemResults) -> Sheet {
    let chosen = distances::measured(problem);
    let rows = problem.flows.iter().map(|flow| {
        let runs: Vec<&RunSummary> = flow.finished().collect();
        let cell = |column: &DistanceName| {
            let [value, end] = distances::over(&runs, column.key)?;
            Some(Cell::new(value, value.value <= end.value, super::format::number))
        };
        named(flow, chosen.iter().map(cell).collect())
    });
    Sheet {
        name: format!("{}-distances", problem.problem.name),
        caption: format!(
            "{}: distances between draws and test rows, in standard deviations of both together, means over \
             seeds. Bold: not above what 95 of 100 pairs of samples of one distribution have.",
            problem.problem.title
        ),
        columns: chosen.iter().map(|column| column.title.replace('\u{ad}', "")).collect(),
        rows: rows.collect(),
        ..Sheet::default()
    }
}

/// Test log-likelihoods beside published ones, of a standard table.
fn likelihoods(problem: &ProblemResults) -> Sheet {
    let lines = published::lines(problem);
    let columns =
        if lines.is_empty() { Vec::new() } else { vec!["Test log-likelihood, nats".into()] };
    let row = |line: published::Line| {
        let about = format!("{}; {}", line.source, line.error);
        let cell = line.value.map(|value| Cell { value, best: false, words: line.words });
        Row { name: line.flow, about, cells: vec![cell] }
    };
    Sheet {
        about: "source; what ± is",
        error: "±",
        name: format!("{}-published", problem.problem.name),
        caption: format!(
            "{}: test log-likelihoods in nats; higher is better. The first {} are of this comparison. {}",
            problem.problem.title,
            problem.flows.len(),
            published::REMARKS
        ),
        columns,
        rows: lines.into_iter().map(row).collect(),
    }
}

fn named(flow: &FlowResults, cells: Vec<Option<Cell>>) -> Row {
    let about = flow.flow.family.to_string();
    Row { name: flow.flow.title.clone(), about, cells }
}

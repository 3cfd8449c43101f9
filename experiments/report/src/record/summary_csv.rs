//! `summary.csv`: the summaries of all runs of a comparison as one table.

use std::io::Read;

use anyhow::{Context, Result};
use serde_json::{Map, Number, Value};

use super::{RunSummary, Status};

/// Columns in order, by their paths in [`RunSummary`]. The head of a column is the last part of its path; of a
/// [`Distance`](super::Distance) it is the name of the distance, and that with the name of the field.
const COLUMNS: [&str; 50] = [
    "problem",
    "flow",
    "family",
    "seed",
    "parameters",
    "train_seconds",
    "steps",
    "nll_nats",
    "nll_standard_error",
    "kl_nats",
    "normalisation",
    "round_trip_error",
    "evaluations",
    "kl_standard_error",
    "log_prob_rows_per_second",
    "sample_rows_per_second",
    "solver_error_nats",
    "trace_noise_nats",
    "status",
    "train_work",
    "log_prob_rate_standard_error",
    "sample_rate_standard_error",
    "audit.round_trip_f32",
    "audit.round_trip_f64",
    "audit.normalisation_f32",
    "audit.normalisation_f64",
    "audit.precision_gap_largest",
    "audit.precision_gap_median",
    "audit.lipschitz",
    "audit.inverse_lipschitz",
    "audit.condition_median",
    "nll_standardised_nats",
    "stop",
    "distances.sliced_wasserstein.value",
    "distances.sliced_wasserstein.null_95",
    "distances.sliced_kolmogorov_smirnov.value",
    "distances.sliced_kolmogorov_smirnov.null_95",
    "distances.mmd.value",
    "distances.mmd.null_95",
    "distances.frechet.value",
    "distances.frechet.null_95",
    "distances.c2st.value",
    "distances.c2st.null_95",
    "distances.rank_histograms.value",
    "distances.rank_histograms.null_95",
    "distances.expected_coverage.value",
    "distances.expected_coverage.null_95",
    "distances.tarp.value",
    "distances.tarp.null_95",
    "bits_per_dimension",
];

/// Columns of words; all others are numbers.
const WORDS: [&str; 5] = ["problem", "flow", "family", "status", "stop"];

fn head(column: &str) -> String {
    let parts: Vec<&str> = column.split('.').collect();
    match parts[..] {
        [.., name, "value"] => name.to_owned(),
        ["distances", name, field] => format!("{name}_{field}"),
        _ => parts.last().copied().unwrap_or_default().to_owned(),
    }
}

/// The table of some runs; a cell is empty where nothing was measured.
///
/// # Errors
/// When a summary cannot be written as JSON.
pub fn summary_csv(runs: &[RunSummary]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS.map(head))?;
    for run in runs {
        let run = serde_json::to_value(run)?;
        writer.write_record(COLUMNS.map(|column| {
            match run.pointer(&format!("/{}", column.replace('.', "/"))) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(words)) => words.clone(),
                Some(number) => number.to_string(),
            }
        }))?;
    }
    writer.into_inner().context("writing CSV")
}

/// Reads the table back, as far as its columns reach.
///
/// # Errors
/// When the file is malformed.
pub fn read_summaries(file: impl Read) -> Result<Vec<RunSummary>> {
    let mut reader = csv::Reader::from_reader(file);
    let heads = reader.headers()?.clone();
    reader.records().map(|record| summary(&heads, &record?)).collect()
}

fn summary(heads: &csv::StringRecord, record: &csv::StringRecord) -> Result<RunSummary> {
    let mut run = Map::new();
    for (name, cell) in heads.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        let Some(column) = COLUMNS.into_iter().find(|column| head(column) == name) else {
            continue;
        };
        let value = if WORDS.contains(&name) { cell.into() } else { number(name, cell)? };
        insert(&mut run, column, value);
    }
    if !run.contains_key("status") {
        // The first tables had no status.
        let status = if run.contains_key("nll_nats") { Status::Finished } else { Status::Failed };
        run.insert("status".into(), serde_json::to_value(status)?);
    }
    Ok(serde_json::from_value(run.into())?)
}

/// Puts a value where its path says, in objects that are made where there are none.
fn insert(object: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        object.insert(path.to_owned(), value);
        return;
    };
    let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        insert(inner, rest, value);
    }
}

fn number(name: &str, cell: &str) -> Result<Value> {
    if let Ok(count) = cell.parse::<u64>() {
        return Ok(count.into());
    }
    let value: f64 =
        cell.parse().with_context(|| format!("{name}: expected a number, got {cell:?}"))?;
    Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
}

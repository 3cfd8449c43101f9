//! Golden files: inputs and outputs that other systems computed.

use serde_json::Value;

use super::fail;

/// Cases of the golden file of this name, from the folder that `FLOWS_GOLDEN` names or that of the
/// project.
///
/// # Panics
/// With the file and the reason, when it cannot be read or has no cases.
#[track_caller]
#[must_use]
pub fn golden(name: &str) -> Vec<Value> {
    let folder = std::env::var("FLOWS_GOLDEN")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../golden").to_owned());
    let path = format!("{folder}/{name}.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| fail(&format!("{path}: cannot be read ({error})")));
    let file: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| fail(&format!("{path}: expected JSON ({error})")));
    match file["cases"].as_array() {
        Some(cases) if !cases.is_empty() => cases.clone(),
        _ => fail(&format!("{path}: expected `cases`, a list that is not empty")),
    }
}

/// All numbers of a golden value in row-major order.
///
/// # Panics
/// When there is something else than numbers.
#[track_caller]
#[must_use]
pub fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        other => match other.as_f64() {
            Some(number) => vec![number],
            None => fail(&format!("expected numbers in a golden file, got {other}")),
        },
    }
}

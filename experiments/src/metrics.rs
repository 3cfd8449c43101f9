//! `metrics`: distances between draws and held-out rows.

use anyhow::{Context as _, Result};
use flows_bench::metrics::{Distance, distances};
use flows_bench::table::{self, Table};

use crate::cli::Metrics;
use crate::{Usage, say};

/// Prints each distance with what it is between samples of one distribution.
///
/// # Errors
/// Files that cannot be read, columns that are missing, too few rows.
pub fn run(arguments: &Metrics) -> Result<()> {
    let draws = table::read(&arguments.draws)?;
    let wanted = |_: usize, name: &str| !draws.names().iter().any(|column| column == name);
    let against = table::read_with_words(&arguments.against, &wanted)?;
    let columns = matching(&draws, &against).map_err(|problem| {
        let (draws, against) = (arguments.draws.display(), arguments.against.display());
        Usage(format!("{against}: {problem} of {draws}; give files with the same columns"))
    })?;
    let reference = against.select_columns(&columns)?;
    let (draws, dim) = (draws.values(), draws.columns());
    let found = distances(draws, reference.values(), dim, arguments.seed);
    let found = found.with_context(|| arguments.draws.display().to_string())?;
    if arguments.json {
        return say(&serde_json::to_string_pretty(&found).context("the distances as JSON")?);
    }
    print(&found)
}

/// Where each column of the draws is in the reference: by name where both files have names.
fn matching(draws: &Table, against: &Table) -> Result<Vec<usize>, String> {
    if !draws.has_header() || !against.has_header() {
        let [expected, got] = [draws, against].map(Table::columns);
        return match expected == got {
            true => Ok((0..got).collect()),
            false => Err(format!("expected the {expected} columns, got {got},")),
        };
    }
    let place = |name: &String| {
        let found = against.names().iter().position(|other| other == name);
        found.ok_or_else(|| format!("expected the column {name:?}"))
    };
    draws.names().iter().map(place).collect()
}

fn print(distances: &[Distance]) -> Result<()> {
    say(&format!("{:<28} {:>10} {:>12} {:>10}", "distance", "value", "null median", "null 95 %"))?;
    for Distance { name, value, null_median, null_95 } in distances {
        let mark = if value > null_95 { " *" } else { "" };
        say(&format!("{name:<28} {value:>10.5} {null_median:>12.5} {null_95:>10.5}{mark}"))?;
    }
    if distances.iter().any(|distance| distance.value > distance.null_95) {
        say("* further apart than 95 % of samples of one distribution")?;
    }
    Ok(())
}

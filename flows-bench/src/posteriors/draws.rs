//! Reference draws: a zip archive with one JSON list of chains, each an object of lists by parameter.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use zip::ZipArchive;

use crate::reference_error::{ReferenceError, Result};
use crate::table::Table;

type Chain = BTreeMap<String, Vec<f64>>;

/// Draws of `parameters` from an archive in the format of posteriordb, one column each and in this
/// order, the chains one after another.
///
/// # Errors
/// [`ReferenceError`] where the file cannot be read, or a parameter is missing or of another length.
pub fn read_draws(file: &Path, parameters: &[String]) -> Result<Table> {
    const ZIP: &str = "a zip archive of one JSON file";
    let input = File::open(file).map_err(|cause| ReferenceError::unreadable(file, &cause))?;
    let damaged = |cause| ReferenceError::damaged(file, ZIP, &cause);
    let mut archive = ZipArchive::new(BufReader::new(input)).map_err(damaged)?;
    if archive.len() != 1 {
        let got = format!("{} files", archive.len());
        return Err(ReferenceError::field(file, "the archive", "one JSON file", got));
    }
    let entry = archive.by_index(0).map_err(damaged)?;
    let chains: Vec<Chain> = serde_json::from_reader(BufReader::new(entry)).map_err(|cause| {
        ReferenceError::damaged(file, "JSON, a list of chains with a list a parameter", &cause)
    })?;
    let mut values = Vec::new();
    for (index, chain) in chains.iter().enumerate() {
        let columns = columns(file, index, chain, parameters)?;
        let rows = columns.first().map_or(0, |column| column.len());
        for row in 0..rows {
            values.extend(columns.iter().map(|column| column[row]));
        }
    }
    Table::new(parameters.to_vec(), parameters.len(), values)
        .map_err(|_| ReferenceError::field(file, "the chains", "at least one draw", "none"))
}

/// The lists of a chain in the order of the parameters, all of one length.
fn columns<'a>(
    file: &Path,
    index: usize,
    chain: &'a Chain,
    parameters: &[String],
) -> Result<Vec<&'a [f64]>> {
    let mut columns: Vec<&[f64]> = Vec::with_capacity(parameters.len());
    for name in parameters {
        let field = || format!("chain {}, {name}", index + 1);
        let Some(column) = chain.get(name) else {
            return Err(ReferenceError::field(file, field(), "a list of draws", "nothing"));
        };
        let rows = columns.first().map_or(column.len(), |first| first.len());
        if column.len() != rows {
            let expected = format!("{rows} draws, as of the first parameter");
            return Err(ReferenceError::field(file, field(), expected, column.len().to_string()));
        }
        columns.push(column);
    }
    Ok(columns)
}

//! Columns of a table by name: which are features, which are contexts, and where they are in another
//! file.

use anyhow::{Result, bail};
use flows_bench::table::Table;

use crate::Usage;
use crate::config::{ColumnName, DataConfig};

/// Whether a column of a table may hold words: it is not a feature.
#[must_use]
pub fn may_hold_words(config: &DataConfig, index: usize, name: &str) -> bool {
    let named = |columns: &[ColumnName]| columns.iter().any(|column| column.is(index, name));
    let unwanted = !config.columns.is_empty() && !named(&config.columns);
    named(&config.context) || named(&config.drop) || unwanted
}

/// Columns of a table by what they are for, as indices in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Features, whose density is learned.
    pub features: Vec<usize>,
    /// Conditioning features.
    pub context: Vec<usize>,
}

impl Selection {
    /// The columns that a config asks for, of those that a table has.
    ///
    /// # Errors
    /// [`Usage`] for a column that is not there, is asked for twice, or is to be two things.
    pub fn of(config: &DataConfig, names: &[String]) -> Result<Self, Usage> {
        let all = |option: &str, columns: &[ColumnName]| {
            let mut found: Vec<usize> = Vec::new();
            for column in columns {
                let index = column.find(names, option)?;
                if found.contains(&index) {
                    return Err(Usage(format!("{option}: {} is named twice", names[index])));
                }
                found.push(index);
            }
            Ok(found)
        };
        let (columns, drop) = (all("columns", &config.columns)?, all("drop", &config.drop)?);
        let context = all("context", &config.context)?;
        let of_both =
            |others: &[usize]| context.iter().find(|&index| others.contains(index)).copied();
        if let Some(index) = of_both(&columns) {
            let name = &names[index];
            return Err(Usage(format!(
                "context: {name} is a feature in columns as well; leave it out of one of them"
            )));
        }
        if let Some(index) = of_both(&drop) {
            let name = &names[index];
            return Err(Usage(format!("context: {name} is dropped; leave it out of drop")));
        }
        let kept = |index: &usize| !drop.contains(index) && !context.contains(index);
        let features: Vec<usize> = if columns.is_empty() {
            (0..names.len()).filter(kept).collect()
        } else if let Some(&index) = columns.iter().find(|&index| !kept(index)) {
            let name = &names[index];
            return Err(Usage(format!("drop: {name} is one of columns as well; leave it out")));
        } else {
            columns
        };
        if features.is_empty() {
            let names = names.join(", ");
            return Err(Usage(format!(
                "data: expected at least one feature, got none of {names}; drop fewer columns"
            )));
        }
        Ok(Self { features, context })
    }
}

/// Where the columns `wanted` are in a file with columns named `got`; `known` are all columns of the
/// table that the run was trained on, which may stand in the file as well.
///
/// By name where the file has names. Without names, by position: among all columns of the table if
/// there are as many, else the file holds those that are wanted and no other.
///
/// # Errors
/// Columns that are missing or that the table does not have.
pub fn locate(file: &Table, path: &str, wanted: &[&str], known: &[String]) -> Result<Vec<usize>> {
    let position = |names: &[String], name: &str| names.iter().position(|other| other == name);
    let got = file.names();
    if !named(got) || !named(known) {
        let width = file.columns();
        if width == known.len() {
            let place = |name: &&str| position(known, name).unwrap_or_default();
            return Ok(wanted.iter().map(place).collect());
        }
        if width == wanted.len() {
            return Ok((0..width).collect());
        }
        let (expected, wanted) = (wanted.len(), wanted.join(", "));
        bail!(
            "{path}: expected {expected} columns as in the run ({wanted}), got {width}; select or \
             add columns"
        );
    }
    let unknown = got.iter().find(|name| position(known, name).is_none());
    let missing = wanted.iter().find(|name| position(got, name).is_none());
    if unknown.is_some() || missing.is_some() {
        let problem = match (missing, unknown) {
            (Some(name), _) => format!("without {name}"),
            (None, Some(name)) => format!("with {name}, which the run's table does not have"),
            (None, None) => String::new(),
        };
        bail!(
            "{path}: expected the columns {}, got {}, {problem}; rename or select columns",
            wanted.join(", "),
            got.join(", "),
        );
    }
    Ok(wanted.iter().filter_map(|name| position(got, name)).collect())
}

/// Whether columns have names of their own; without, they are called x0, x1, ..
fn named(names: &[String]) -> bool {
    names.iter().enumerate().any(|(index, name)| *name != format!("x{index}"))
}

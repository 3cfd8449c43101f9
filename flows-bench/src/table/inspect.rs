//! A look at a table before training: what makes a likelihood of it meaningless, or misleading.
//!
//! A density with respect to volume exists only where values are continuous and columns are free of
//! each other. Where it does not, a flow gains likelihood without bound, and no comparison by it
//! means anything. Other findings leave the density alone, and say why its number may mislead.

mod column;
mod dependence;
mod discrete;
mod ends;
mod first_row;
mod order;
mod outliers;
mod parts;
mod precision;
mod repeats;
mod sample;
mod words;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Split, Table};
use column::{Column, Facts};

/// What makes a likelihood of a table meaningless, or its number misleading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Oddity {
    /// Its kind.
    pub kind: OddityKind,
    /// Names of the columns it is about; none where it is about rows.
    pub columns: Vec<String>,
    /// One sentence: column, value, share of the rows, and what to do.
    pub message: String,
}

/// The kinds of [`Oddity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OddityKind {
    /// The first row looks like a header of numbers.
    HeaderRow,
    /// A column counts the rows.
    Index,
    /// A column lies on a grid: integers, quarters, readings of a converter.
    Grid,
    /// A column has few values, on no grid.
    FewValues,
    /// One value holds a notable share of the rows of an otherwise continuous column.
    Atom,
    /// A column is constant but for a few rows.
    RareValues,
    /// Values lie on the ends of their support.
    SupportEnd,
    /// A repeated value far outside of all others, such as −9999 for a missing one.
    Sentinel,
    /// A few rows far from all others set the scale of a column.
    Outliers,
    /// Tails so heavy that a few rows make the mean and the deviation.
    HeavyTail,
    /// A column is a function of others, to rounding.
    Dependent,
    /// A column is nearly a linear function of others: a density exists, and is thin.
    NearlyDependent,
    /// Many test rows are training rows.
    TestRowsInTraining,
    /// Rows occur more than once.
    RepeatedRows,
    /// Test rows differ from training rows.
    TestDiffers,
    /// Validation rows differ from training rows.
    ValidationDiffers,
    /// Too few test rows for a mean.
    FewTestRows,
    /// Too few training rows for the number of columns.
    FewTrainingRows,
}

impl OddityKind {
    /// Whether the likelihood has no upper bound, so that flows must not be ranked by it.
    pub fn unbounded(self) -> bool {
        match self {
            Self::Index
            | Self::Grid
            | Self::FewValues
            | Self::Atom
            | Self::RareValues
            | Self::SupportEnd
            | Self::Sentinel
            | Self::Dependent
            | Self::TestRowsInTraining => true,
            Self::HeaderRow
            | Self::Outliers
            | Self::HeavyTail
            | Self::NearlyDependent
            | Self::RepeatedRows
            | Self::TestDiffers
            | Self::ValidationDiffers
            | Self::FewTestRows
            | Self::FewTrainingRows => false,
        }
    }
}

/// Looks at every column, at pairs and sets of columns, and at the parts of the split.
///
/// `table` is as read, before any noise. `noisy` lists the indices of the columns that will get
/// noise: whatever noise mends is not told of them. `support` has the two ends of every column, in
/// its own units and infinite on the line; it may be empty. Indices out of range are passed over.
///
/// Takes about a second for a million rows of ten columns, and the memory of one column a thread.
pub fn inspect(table: &Table, split: &Split, support: &[[f64; 2]], noisy: &[usize]) -> Vec<Oddity> {
    let mut found = look(table, split, support, noisy);
    if let Some(position) = found.iter().position(|oddity| oddity.kind == OddityKind::HeaderRow) {
        // Whatever else the first row upsets is its doing.
        let header = found.swap_remove(position);
        let rows: Vec<usize> = (1..table.rows()).collect();
        if let Ok(below) = table.select_rows(&rows) {
            found = look(&below, &split.without_first(), support, noisy);
            found.retain(|oddity| oddity.kind != OddityKind::HeaderRow);
        }
        found.insert(0, header);
    }
    found
}

fn look(table: &Table, split: &Split, support: &[[f64; 2]], noisy: &[usize]) -> Vec<Oddity> {
    let counters: Vec<Option<Oddity>> =
        (0..table.columns()).map(|column| order::counter(table, column)).collect();
    let is_counter: Vec<bool> = counters.iter().map(Option::is_some).collect();
    let repeats = repeats::Repeats::of(table, split, &is_counter);
    let looked: Vec<(Vec<Oddity>, Facts)> = counters
        .into_par_iter()
        .enumerate()
        .map(|(index, counter)| {
            let ends = support.get(index).copied();
            let ends = ends.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
            let column = Column::of(table, index, ends, noisy.contains(&index));
            match counter.or_else(|| order::shuffled_counter(&column)) {
                Some(oddity) => (vec![oddity], column.facts(true, true)),
                None => look_at(&column, table, repeats.distinct),
            }
        })
        .collect();
    let (columns, facts): (Vec<Vec<Oddity>>, Vec<Facts>) = looked.into_iter().unzip();
    let mut found: Vec<Oddity> = first_row::header(table, &facts).into_iter().collect();
    found.extend(discrete::together(columns.into_iter().flatten().collect()));
    found.extend(dependence::linear(table, &facts));
    found.extend(dependence::same_order(table, &facts, &found));
    found.extend(repeats.oddity(&facts));
    found.extend(parts::few_rows(table, split));
    found.extend(parts::differences(table, split, &facts));
    found
}

/// What one column shows by itself.
fn look_at(column: &Column<'_>, table: &Table, distinct_rows: usize) -> (Vec<Oddity>, Facts) {
    let far = outliers::far(column, table);
    let mut found: Vec<Oddity> = ends::on_ends(column).into_iter().collect();
    let (values, discrete) = discrete::values(column, &far.sentinels, distinct_rows);
    found.extend(values);
    found.extend(far.oddities);
    (found, column.facts(false, discrete))
}

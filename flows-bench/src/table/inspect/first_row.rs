//! A header of numbers that has become the first row.

use super::super::Table;
use super::column::Facts;
use super::words::{list, number};
use super::{Oddity, OddityKind};

/// Robust deviations of the first row from the median, in every column.
const FAR: f64 = 50.0;

/// Chance that a first row of whole numbers is one of the data.
const CHANCE: f64 = 1e-3;

/// Rows that the first is compared with.
const MOST_COMPARED: usize = 1000;

/// Fewest rows that can tell.
const FEWEST_ROWS: usize = 10;

pub(super) fn header(table: &Table, facts: &[Facts]) -> Option<Oddity> {
    if table.has_header() || table.rows() < FEWEST_ROWS {
        return None;
    }
    let first = table.row(0);
    // Of the nearest column: the others are farther.
    let distance = |row: usize| {
        let distance =
            |(value, facts): (&f64, &Facts)| ((value - facts.median) / facts.scale).abs();
        table.row(row).iter().zip(facts).map(distance).fold(f64::INFINITY, f64::min)
    };
    let is_flat = facts.iter().any(|facts| facts.scale == 0.0);
    let nearest = distance(0);
    let alone = (1..table.rows().min(MOST_COMPARED)).all(|row| distance(row) < nearest / 2.0);
    let rows = table.rows() as f64;
    let whole = first.iter().all(|value| value.fract() == 0.0);
    // The first row is one of the whole numbers counted.
    let chance = |facts: &Facts| ((facts.whole * rows - 1.0) / (rows - 1.0)).max(0.0);
    let by_chance: f64 = facts.iter().map(chance).product();
    let why = if !is_flat && nearest > FAR && alone {
        format!(
            "is at least {} robust deviations from the others in every column",
            number(nearest.round())
        )
    } else if whole && by_chance < CHANCE {
        "alone holds whole numbers".to_owned()
    } else {
        return None;
    };
    let values: Vec<String> = first.iter().map(|&value| number(value)).collect();
    let message = format!(
        "no header was found, and the first row ({}) {why}: if these are names of columns, put a \
         letter before one of them",
        list(&values)
    );
    Some(Oddity { kind: OddityKind::HeaderRow, columns: Vec::new(), message })
}

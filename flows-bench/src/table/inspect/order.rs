//! Columns that count the rows.

use super::super::Table;
use super::super::grid::is_whole;
use super::column::Column;
use super::words::{self, number, percent};
use super::{Oddity, OddityKind};

/// Fewest rows of an arithmetic progression in the order of the file.
const FEWEST_ROWS: usize = 5;

/// Fewest rows where the evidence is weaker: gaps are allowed, or the order is lost.
const FEWEST_ROWS_WITH_GAPS: usize = 20;

/// Share of rows that follow the one before; the others are where files were joined or cut.
const IN_ORDER: f64 = 0.9;

/// Equal pairs to expect of whole numbers drawn at random; that there are none has then a chance of
/// e⁻²⁰ at most.
const PAIRS: f64 = 20.0;

const ADVICE: &str = "remove it, or its likelihood is that of a number of rows";

/// A column that grows by the same step from row to row, or whole numbers that only grow.
pub(super) fn counter(table: &Table, column: usize) -> Option<Oddity> {
    let rows = table.rows();
    if rows < FEWEST_ROWS {
        return None;
    }
    let at = |row: usize| table.values()[row * table.columns() + column];
    let steps = [0, rows / 2, rows - 2].map(|row| at(row + 1) - at(row));
    let misses = if rows < FEWEST_ROWS_WITH_GAPS { 0.0 } else { (1.0 - IN_ORDER) * rows as f64 };
    let place = words::column(&table.names()[column]);
    let odd = |message: String| {
        let columns = vec![table.names()[column].clone()];
        Some(Oddity { kind: OddityKind::Index, columns, message })
    };
    for step in steps {
        let follows = |row: usize| {
            let (before, after) = (at(row - 1), at(row));
            // Each value has been rounded, to f64 or, as by a running sum, a few times over.
            let rounding = 8.0 * f64::EPSILON * (before.abs() + after.abs());
            rounding < step.abs() && (after - before - step).abs() <= rounding
        };
        if let Some(missed) = missed(1..rows, misses, follows) {
            let share = percent(1.0 - missed as f64 / (rows - 1) as f64);
            let (first, second) = (number(at(0)), number(at(1)));
            return odd(format!(
                "{place} counts the rows ({first}, {second}, ..: it changes by {} in {share} of \
                 them); {ADVICE}",
                number(step)
            ));
        }
    }
    let grows = |row: usize| {
        let (before, after) = (at(row - 1), at(row));
        is_whole(before) && is_whole(after) && (after - before) * steps[0] > 0.0
    };
    if rows >= FEWEST_ROWS_WITH_GAPS && missed(1..rows, 0.0, grows).is_some() {
        let (first, last) = (number(at(0)), number(at(rows - 1)));
        return odd(format!(
            "{place} holds whole numbers in the order of the rows, from {first} to {last}: it \
             counts or dates them; {ADVICE}"
        ));
    }
    None
}

/// How many do not hold, where they are at most `most`.
fn missed(
    mut rows: std::ops::Range<usize>,
    most: f64,
    holds: impl Fn(usize) -> bool,
) -> Option<usize> {
    let mut missed = 0;
    let ends = rows.any(|row| {
        missed += usize::from(!holds(row));
        missed as f64 > most
    });
    (!ends).then_some(missed)
}

/// A counter whose rows have been shuffled, or a part of one: all values differ, and either have one
/// step once sorted, or are whole numbers of which some would be equal by chance.
pub(super) fn shuffled_counter(column: &Column<'_>) -> Option<Oddity> {
    let sorted = &column.sorted;
    if sorted.len() < FEWEST_ROWS_WITH_GAPS || column.runs.len() != sorted.len() {
        return None;
    }
    let (first, last) = (sorted.first()?, sorted.last()?);
    let rows = sorted.len() as f64;
    let step = (last - first) / (rows - 1.0);
    let rounding = 8.0 * f64::EPSILON * (first.abs() + last.abs());
    let regular = |pair: &[f64]| (pair[1] - pair[0] - step).abs() <= rounding;
    let whole = sorted.iter().all(|&value| is_whole(value));
    // Of draws from so many numbers, n (n − 1) / 2 pairs are equal with the chance of one each.
    let pairs = rows * (rows - 1.0) / (2.0 * (last - first + 1.0));
    let how = if rounding < step && sorted.windows(2).all(regular) {
        format!("in steps of {} once", number(step))
    } else if whole && pairs >= PAIRS {
        "at most once".to_owned()
    } else {
        return None;
    };
    let message = format!(
        "{} holds each of the numbers from {} to {} {how}: it numbers the rows; {ADVICE}",
        words::column(column.name),
        number(*first),
        number(*last),
    );
    Some(Oddity { kind: OddityKind::Index, columns: vec![column.name.to_owned()], message })
}

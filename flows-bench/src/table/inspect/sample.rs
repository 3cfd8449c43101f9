//! Some rows of the columns that may depend on each other, standardised.

use super::super::Table;
use super::column::Facts;

/// Most rows that are looked at; enough of them to tell, few enough for hundreds of columns.
const MOST_ROWS: usize = 20_000;

/// Most products of a row's pairs of columns over all rows.
const MOST_PRODUCTS: usize = 200_000_000;

/// Rows are left out where a value is farther from the median than this many robust deviations: one
/// of them would make columns look alike.
const FAR: f64 = 50.0;

/// One column, and the same with mean 0 and deviation 1.
pub(super) struct Standard {
    pub(super) column: usize,
    pub(super) mean: f64,
    pub(super) deviation: f64,
    /// As given.
    pub(super) given: Vec<f64>,
    /// Standardised.
    pub(super) values: Vec<f64>,
}

/// The columns among `range` that are neither counters, constant, nor to get noise.
///
/// No columns where rows are too few to tell their dependence from chance.
pub(super) fn standardised(
    table: &Table,
    facts: &[Facts],
    range: std::ops::Range<usize>,
) -> Vec<Standard> {
    let free = |&column: &usize| {
        facts.get(column).is_some_and(|facts| !(facts.counter || facts.constant || facts.noisy))
    };
    let columns: Vec<usize> = range.filter(free).collect();
    let wanted = MOST_PRODUCTS / columns.len().pow(2).max(1);
    let wanted = wanted.max(4 * columns.len()).min(MOST_ROWS).min(table.rows());
    let spread = (0..wanted).map(|i| i * table.rows() / wanted);
    let near = |&row: &usize| {
        let row = table.row(row);
        columns.iter().all(|&column| {
            let Facts { median, scale, .. } = facts[column];
            scale == 0.0 || ((row[column] - median) / scale).abs() <= FAR
        })
    };
    let rows: Vec<usize> = spread.filter(near).collect();
    if columns.len() < 2 || rows.len() < columns.len() + 10 {
        return Vec::new();
    }
    let standard = |&column: &usize| {
        let given: Vec<f64> = rows.iter().map(|&row| table.row(row)[column]).collect();
        let n = given.len() as f64;
        let mean = given.iter().map(|value| value / n).sum::<f64>();
        let largest = given.iter().fold(0.0, |most: f64, value| most.max((value - mean).abs()));
        let squares = given.iter().map(|value| ((value - mean) / largest).powi(2));
        let deviation = largest * (squares.sum::<f64>() / n).sqrt();
        let values = given.iter().map(|value| (value - mean) / deviation).collect();
        let varies = deviation > 0.0 && deviation.is_finite();
        varies.then_some(Standard { column, mean, deviation, given, values })
    };
    columns.iter().filter_map(standard).collect()
}

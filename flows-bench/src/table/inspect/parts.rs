//! Whether the three parts of the rows are large enough, and alike.

use super::super::{Split, Table};
use super::column::Facts;
use super::words;
use super::{Oddity, OddityKind};

/// Fewest test rows for the error of a mean to be known.
const FEWEST_TEST: usize = 30;

/// Fewest training rows a column.
const FEWEST_TRAINING: usize = 10;

/// Standard errors at which two parts differ: a chance of 2e-9 for normals.
const DIFFERENT: f64 = 6.0;

/// Fewest rows of a part to compare.
const FEWEST_COMPARED: usize = 5;

/// Parts with too few rows.
pub(super) fn few_rows(table: &Table, split: &Split) -> Vec<Oddity> {
    let odd = |kind, message| Oddity { kind, columns: Vec::new(), message };
    let mut found = Vec::new();
    let (test, training) = (split.test.len(), split.training.len());
    if test < FEWEST_TEST {
        found.push(odd(
            OddityKind::FewTestRows,
            format!(
                "{test} test row{}: fewer than {FEWEST_TEST} do not tell how sure their mean is; add \
                 rows, or do not rank flows by it",
                if test == 1 { "" } else { "s" }
            ),
        ));
    }
    if training < FEWEST_TRAINING * table.columns() {
        found.push(odd(
            OddityKind::FewTrainingRows,
            format!(
                "{training} training rows for {} columns: with fewer than {FEWEST_TRAINING} a \
                 column a flow learns the rows by heart; add rows or select columns",
                table.columns()
            ),
        ));
    }
    found
}

/// Parts that differ from the training rows in level or spread.
pub(super) fn differences(table: &Table, split: &Split, facts: &[Facts]) -> Vec<Oddity> {
    let training = Moments::of(table, &split.training, facts);
    let parts = [
        (OddityKind::TestDiffers, "test", &split.test, "the test likelihood is of other data"),
        (OddityKind::ValidationDiffers, "validation", &split.validation, "validation says nothing"),
    ];
    let mut found = Vec::new();
    for (kind, part, rows, so) in parts {
        let moments = Moments::of(table, rows, facts);
        let apart = training.apart(&moments);
        let worst = apart.iter().fold(0.0, |worst: f64, &(_, errors)| worst.max(errors));
        let columns: Vec<String> =
            apart.iter().map(|&(column, _)| table.names()[column].clone()).collect();
        if columns.is_empty() {
            continue;
        }
        let message = format!(
            "{part} rows differ from training rows in {} by up to {worst:.0} standard errors, so \
             that {so}; set a split of kind \"random\", or check the order of the rows",
            words::columns(&columns)
        );
        found.push(Oddity { kind, columns, message });
    }
    found
}

/// Sums over a part, in robust units: of values and of their distances from the median, and of the
/// squares of both.
struct Moments {
    rows: usize,
    sums: Vec<[[f64; 2]; 2]>,
    compared: Vec<bool>,
}

impl Moments {
    fn of(table: &Table, rows: &[usize], facts: &[Facts]) -> Self {
        let compared: Vec<bool> =
            facts.iter().map(|facts| !facts.counter && facts.scale > 0.0).collect();
        let mut sums = vec![[[0.0; 2]; 2]; facts.len()];
        let known = rows.iter().filter(|&&row| row < table.rows());
        let mut count = 0;
        for &row in known {
            count += 1;
            for ((sums, value), facts) in sums.iter_mut().zip(table.row(row)).zip(facts) {
                let value = value / facts.scale - facts.median / facts.scale;
                for (sums, value) in sums.iter_mut().zip([value, value.abs()]) {
                    sums[0] += value;
                    sums[1] += value * value;
                }
            }
        }
        Self { rows: count, sums, compared }
    }

    /// Columns in which the means differ, with the larger of the two differences in standard errors.
    fn apart(&self, other: &Self) -> Vec<(usize, f64)> {
        if self.rows.min(other.rows) < FEWEST_COMPARED {
            return Vec::new();
        }
        let (n, m) = (self.rows as f64, other.rows as f64);
        let errors = |[sum, square]: [f64; 2], [of_sum, of_square]: [f64; 2]| {
            let (mean, of_mean) = (sum / n, of_sum / m);
            // The larger variance of the two: that of a few rows alone may be small by chance.
            let variance = (square / n - mean * mean).max(of_square / m - of_mean * of_mean);
            (mean - of_mean).abs() / (variance * (1.0 / n + 1.0 / m)).sqrt()
        };
        let columns = self.sums.iter().zip(&other.sums).enumerate();
        columns
            .filter(|&(column, _)| self.compared[column])
            .map(|(column, (a, b))| (column, errors(a[0], b[0]).max(errors(a[1], b[1]))))
            .filter(|&(_, errors)| errors > DIFFERENT)
            .collect()
    }
}

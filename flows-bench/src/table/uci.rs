//! POWER, GAS, HEPMASS, MINIBOONE and BSDS300, prepared as for the published results.
//!
//! The preparation is that of Papamakarios, Pavlakou, Murray, *Masked Autoregressive Flow for
//! Density Estimation*, NeurIPS 2017, appendix D, which later papers share. Published
//! log-likelihoods are in the units of the prepared tables: no log-det is to be added.

use std::path::Path;

use super::mersenne::Mersenne;
use super::{Result, Standardiser, Table, TableError, read};

/// Columns more correlated than this are dropped from GAS.
const HIGHEST_CORRELATION: f64 = 0.98;

/// Columns whose smallest value occurs more often are dropped from HEPMASS.
const MOST_OF_SMALLEST: usize = 5;

/// Fewest rows whose last tenth, and the last tenth of the rest, are not empty.
const FEWEST_ROWS: usize = 11;

/// The three parts of a prepared data set, with the same columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Benchmark {
    /// `(rows, d)`
    pub training: Table,
    /// `(rows, d)`
    pub validation: Table,
    /// `(rows, d)`
    pub test: Table,
}

/// POWER: `file` is the published array of 8 columns (2,049,280 rows); 6 remain.
///
/// Rows are shuffled and noise is drawn with the generator and seed of the publication; columns 1
/// and 3 are dropped; the noise is U(0, 0.001) on active power, U(0, 0.01) on voltage, U(0, 1) on
/// the three sub-meterings and none on the time. The last tenth tests, the last tenth of the rest
/// validates; standardised by training and validation rows.
///
/// # Errors
/// As [`read`]; [`TableError::Published`] for another number of columns; [`TableError::TooFewRows`];
/// [`TableError::Constant`].
pub fn power(file: &Path) -> Result<Benchmark> {
    const KEPT: [usize; 6] = [0, 2, 4, 5, 6, 7];
    let table = published(file, Columns::Exactly(8))?.select_columns(&KEPT)?;
    let mut order: Vec<usize> = (0..table.rows()).collect();
    let mut rng = Mersenne::new(42);
    rng.shuffle(&mut order);
    let table = table.select_rows(&order)?;
    let (names, columns) = (table.names().to_vec(), table.columns());
    let mut values = table.into_values();
    // In the order of the publication: all of one column, then the next, the meterings together.
    for (noisy, step) in [(1..2, 0.01), (0..1, 0.001), (2..5, 1.0)] {
        for row in values.chunks_exact_mut(columns) {
            row[noisy.clone()].iter_mut().for_each(|value| *value += step * rng.uniform());
        }
    }
    standardised_tenths(Table::new(names, columns, values)?)
}

/// GAS: `file` has the columns of the published `ethylene_CO` table (4,208,261 rows, 8 remain).
///
/// Columns called `Meth`, `Eth` and `Time` are dropped, so a CSV needs its header, and an NPY must
/// be without them. While two columns correlate above 0.98 the first such column goes. All rows
/// together give the means and standard deviations (n − 1), before the split by tenths in file
/// order.
///
/// # Errors
/// As [`power`].
pub fn gas(file: &Path) -> Result<Benchmark> {
    let table = published(file, Columns::AtLeast(1))?;
    let dropped = |column: usize| matches!(&table.names()[column][..], "Meth" | "Eth" | "Time");
    let mut kept: Vec<usize> = (0..table.columns()).filter(|&column| !dropped(column)).collect();
    let rows: Vec<usize> = (0..table.rows()).collect();
    let table = table.select_columns(&kept)?;
    let table = standardised(table, &rows, Divisor::RowsLessOne)?;
    let correlation = correlations(&table);
    let d = table.columns();
    kept = (0..d).collect();
    let correlated = |kept: &[usize]| {
        kept.iter().position(|&i| {
            kept.iter().any(|&j| j != i && correlation[i * d + j] > HIGHEST_CORRELATION)
        })
    };
    while let Some(first) = correlated(&kept) {
        kept.remove(first);
    }
    tenths(&table.select_columns(&kept)?)
}

/// HEPMASS: the published `1000_train.csv` and `1000_test.csv` (label and 28 features; 21 remain).
///
/// Rows of class 1 only, without the label; columns of the test file beyond those of the training
/// file are dropped; so are features whose smallest value occurs more than 5 times in the training
/// file. Standardised by the training file (n − 1), whose last tenth validates.
///
/// # Errors
/// As [`power`]; [`TableError::NoSignal`] for no row of class 1.
pub fn hepmass(training: &Path, test: &Path) -> Result<Benchmark> {
    let train = signal(training, published(training, Columns::AtLeast(2))?)?;
    let columns: Vec<usize> = (0..train.columns()).collect();
    let test = signal(test, published(test, Columns::AtLeast(train.columns() + 1))?)?
        .select_columns(&columns)?;
    let kept: Vec<usize> = columns
        .into_iter()
        .filter(|&column| smallest(&train, column) <= MOST_OF_SMALLEST)
        .collect();
    let (train, test) = (train.select_columns(&kept)?, test.select_columns(&kept)?);
    let rows: Vec<usize> = (0..train.rows()).collect();
    let standardiser = fitted(&train, &rows, Divisor::RowsLessOne)?;
    let (train, test) = (applied(train, &standardiser)?, applied(test, &standardiser)?);
    let (training, validation) = last_tenth(train.rows())?;
    Ok(Benchmark {
        training: train.select_rows(&training)?,
        validation: train.select_rows(&validation)?,
        test,
    })
}

/// MINIBOONE: `file` is the published array, already cleaned (36,488 x 43).
///
/// The last tenth tests, the last tenth of the rest validates; standardised by training and
/// validation rows.
///
/// # Errors
/// As [`power`].
pub fn miniboone(file: &Path) -> Result<Benchmark> {
    standardised_tenths(published(file, Columns::Exactly(43))?)
}

/// BSDS300: the three published arrays of 63 columns, already prepared: nothing is changed.
///
/// # Errors
/// As [`read`]; [`TableError::Published`] for another number of columns.
pub fn bsds300(training: &Path, validation: &Path, test: &Path) -> Result<Benchmark> {
    let part = |file| published(file, Columns::Exactly(63));
    let (training, validation, test) = (part(training)?, part(validation)?, part(test)?);
    Ok(Benchmark { training, validation, test })
}

#[derive(Clone, Copy)]
enum Columns {
    Exactly(usize),
    AtLeast(usize),
}

fn published(file: &Path, columns: Columns) -> Result<Table> {
    let table = read(file)?;
    let got = table.columns();
    let (fits, bound, expected) = match columns {
        Columns::Exactly(expected) => (got == expected, "exactly", expected),
        Columns::AtLeast(expected) => (got >= expected, "at least", expected),
    };
    if fits {
        Ok(table)
    } else {
        Err(TableError::Published { file: file.to_owned(), bound, expected, got })
    }
}

/// The rows of class 1, without their label.
fn signal(file: &Path, table: Table) -> Result<Table> {
    let rows: Vec<usize> = (0..table.rows()).filter(|&row| table.row(row)[0] == 1.0).collect();
    if rows.is_empty() {
        return Err(TableError::NoSignal { file: file.to_owned() });
    }
    let features: Vec<usize> = (1..table.columns()).collect();
    table.select_rows(&rows)?.select_columns(&features)
}

/// How often the smallest value of a column occurs.
fn smallest(table: &Table, column: usize) -> usize {
    let values = || (0..table.rows()).map(|row| table.row(row)[column]);
    let least = values().fold(f64::INFINITY, f64::min);
    values().filter(|&value| value == least).count()
}

/// Correlations of standardised columns, `(columns, columns)`, row-major.
fn correlations(table: &Table) -> Vec<f64> {
    let d = table.columns();
    let mut sums = vec![0.0; d * d];
    for row in table.values().chunks_exact(d) {
        for (i, &x) in row.iter().enumerate() {
            sums[i * d..(i + 1) * d].iter_mut().zip(row).for_each(|(sum, &y)| *sum += x * y);
        }
    }
    sums.iter().map(|sum| sum / (table.rows() - 1) as f64).collect()
}

/// What a sum of squares is divided by.
#[derive(Clone, Copy)]
enum Divisor {
    Rows,
    RowsLessOne,
}

fn fitted(table: &Table, rows: &[usize], divisor: Divisor) -> Result<Standardiser> {
    let standardiser = Standardiser::fit(table, rows)?;
    let n = rows.len() as f64;
    let factor = match divisor {
        Divisor::Rows => return Ok(standardiser),
        Divisor::RowsLessOne => (n / (n - 1.0)).sqrt(),
    };
    let scale = standardiser.scale().iter().map(|scale| scale * factor).collect();
    Standardiser::new(standardiser.mean().to_vec(), scale)
}

fn applied(table: Table, standardiser: &Standardiser) -> Result<Table> {
    let (names, columns) = (table.names().to_vec(), table.columns());
    let mut values = table.into_values();
    standardiser.apply(&mut values)?;
    Table::new(names, columns, values)
}

fn standardised(table: Table, rows: &[usize], divisor: Divisor) -> Result<Table> {
    let standardiser = fitted(&table, rows, divisor)?;
    applied(table, &standardiser)
}

/// All but the last tenth, and the last tenth.
fn last_tenth(rows: usize) -> Result<(Vec<usize>, Vec<usize>)> {
    let tenth = rows / 10;
    if tenth == 0 {
        return Err(TableError::TooFewRows { needed: FEWEST_ROWS, rows });
    }
    Ok(((0..rows - tenth).collect(), (rows - tenth..rows).collect()))
}

fn standardised_tenths(table: Table) -> Result<Benchmark> {
    let (fitted, _) = last_tenth(table.rows())?;
    tenths(&standardised(table, &fitted, Divisor::Rows)?)
}

fn tenths(table: &Table) -> Result<Benchmark> {
    if table.rows() < FEWEST_ROWS {
        return Err(TableError::TooFewRows { needed: FEWEST_ROWS, rows: table.rows() });
    }
    let (rest, test) = last_tenth(table.rows())?;
    let (training, validation) = last_tenth(rest.len())?;
    Ok(Benchmark {
        training: table.select_rows(&training)?,
        validation: table.select_rows(&validation)?,
        test: table.select_rows(&test)?,
    })
}

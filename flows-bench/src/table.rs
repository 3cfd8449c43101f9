//! Tables of numbers: read from a user's file, split, standardised, dequantised, written.
//!
//! Every value is an f64, exactly as the file has it (integers beyond 2⁵³ are rounded to nearest).

mod csv;
mod dequantise;
mod digits;
mod dtype;
mod error;
mod grid;
mod gzip;
mod header;
pub mod inspect;
mod mersenne;
mod names;
mod npy;
mod npz;
mod number;
mod published;
mod replace;
mod rows;
mod split;
mod standardise;
mod uci;
mod wine;
mod words;

use std::path::Path;

pub use dequantise::{ColumnNoise, Dequantisation};
pub use digits::{Digits, digits};
pub use error::{Origin, Result, TableError};
pub use inspect::{Oddity, OddityKind, inspect};
pub use npy::{Values, write_npy};
pub use npz::write_npz;
pub use published::PublishedTable;
pub use split::{EveryTenth, RandomSplit, Split, SplitRule};
pub use standardise::Standardiser;
pub use uci::{Benchmark, bsds300, gas, hepmass, miniboone, power};
pub use wine::{RedWine, red_wine};

/// Rows of numbers under named columns, `(rows, columns)`, row-major.
///
/// A table has at least one row and one column. [`read`] refuses NaN and infinities; a table made
/// with [`Table::new`] may hold them (a log-density can be −∞).
///
/// Two tables are equal where names and values are.
#[derive(Clone, Debug)]
pub struct Table {
    names: Vec<String>,
    /// Whether names were given.
    named: bool,
    notes: Vec<String>,
    /// Columns of words with their classes.
    classes: Vec<(usize, Vec<String>)>,
    values: Vec<f64>,
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names && self.values == other.values
    }
}

impl Table {
    /// A table of `values`, row-major, with `columns` columns.
    ///
    /// No `names` at all means "x0", "x1", .. Names are tidied so that every column can be told
    /// apart in a message and in a file: outer blanks go, control characters become blanks, an
    /// empty name becomes "x" and its index, and the second "a" becomes "a_2".
    ///
    /// # Errors
    /// [`TableError::Shape`] for no values, or a count that `columns` does not divide;
    /// [`TableError::Names`] for a number of names other than zero and `columns`.
    pub fn new(names: Vec<String>, columns: usize, values: Vec<f64>) -> Result<Self> {
        if columns == 0 || values.is_empty() || !values.len().is_multiple_of(columns) {
            return Err(TableError::Shape { columns, got: values.len() });
        }
        if !names.is_empty() && names.len() != columns {
            return Err(TableError::Names { expected: columns, got: names.len() });
        }
        let names = if names.is_empty() { vec![String::new(); columns] } else { names };
        let named = names.iter().any(|name| !name.trim().is_empty());
        let (notes, classes) = (Vec::new(), Vec::new());
        Ok(Self { names: names::tidy(names), named, notes, classes, values })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns()
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.names.len()
    }

    /// Column names, all different, none empty.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What the reader of the file took for granted, a sentence each: no header, decimal commas,
    /// the array of an archive. Empty for a table that was not read.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn noted(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }

    /// A table of the same columns.
    fn with_values(&self, values: Vec<f64>) -> Result<Self> {
        let table = Self::new(self.names.clone(), self.columns(), values)?;
        let (notes, classes) = (self.notes.clone(), self.classes.clone());
        Ok(Self { named: self.named, notes, classes, ..table })
    }

    /// Whether a name was given for any column; otherwise all of them are made up.
    pub fn has_header(&self) -> bool {
        self.named
    }

    /// All values, row-major, `rows · columns` of them.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The values, row-major, without a copy.
    pub fn into_values(self) -> Vec<f64> {
        self.values
    }

    /// Row `row`, `(columns,)`.
    ///
    /// # Panics
    /// Where `row` is not below [`rows`](Self::rows).
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns()..(row + 1) * self.columns()]
    }

    /// A new table of the rows with these indices (from 0), in this order; repeats are allowed.
    ///
    /// # Errors
    /// [`TableError::Row`] for an index out of range, [`TableError::Shape`] for no index at all.
    pub fn select_rows(&self, rows: &[usize]) -> Result<Self> {
        self.check_rows(rows)?;
        let values: Vec<f64> = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        self.with_values(values)
    }

    /// A new table of the columns with these indices (from 0), in this order.
    ///
    /// # Errors
    /// [`TableError::Column`] for an index out of range, [`TableError::Shape`] for no index at all.
    pub fn select_columns(&self, columns: &[usize]) -> Result<Self> {
        for &column in columns {
            self.check_column(column)?;
        }
        let names = columns.iter().map(|&column| self.names[column].clone()).collect();
        let rows = self.values.chunks_exact(self.columns());
        let values = rows.flat_map(|row| columns.iter().map(|&column| row[column])).collect();
        let table = Self::new(names, columns.len(), values)?;
        let places = columns.iter().enumerate();
        let classes =
            places.filter_map(|(place, &column)| Some((place, self.classes(column)?.to_vec())));
        let (notes, classes) = (self.notes.clone(), classes.collect());
        Ok(Self { named: self.named, notes, classes, ..table })
    }

    fn check_rows(&self, rows: &[usize]) -> Result<()> {
        match rows.iter().find(|&&row| row >= self.rows()) {
            Some(&row) => Err(TableError::Row { row, rows: self.rows() }),
            None => Ok(()),
        }
    }

    fn check_column(&self, column: usize) -> Result<()> {
        if column < self.columns() {
            return Ok(());
        }
        Err(TableError::Column { column, columns: self.columns() })
    }
}

/// Reads a table from a file, by the ending of its name.
///
/// | ending | content |
/// |---|---|
/// | `.csv`, `.csv.gz` | numbers separated by semicolons, tabs or commas: the only one of them in the first line, outside of quotes, or the first of them in the second line. The first line is a header where a field of it is text; without one, names are taken from a comment above it that holds as many. Lines that start with `#` and blank lines are passed over. Decimal commas are read where commas are no delimiters; `true` and `false` are 1 and 0; `1D+01` and U+2212 for a minus are read. UTF-8, with or without a byte-order mark, any line end of LF and CR LF; a quoted field stays on its line. |
/// | `.npy` | one array of rank 2: f16, f32, f64, signed or unsigned integers, or bool; either byte order, either storage order |
/// | `.npz` | the only array of rank 2, or of several the one called `data`, `x` or `value` (the first of these that is there) |
///
/// Columns without a name are "x0", "x1", ..; names are tidied as in [`Table::new`]. Memory stays
/// within about twice the table, whatever the file promises about its size.
///
/// # Errors
/// One [`TableError`] that names the file, the place in it, what was expected and what was found.
pub fn read(path: &Path) -> Result<Table> {
    read_with_words(path, &|_, _| false)
}

/// As [`read`], with words in some columns of CSV: those of which `words` says so by index (from 0)
/// and name. Such a column has [`classes`](Table::classes), unless all of it is numbers after all.
///
/// # Errors
/// As [`read`].
pub fn read_with_words(path: &Path, words: &dyn Fn(usize, &str) -> bool) -> Result<Table> {
    let kind = Kind::of(path)?;
    match kind {
        Kind::Csv => csv::read(path, csv::Packing::Plain, words),
        Kind::CsvGz => csv::read(path, csv::Packing::Gzip, words),
        Kind::Npy => npy::read(path),
        Kind::Npz => npz::read(path),
    }
}

/// Writes a table to a file, by the ending of its name (as [`read`]).
///
/// CSV has a header and the shortest decimal digits that give back the same f64; NPY and NPZ hold
/// one f64 array `(rows, columns)`, in NPZ under the name `data`, and no column names. Values that
/// are not finite are written as they are, but [`read`] refuses them. The file is
/// written under a temporary name in the same folder and renamed: a crash leaves the old file or
/// the new one.
///
/// # Errors
/// [`TableError::Ending`] for another ending, [`TableError::Unwritable`] where the system refuses.
pub fn write(path: &Path, table: &Table) -> Result<()> {
    let kind = Kind::of(path)?;
    let shape = [table.rows(), table.columns()];
    match kind {
        Kind::Csv => csv::write(path, table, csv::Packing::Plain),
        Kind::CsvGz => csv::write(path, table, csv::Packing::Gzip),
        Kind::Npy => write_npy(path, &shape, Values::F64(table.values())),
        Kind::Npz => write_npz(path, &[("data", &shape, Values::F64(table.values()))]),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Csv,
    CsvGz,
    Npy,
    Npz,
}

impl Kind {
    fn of(path: &Path) -> Result<Self> {
        const ENDINGS: [(&str, Kind); 4] = [
            (".csv.gz", Kind::CsvGz),
            (".csv", Kind::Csv),
            (".npy", Kind::Npy),
            (".npz", Kind::Npz),
        ];
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
        let name = name.unwrap_or_default();
        let found = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending));
        found.map(|&(_, kind)| kind).ok_or_else(|| TableError::Ending { file: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn rows_and_columns_are_selected_in_the_order_asked() {
        let values = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let table = Table::new(strings(&["a", "b"]), 2, values).unwrap();
        assert_eq!(table.rows(), 3);
        assert_eq!(table.row(1), [2.0, 3.0]);
        assert_eq!(table.select_rows(&[2, 0]).unwrap().values(), [4.0, 5.0, 0.0, 1.0]);
        let swapped = table.select_columns(&[1]).unwrap();
        assert_eq!((swapped.values(), &swapped.names()[0][..]), (&[1.0, 3.0, 5.0][..], "b"));
        let error = table.select_rows(&[0, 3]).unwrap_err().to_string();
        assert_eq!(error, "row 3 (from 0): expected an index below 3, the number of rows");
        let error = table.select_columns(&[2]).unwrap_err().to_string();
        assert_eq!(error, "column 2 (from 0): expected an index below 2, the number of columns");
    }

    #[test]
    fn a_table_refuses_shapes_that_do_not_fit() {
        let shape =
            |names, columns, values| Table::new(names, columns, values).unwrap_err().to_string();
        let expected =
            "a table: expected a positive multiple of 2 values (the number of columns), got 3";
        assert_eq!(shape(vec![], 2, vec![1.0; 3]), expected);
        assert!(shape(vec![], 0, vec![1.0; 3]).contains("multiple of 0 values"));
        assert!(shape(vec![], 2, vec![]).ends_with("got 0"));
        let expected = "a table: expected 2 column names or none, got 1";
        assert_eq!(shape(strings(&["a"]), 2, vec![1.0; 4]), expected);
    }
}

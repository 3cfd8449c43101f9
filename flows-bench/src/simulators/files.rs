//! Tables of numbers under a header, plain or compressed by bzip2.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bzip2::read::MultiBzDecoder;

use crate::reference_error::{ReferenceError, Result};
use crate::table::Table;

/// The table of `columns` columns in a `.csv` file, or in a `.csv.bz2` file if it is `packed`.
pub(super) fn read(file: &Path, packed: bool, columns: usize) -> Result<Table> {
    let input = File::open(file).map_err(|cause| ReferenceError::unreadable(file, &cause))?;
    let input = BufReader::new(input);
    if packed {
        parse(file, MultiBzDecoder::new(input), columns)
    } else {
        parse(file, input, columns)
    }
}

fn parse(file: &Path, input: impl Read, columns: usize) -> Result<Table> {
    let damaged = |cause| ReferenceError::damaged(file, "rows of numbers under a header", &cause);
    let mut reader = ::csv::Reader::from_reader(input);
    let names: Vec<String> = reader.headers().map_err(damaged)?.iter().map(str::to_owned).collect();
    if names.len() != columns {
        let expected = format!("{columns} columns");
        return Err(ReferenceError::field(file, "the header", expected, names.len().to_string()));
    }
    let mut values = Vec::new();
    for (row, record) in reader.records().enumerate() {
        for (text, name) in record.map_err(damaged)?.iter().zip(&names) {
            let value = text.trim().parse::<f64>().ok().filter(|value| value.is_finite());
            let wrong = || {
                let field = format!("row {}, {name}", row + 1);
                ReferenceError::field(file, field, "a finite number", format!("{text:?}"))
            };
            values.push(value.ok_or_else(wrong)?);
        }
    }
    Table::new(names, columns, values)
        .map_err(|_| ReferenceError::field(file, "the rows", "at least one", "none"))
}

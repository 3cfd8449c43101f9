//! NPY arrays: one array of numbers to a file.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::dtype::Dtype;
use super::error::shape_text;
use super::header::Header;
use super::replace::{open, replace};
use super::{Origin, Result, Table, TableError};

/// Values reserved for before any of them has been read from an archive.
const FIRST_RESERVE: usize = 1 << 16;

/// Bytes decoded at a time: a multiple of every element size.
const CHUNK: usize = 1 << 16;

/// The values of an array to write.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Single precision, dtype `<f4`.
    F32(&'a [f32]),
    /// Double precision, dtype `<f8`.
    F64(&'a [f64]),
    /// Truth values, dtype `|b1`.
    Bool(&'a [bool]),
}

impl Values<'_> {
    pub(super) fn len(self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::Bool(values) => values.len(),
        }
    }
}

/// Where the number of bytes after the header is known from.
#[derive(Clone, Copy)]
pub(super) enum Size {
    /// From the file itself: as many are there.
    Measured(u64),
    /// From the directory of an archive: a promise.
    Declared(u64),
}

pub(super) fn read(file: &Path) -> Result<Table> {
    let origin = Origin { file: file.to_owned(), array: None };
    let (input, length) = open(file)?;
    let mut input = BufReader::new(input);
    let header = Header::read(&mut input, &origin)?;
    let size = Size::Measured(length.saturating_sub(header.length));
    read_data(&origin, &header, &mut input, size)
}

/// The table whose header has been read; `size` counts the bytes after the header.
pub(super) fn read_data(
    origin: &Origin,
    header: &Header,
    input: &mut impl Read,
    size: Size,
) -> Result<Table> {
    // The type comes first: the rank of records is not that of a table made of them.
    let dtype = Dtype::parse(&header.descr).ok_or_else(|| TableError::Dtype {
        origin: origin.clone(),
        dtype: header.descr_text(),
        advice: header.advice(),
    })?;
    let (rows, columns) = shape_of(origin, header)?;
    let (Size::Measured(there) | Size::Declared(there)) = size;
    let wanted = header.elements().and_then(|n| n.checked_mul(dtype.bytes() as u128));
    let wanted = wanted.unwrap_or(u128::MAX);
    if wanted != u128::from(there) {
        return Err(wrong_length(origin, header, wanted, there));
    }
    let too_large = || TableError::TooLarge { origin: origin.clone(), shape: header.shape_text() };
    let fits = |axis: u64| usize::try_from(axis).map_err(|_| too_large());
    let (rows, columns) = (fits(rows)?, fits(columns)?);
    let count = rows.checked_mul(columns).ok_or_else(too_large)?;

    let mut values = Vec::new();
    // Only a length that was measured is worth an allocation before the bytes have come.
    let reserve = if let Size::Measured(_) = size { count } else { count.min(FIRST_RESERVE) };
    values.try_reserve_exact(reserve).map_err(|_| too_large())?;
    let got = decode(input, dtype, there, &mut values)
        .map_err(|cause| TableError::reading(&origin.file, &cause))?;
    if got != there {
        return Err(wrong_length(origin, header, wanted, got));
    }
    if header.fortran_order {
        values = transposed(&values, rows, columns);
    }
    let table = Table::new(Vec::new(), columns, values)?;
    check_finite(origin, &table)?;
    Ok(table)
}

fn wrong_length(origin: &Origin, header: &Header, expected: u128, got: u64) -> TableError {
    TableError::Length {
        origin: origin.clone(),
        shape: header.shape_text(),
        dtype: header.descr_text(),
        expected,
        got,
    }
}

/// Rows and columns, at least one of each.
fn shape_of(origin: &Origin, header: &Header) -> Result<(u64, u64)> {
    let (origin, shape) = (origin.clone(), header.shape_text());
    match header.shape[..] {
        [0, _] | [_, 0] => Err(TableError::NoValues { origin, shape }),
        [rows, columns] => Ok((rows, columns)),
        [_] => Err(TableError::Vector { origin, shape }),
        _ => Err(TableError::Rank { origin, shape }),
    }
}

/// Decodes up to `bytes` bytes in pieces and says how many there were.
fn decode(input: &mut impl Read, dtype: Dtype, bytes: u64, out: &mut Vec<f64>) -> io::Result<u64> {
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut done = 0;
    while done < bytes {
        chunk.clear();
        let piece = (bytes - done).min(CHUNK as u64);
        let got = input.by_ref().take(piece).read_to_end(&mut chunk)?;
        dtype.decode(&chunk, out);
        done += got as u64;
        if (got as u64) < piece {
            return Ok(done);
        }
    }
    // At the end of its entry an archive compares the checksum: read up to it.
    io::copy(input, &mut io::sink())?;
    Ok(done)
}

fn transposed(values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let at = |row: usize| (0..columns).map(move |column| values[column * rows + row]);
    (0..rows).flat_map(at).collect()
}

fn check_finite(origin: &Origin, table: &Table) -> Result<()> {
    let Some(at) = table.values().iter().position(|value| !value.is_finite()) else {
        return Ok(());
    };
    let (row, index) = (at / table.columns(), at % table.columns());
    let column = table.names()[index].clone();
    Err(TableError::NonFinite {
        origin: origin.clone(),
        row,
        column,
        index,
        value: table.values()[at],
    })
}

/// Writes one array of any rank to an NPY file, row-major and little-endian.
///
/// The shape `[]` is a single value. The file is replaced as a whole, as by [`write`](super::write).
///
/// # Errors
/// [`TableError::ArrayShape`] unless there are as many values as the shape says,
/// [`TableError::Unwritable`] where the system refuses.
pub fn write_npy(path: &Path, shape: &[usize], values: Values<'_>) -> Result<()> {
    check_shape(path, shape, values)?;
    replace(path, |out: &mut File| {
        let mut out = BufWriter::new(out);
        encode(&mut out, shape, values)?;
        out.flush()
    })
}

pub(super) fn check_shape(path: &Path, shape: &[usize], values: Values<'_>) -> Result<()> {
    let product = |n: u128, &axis: &usize| n.checked_mul(axis as u128);
    let expected = shape.iter().try_fold(1, product).unwrap_or(u128::MAX);
    let got = values.len();
    if expected == got as u128 {
        return Ok(());
    }
    let (file, shape) = (path.to_owned(), shape_text(shape));
    Err(TableError::ArrayShape { file, shape, expected, got })
}

/// Format 1.0: the data start at a multiple of 64 bytes.
pub(super) fn encode(out: &mut impl Write, shape: &[usize], values: Values<'_>) -> io::Result<()> {
    let descr = match values {
        Values::F32(_) => "<f4",
        Values::F64(_) => "<f8",
        Values::Bool(_) => "|b1",
    };
    let axes: String = shape.iter().map(|axis| format!("{axis}, ")).collect();
    let axes = if shape.len() == 1 { axes.trim_end() } else { axes.trim_end_matches(", ") };
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({axes}), }}");
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let size = u16::try_from(length).map_err(|_| io::Error::other("too many axes"))?;
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&size.to_le_bytes())?;
    writeln!(out, "{text:<width$}", width = length - 1)?;
    match values {
        Values::F32(values) => values.iter().try_for_each(|v| out.write_all(&v.to_le_bytes())),
        Values::F64(values) => values.iter().try_for_each(|v| out.write_all(&v.to_le_bytes())),
        Values::Bool(values) => values.iter().try_for_each(|v| out.write_all(&[u8::from(*v)])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_the_published_one() {
        let mut bytes = Vec::new();
        encode(&mut bytes, &[2, 3], Values::F64(&[1.0; 6])).unwrap();
        assert_eq!(bytes.len(), 128 + 48);
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        let text = std::str::from_utf8(&bytes[10..128]).unwrap();
        assert_eq!(text.trim_end(), "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }");
        assert!(text.ends_with(" \n"));
    }

    #[test]
    fn every_rank_is_written_as_a_tuple() {
        for (shape, tuple) in [(&[][..], "()"), (&[3], "(3,)"), (&[1, 3], "(1, 3)")] {
            let mut bytes = Vec::new();
            let values = vec![0.5_f32; shape.iter().product()];
            encode(&mut bytes, shape, Values::F32(&values)).unwrap();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(text.contains(&format!("'shape': {tuple}, }}")), "{text}");
        }
    }

    #[test]
    fn column_major_storage_is_transposed() {
        assert_eq!(
            transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, 2),
            [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
        );
    }
}

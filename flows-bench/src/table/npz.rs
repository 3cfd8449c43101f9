//! NPZ archives: a zip file with one NPY array to an entry.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::error::excerpt;
use super::header::Header;
use super::npy::{Size, Values, check_shape, encode, read_data};
use super::replace::{open, replace};
use super::{Origin, Result, Table, TableError};

/// Names that mean the table where an archive has several arrays, the first one there wins.
const TABLE_NAMES: [&str; 3] = ["data", "x", "value"];

/// Arrays named in a message.
const LONGEST_LIST: usize = 12;

type Archive = ZipArchive<BufReader<File>>;

pub(super) fn read(file: &Path) -> Result<Table> {
    let input = BufReader::new(open(file)?.0);
    let mut archive = ZipArchive::new(input).map_err(|cause| damaged(file, cause))?;
    let mut arrays = Vec::new();
    for entry in 0..archive.len() {
        if let Some(array) = Array::open(file, &mut archive, entry)? {
            arrays.push(array);
        }
    }
    let chosen = choose(file, &arrays)?;
    let mut entry = archive.by_index(chosen.entry).map_err(|cause| damaged(file, cause))?;
    let header = Header::read(&mut entry, &chosen.origin).map_err(unreadable)?;
    let size = Size::Declared(entry.size().saturating_sub(header.length));
    let table = read_data(&chosen.origin, &header, &mut entry, size).map_err(unreadable)?;
    let others: Vec<&Array> = arrays.iter().filter(|array| array.entry != chosen.entry).collect();
    if others.is_empty() {
        return Ok(table);
    }
    let note = format!("{}: this array is read, {} not", chosen.origin, listed(&others));
    Ok(table.noted(vec![note]))
}

/// Names and shapes for a message.
fn listed(arrays: &[&Array]) -> String {
    let text = |array: &&Array| format!("{:?} {}", excerpt(&array.name), array.header.shape_text());
    let mut list: Vec<String> = arrays.iter().take(LONGEST_LIST).map(text).collect();
    if arrays.len() > list.len() {
        list.push(format!("{} more", arrays.len() - list.len()));
    }
    list.join(", ")
}

/// An array of the archive.
struct Array {
    entry: usize,
    name: String,
    origin: Origin,
    header: Header,
}

impl Array {
    /// `None` for an entry that is no array.
    fn open(file: &Path, archive: &mut Archive, entry: usize) -> Result<Option<Self>> {
        let mut input = archive.by_index(entry).map_err(|cause| damaged(file, cause))?;
        let name = input.name().map_err(|cause| damaged(file, cause))?.into_owned();
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else {
            return Ok(None);
        };
        let origin = Origin { file: file.to_owned(), array: Some(excerpt(&name)) };
        let header = Header::read(&mut input, &origin).map_err(unreadable)?;
        Ok(Some(Self { entry, name, origin, header }))
    }

    fn is_table(&self) -> bool {
        self.header.shape.len() == 2
    }
}

fn choose<'a>(file: &Path, arrays: &'a [Array]) -> Result<&'a Array> {
    let tables: Vec<&Array> = arrays.iter().filter(|array| array.is_table()).collect();
    if let [only] = tables[..] {
        return Ok(only);
    }
    // A single array of another rank is chosen too: the error for its shape says what to do.
    if let [only] = arrays {
        return Ok(only);
    }
    let named = TABLE_NAMES.iter().find_map(|&name| tables.iter().find(|array| array.name == name));
    named.copied().ok_or_else(|| {
        let file = file.to_owned();
        match arrays {
            [] => TableError::NoArrays { file },
            arrays => {
                TableError::Ambiguous { file, arrays: listed(&arrays.iter().collect::<Vec<_>>()) }
            }
        }
    })
}

fn damaged(file: &Path, cause: ZipError) -> TableError {
    let reason = cause.to_string().trim_end_matches('.').to_owned();
    TableError::Damaged { file: file.to_owned(), kind: "zip", reason }
}

/// Within an archive the file has been opened already: what cannot be read is its content.
fn unreadable(error: TableError) -> TableError {
    match error {
        TableError::Unreadable { file, reason } => {
            TableError::Damaged { file, kind: "zip", reason }
        }
        other => other,
    }
}

/// Writes named arrays, each `(name, shape, values)`, to an NPZ archive, uncompressed.
///
/// The file is replaced as a whole, as by [`write`](super::write).
///
/// # Errors
/// [`TableError::ArrayShape`] unless every array has as many values as its shape says,
/// [`TableError::Unwritable`] for a name used twice and where the system refuses.
pub fn write_npz(path: &Path, arrays: &[(&str, &[usize], Values<'_>)]) -> Result<()> {
    for &(_, shape, values) in arrays {
        check_shape(path, shape, values)?;
    }
    replace(path, |out| {
        let mut archive = ZipWriter::new(BufWriter::new(out));
        for &(name, shape, values) in arrays {
            // Four bytes for a length do not reach beyond 4 GiB; half of it leaves room for the header.
            let large = values.len() >= 1 << 28;
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .large_file(large);
            archive.start_file(format!("{name}.npy"), options)?;
            let mut entry = BufWriter::new(&mut archive);
            encode(&mut entry, shape, values)?;
            entry.flush()?;
        }
        archive.finish()?.flush()
    })
}

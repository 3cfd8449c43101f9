//! Comma-separated values, plain or gzip-compressed.
//!
//! The reader goes line by line, so that memory stays at one line beside the table.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::gzip::Members;
use super::number::is_header;
use super::replace::{open, replace};
use super::rows::{LONGEST_LINE, Rows};
use super::{Result, Table, TableError};

#[derive(Clone, Copy)]
pub(super) enum Packing {
    Plain,
    Gzip,
}

pub(super) fn read(
    file: &Path,
    packing: Packing,
    words: &dyn Fn(usize, &str) -> bool,
) -> Result<Table> {
    let input = BufReader::new(open(file)?.0);
    match packing {
        Packing::Plain => parse(file, input, packing, words),
        Packing::Gzip => parse(file, BufReader::new(Members::new(input)), packing, words),
    }
}

fn parse(
    file: &Path,
    mut input: impl BufRead,
    packing: Packing,
    words: &dyn Fn(usize, &str) -> bool,
) -> Result<Table> {
    let mut rows = Rows::new(file, words);
    let mut line = Vec::new();
    loop {
        line.clear();
        let taken = input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        if taken.map_err(|cause| broken(file, packing, &cause))? == 0 {
            return rows.finish();
        }
        let text = rows.text(&line)?;
        if text.starts_with('#') {
            rows.comment(text);
        } else if !text.trim().is_empty() {
            rows.record(text)?;
        }
    }
}

fn broken(file: &Path, packing: Packing, cause: &io::Error) -> TableError {
    let damage = matches!(
        cause.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    );
    match packing {
        Packing::Gzip if damage => {
            TableError::Damaged { file: file.to_owned(), kind: "gzip", reason: cause.to_string() }
        }
        _ => TableError::reading(file, cause),
    }
}

pub(super) fn write(file: &Path, table: &Table, packing: Packing) -> Result<()> {
    replace(file, |out| {
        let out = BufWriter::new(out);
        match packing {
            Packing::Plain => encode(out, table).map(drop),
            Packing::Gzip => {
                let out = encode(GzEncoder::new(out, Compression::default()), table)?;
                out.finish()?.flush()
            }
        }
    })
}

fn encode<W: Write>(out: W, table: &Table) -> io::Result<W> {
    let mut out = ::csv::WriterBuilder::new().comment(Some(b'#')).from_writer(out);
    // Names that are all numbers would come back as a row.
    let prefix = if is_header(table.names().iter().map(String::as_str)) { "" } else { "x" };
    for name in table.names() {
        out.write_field(format!("{prefix}{name}"))?;
    }
    out.write_record(None::<&[u8]>)?;
    let mut digits = String::new();
    for row in table.values().chunks_exact(table.columns()) {
        for (column, value) in row.iter().enumerate() {
            let class = |classes: &[String]| classes.get(*value as usize).cloned();
            if let Some(class) = table.classes(column).and_then(class) {
                out.write_field(&class)?;
                continue;
            }
            digits.clear();
            // `Debug` has an exponent where `Display` would write hundreds of zeros.
            std::fmt::Write::write_fmt(&mut digits, format_args!("{value:?}"))
                .map_err(io::Error::other)?;
            out.write_field(&digits)?;
        }
        out.write_record(None::<&[u8]>)?;
    }
    out.flush()?;
    out.into_inner().map_err(|failed| io::Error::other(failed.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Table> {
        parse(Path::new("t.csv"), text.as_bytes(), Packing::Plain, &|_, _| false)
    }

    #[test]
    fn the_first_line_is_a_header_where_a_field_is_text() {
        for (text, names, rows) in [
            ("a,b\n1,2\n", ["a", "b"], 1),
            ("1,2\n3,4\n", ["x0", "x1"], 2),
            ("0,label\n3,4\n", ["0", "label"], 1),
            (",a\n3,4\n", ["x0", "a"], 1),
            ("1.5;2\n3;4\n", ["x0", "x1"], 2),
            ("# made by a program, twice\n# a,b \n3,4\n", ["a", "b"], 1),
            ("# units: m, s\n3,4\n", ["x0", "x1"], 1),
            ("\"a; b\",c\n3,4\n", ["a; b", "c"], 1),
            ("\"a, b\";c\n3;4\n", ["a, b", "c"], 1),
            ("a, b;c\n3;4\n", ["a, b", "c"], 1),
            ("a;b,c\n3,4\n", ["a;b", "c"], 1),
            ("true,1\nfalse,2\n", ["x0", "x1"], 2),
            ("a,a\n3,4\n", ["a", "a_2"], 1),
            ("\"a, b\",\"c \"\"d\"\"\"\n3,\"4\"\n", ["a, b", "c \"d\""], 1),
        ] {
            let table = parsed(text).unwrap();
            assert_eq!((table.names(), table.rows()), (&names.map(str::to_owned)[..], rows));
        }
    }

    #[test]
    fn marks_of_missing_values_do_not_make_a_header() {
        for first in ["1,nan", "inf,1", "1,NA", "1,?", "1,", ","] {
            let error = parsed(&format!("{first}\n3,4\n")).unwrap_err();
            assert!(error.to_string().starts_with("t.csv, line 1, column"), "{error}");
        }
    }

    #[test]
    fn marks_ends_comments_blanks_and_other_delimiters_are_accepted() {
        for text in [
            "\u{feff}a,b\n1,2\n3,4\n",
            "a,b\r\n1,2\r\n3,4\r\n\r\n",
            "# one\n#two\n\na,b\n 1 ,\t2\n\n3,4\n\n\n",
            "a;b\n1;2\n3;4",
            "a\tb\n1\t2\n3\t4\n",
            "a,b\n+1e0,2.\n3,.4e1\n",
        ] {
            let table = parsed(text).unwrap();
            assert_eq!(table.values(), [1.0, 2.0, 3.0, 4.0], "{text:?}");
            assert_eq!(table.names(), ["a", "b"]);
        }
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let error = parsed("# c\r\n\r\na,b\r\n1,2\r\n\r\n# d\r\n1,x\r\n").unwrap_err();
        assert!(error.to_string().starts_with("t.csv, line 7, column \"b\" (index 1)"), "{error}");
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let endless = BufReader::new(io::repeat(b'1'));
        let error = parse(Path::new("t.csv"), endless, Packing::Plain, &|_, _| false).unwrap_err();
        assert!(error.to_string().contains("expected a line of at most 16 MiB"), "{error}");
    }
}

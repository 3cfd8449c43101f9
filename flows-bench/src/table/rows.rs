//! Rows of numbers out of lines of text, and the place of whatever is wrong in them.
//!
//! Lines are counted as an editor shows them: comments and blank lines count.

use std::borrow::Cow;
use std::path::Path;

use super::error::excerpt;
use super::{Result, Table, TableError};

/// Longest line in bytes: bounds the memory that a file without line ends can take.
pub(super) const LONGEST_LINE: u64 = 1 << 24;

/// Marks for a missing value: they do not make a first line of numbers a header.
const MISSING: [&str; 8] = ["na", "n/a", "null", "none", "missing", "?", "-", "."];

/// What has been read so far.
pub(super) struct Rows<'a> {
    file: &'a Path,
    /// The line at hand, from 1.
    line: u64,
    delimiter: u8,
    /// Known after the first record; empty names where it was no header.
    names: Option<Vec<String>>,
    values: Vec<f64>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(file: &'a Path) -> Self {
        Self { file, line: 0, delimiter: b',', names: None, values: Vec::new() }
    }

    /// The next line as text, without its end and without a byte-order mark.
    pub(super) fn text<'l>(&mut self, line: &'l [u8]) -> Result<&'l str> {
        self.line += 1;
        if line.len() as u64 == LONGEST_LINE && !line.ends_with(b"\n") {
            let advice = "check that the file is CSV";
            return Err(self.wrong("a line of at most 16 MiB", "a longer one", advice));
        }
        let text = std::str::from_utf8(line)
            .map_err(|_| self.wrong("UTF-8", "other bytes", "save the file as UTF-8"))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let text = if self.line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if text.contains('\r') {
            let advice = "save the file with LF or CR LF line ends";
            return Err(self.wrong("LF or CR LF at the end", "CR inside the line", advice));
        }
        Ok(text)
    }

    /// Takes in a line that is neither blank nor a comment.
    pub(super) fn record(&mut self, text: &str) -> Result<()> {
        if self.names.is_none() {
            self.delimiter = delimiter(text);
        }
        let fields = self.fields(text)?;
        let Some(names) = &self.names else {
            return self.first(&fields);
        };
        if fields.len() != names.len() {
            return Err(TableError::Ragged {
                file: self.file.to_owned(),
                line: self.line,
                expected: names.len(),
                got: fields.len(),
            });
        }
        for (index, field) in fields.iter().enumerate() {
            let value = self.number(index, field)?;
            self.values.push(value);
        }
        Ok(())
    }

    /// The first record: a header, or a row that says how many columns there are.
    fn first(&mut self, fields: &[Cow<'_, str>]) -> Result<()> {
        let header = is_header(fields.iter().map(AsRef::as_ref));
        let name = |field: &Cow<'_, str>| {
            if header { field.to_string() } else { String::new() }
        };
        self.names = Some(fields.iter().map(name).collect());
        if header {
            return Ok(());
        }
        for (index, field) in fields.iter().enumerate() {
            let value = self.number(index, field)?;
            self.values.push(value);
        }
        Ok(())
    }

    fn fields<'t>(&self, text: &'t str) -> Result<Vec<Cow<'t, str>>> {
        if !text.contains('"') {
            let fields = text.split(char::from(self.delimiter));
            return Ok(fields.map(|field| Cow::Borrowed(field.trim())).collect());
        }
        let advice = "keep a quoted field on one line";
        let unclosed = || self.wrong("quotes in pairs", "an unclosed quote", advice);
        if !text.bytes().filter(|&byte| byte == b'"').count().is_multiple_of(2) {
            return Err(unclosed());
        }
        let mut reader = ::csv::ReaderBuilder::new();
        let reader = reader.has_headers(false).delimiter(self.delimiter).buffer_capacity(1 << 10);
        let record = reader.from_reader(text.as_bytes()).into_records().next();
        let record = record.and_then(|record| record.ok()).ok_or_else(unclosed)?;
        Ok(record.iter().map(|field| Cow::Owned(field.trim().to_owned())).collect())
    }

    fn number(&self, index: usize, field: &str) -> Result<f64> {
        let place = || {
            let name = self.names.as_ref().and_then(|names| names.get(index));
            let name = name.filter(|name| !name.is_empty());
            (self.file.to_owned(), name.map_or_else(|| format!("x{index}"), |name| excerpt(name)))
        };
        if field.is_empty() {
            let (file, column) = place();
            return Err(TableError::EmptyCell { file, line: self.line, column, index });
        }
        let Ok(value) = field.parse::<f64>() else {
            let ((file, column), got) = (place(), excerpt(field));
            return Err(TableError::Text {
                file,
                line: self.line,
                column,
                index,
                got,
                advice: advice(field),
            });
        };
        if !value.is_finite() {
            let ((file, column), got) = (place(), excerpt(field));
            return Err(TableError::NonFiniteField { file, line: self.line, column, index, got });
        }
        Ok(value)
    }

    fn wrong(&self, expected: &'static str, got: &'static str, advice: &'static str) -> TableError {
        TableError::Line { file: self.file.to_owned(), line: self.line, expected, got, advice }
    }

    /// The table, once the last line has been taken in.
    pub(super) fn finish(self) -> Result<Table> {
        let file = self.file.to_owned();
        match self.names {
            None => Err(TableError::CommentsOnly { file }),
            Some(_) if self.values.is_empty() => {
                Err(TableError::HeaderOnly { file, line: self.line })
            }
            Some(names) => {
                let columns = names.len();
                Table::new(names, columns, self.values)
            }
        }
    }
}

/// Comma, or where the first line has none semicolon, or tab.
fn delimiter(first: &str) -> u8 {
    let found = [b',', b';', b'\t'].into_iter().find(|&byte| first.contains(char::from(byte)));
    found.unwrap_or(b',')
}

/// What to do about a field that is text.
fn advice(field: &str) -> &'static str {
    if field.contains(',') {
        "write numbers with a decimal point"
    } else if field.split_whitespace().count() > 1 {
        "separate fields by commas, semicolons or tabs"
    } else {
        "encode text as numbers or remove the column"
    }
}

/// Whether a field is text; "nan", "inf", nothing and the marks of a missing value are not.
pub(super) fn is_header<'f>(mut fields: impl Iterator<Item = &'f str>) -> bool {
    fields.any(|field| {
        let missing = field.is_empty() || MISSING.contains(&field.to_lowercase().as_str());
        !missing && field.parse::<f64>().is_err()
    })
}

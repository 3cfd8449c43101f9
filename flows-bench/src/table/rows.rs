//! Rows of numbers out of lines of text, and the place of whatever is wrong in them.
//!
//! Lines are counted as an editor shows them: comments and blank lines count.

use std::borrow::Cow;
use std::path::Path;

use super::error::excerpt;
use super::number::{advice, is_header, parse};
use super::words::Words;
use super::{Result, Table, TableError};

/// Longest line in bytes: bounds the memory that a file without line ends can take.
pub(super) const LONGEST_LINE: u64 = 1 << 24;

/// Most words of a column's name in a comment: more of them are a sentence.
const MOST_WORDS: usize = 2;

/// What has been read so far.
pub(super) struct Rows<'a> {
    file: &'a Path,
    /// The line at hand, from 1.
    line: u64,
    delimiter: char,
    /// A first line with several delimiters, and its number: the second one decides.
    waiting: Option<(u64, String)>,
    /// The comment above the first record, and its line.
    comment: Option<(u64, String)>,
    /// Known after the first record; empty names where it was no header.
    names: Option<Vec<String>>,
    /// What stands before decimals, once a number had any.
    decimal: Option<char>,
    /// A field such as "05", which may stand behind a decimal comma.
    padded: Option<(u64, String)>,
    values: Vec<f64>,
    notes: Vec<String>,
    /// Which columns may hold words, by index and name.
    may_hold_words: &'a dyn Fn(usize, &str) -> bool,
    /// The words of those columns.
    words: Vec<Option<Words>>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(file: &'a Path, may_hold_words: &'a dyn Fn(usize, &str) -> bool) -> Self {
        Self {
            file,
            line: 0,
            delimiter: ',',
            waiting: None,
            comment: None,
            names: None,
            decimal: None,
            padded: None,
            values: Vec::new(),
            notes: Vec::new(),
            may_hold_words,
            words: Vec::new(),
        }
    }

    /// The next line as text, without its end and without a byte-order mark.
    pub(super) fn text<'l>(&mut self, line: &'l [u8]) -> Result<&'l str> {
        self.line += 1;
        if line.len() as u64 == LONGEST_LINE && !line.ends_with(b"\n") {
            let advice = "check that the file is CSV";
            return Err(self.wrong("a line of at most 16 MiB", "a longer one", advice));
        }
        if self.line == 1 {
            self.check_start(line)?;
        }
        let text = std::str::from_utf8(line).map_err(|_| {
            let got = "bytes of another encoding, such as Latin-1";
            self.wrong("UTF-8", got, "save the file as UTF-8")
        })?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let text = if self.line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if text.contains('\r') {
            let advice = "save the file with LF or CR LF line ends";
            return Err(self.wrong("LF or CR LF at the end", "CR inside the line", advice));
        }
        Ok(text)
    }

    /// Kinds of data that a first line shows.
    fn check_start(&self, line: &[u8]) -> Result<()> {
        // Without a mark, Latin letters have a zero beside them.
        let halves = matches!(*line, [0, (1..), ..] | [(1..), 0, (1..), 0, ..]);
        if halves || line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff") {
            return Err(self.wrong("UTF-8", "UTF-16", "save the file as UTF-8"));
        }
        if line.starts_with(b"\x1f\x8b") {
            let advice = "decompress it, or name it .csv.gz if it is packed once";
            return Err(self.wrong("text", "gzip data", advice));
        }
        Ok(())
    }

    /// Takes in a comment, which may hold the names of the columns.
    pub(super) fn comment(&mut self, text: &str) {
        if self.names.is_none() && self.waiting.is_none() {
            self.comment = Some((self.line, text.trim_start_matches('#').trim().to_owned()));
        }
    }

    /// Takes in a line that is neither blank nor a comment.
    pub(super) fn record(&mut self, text: &str) -> Result<()> {
        // What spreadsheets write for themselves; the lines below show it as well.
        if self.line == 1 && text.starts_with("sep=") && text.chars().count() == 5 {
            return Ok(());
        }
        if self.names.is_none() {
            let found = match self.waiting {
                None => delimiters(text),
                Some(_) => delimiters(text).into_iter().take(1).collect(),
            };
            if found.len() > 1 {
                self.waiting = Some((self.line, text.to_owned()));
                return Ok(());
            }
            self.delimiter = found.first().copied().unwrap_or(',');
            self.release()?;
        }
        self.take(text)
    }

    /// Takes in the first line, once its delimiter is known.
    fn release(&mut self) -> Result<()> {
        let Some((line, text)) = self.waiting.take() else {
            return Ok(());
        };
        let now = std::mem::replace(&mut self.line, line);
        self.take(&text)?;
        self.line = now;
        Ok(())
    }

    fn take(&mut self, text: &str) -> Result<()> {
        let fields = self.fields(text)?;
        let Some(names) = &self.names else {
            return self.first(&fields);
        };
        let ends_empty = fields.last().is_some_and(|field| field.is_empty());
        let (expected, got) = (names.len(), fields.len());
        let unnamed = names.last().is_some_and(String::is_empty) && self.values.is_empty();
        if ends_empty && expected > 1 && (got == expected + 1 || got == expected && unnamed) {
            let (got, advice) = match self.delimiter {
                ';' => ("a line that ends in a semicolon", "remove it at the end of every line"),
                '\t' => ("a line that ends in a tab", "remove it at the end of every line"),
                _ => ("a line that ends in a comma", "remove it at the end of every line"),
            };
            return Err(self.wrong("a value in the last field", got, advice));
        }
        if got != expected {
            let decimals = self.delimiter == ',' && got == 2 * expected && expected > 0;
            return Err(TableError::Ragged {
                file: self.file.to_owned(),
                line: self.line,
                expected,
                got,
                advice: if decimals {
                    "complete or remove the line, or write decimal points if these are decimal commas"
                } else {
                    "complete or remove the line"
                },
            });
        }
        self.row(&fields)
    }

    fn row(&mut self, fields: &[Cow<'_, str>]) -> Result<()> {
        let is_text = |field: &Cow<'_, str>| parse(field, true).is_none();
        for (index, field) in fields.iter().enumerate() {
            let value = match self.value(index, field) {
                // Units, a second line of names: nothing of the line is a number.
                Err(TableError::Text { .. } | TableError::EmptyCell { .. })
                    if fields.iter().all(is_text)
                        && is_header(fields.iter().map(AsRef::as_ref))
                        && fields.len() > 1 =>
                {
                    let advice = "remove the line, or put # before it if it holds units or names";
                    return Err(self.wrong("numbers", "a line without any", advice));
                }
                value => value?,
            };
            self.values.push(value);
        }
        Ok(())
    }

    /// The first record: a header, or a row that says how many columns there are.
    fn first(&mut self, fields: &[Cow<'_, str>]) -> Result<()> {
        if is_header(fields.iter().map(AsRef::as_ref)) {
            self.name(fields.iter().map(ToString::to_string).collect());
            return Ok(());
        }
        let file = self.file.display();
        let names = self.names_in_comment(fields.len());
        self.notes.push(match &names {
            Some((line, _)) => {
                format!("{file}, line {line}: names of columns are taken from this comment")
            }
            None => format!("{file}: no header was found; columns are called x0, x1, .."),
        });
        self.name(names.map_or_else(|| vec![String::new(); fields.len()], |(_, names)| names));
        self.row(fields)
    }

    fn name(&mut self, names: Vec<String>) {
        let words = names
            .iter()
            .enumerate()
            .map(|(index, name)| (self.may_hold_words)(index, name.trim()).then(Words::default));
        self.words = words.collect();
        self.names = Some(names);
    }

    /// The names in the comment above the first row, if it holds as many as there are columns.
    fn names_in_comment(&self, columns: usize) -> Option<(u64, Vec<String>)> {
        let (line, text) = self.comment.as_ref()?;
        let fields = self.fields(text).ok()?;
        let is_name = |field: &Cow<'_, str>| {
            let words = field.split_whitespace().count();
            (1..=MOST_WORDS).contains(&words)
                && (columns > 1 || words == 1)
                && !field.contains(':')
                && is_header([field.as_ref()].into_iter())
        };
        let fits = fields.len() == columns && fields.iter().all(is_name);
        fits.then(|| (*line, fields.iter().map(ToString::to_string).collect()))
    }

    fn fields<'t>(&self, text: &'t str) -> Result<Vec<Cow<'t, str>>> {
        if !text.contains('"') {
            let fields = text.split(self.delimiter);
            return Ok(fields.map(|field| Cow::Borrowed(field.trim())).collect());
        }
        let advice = "keep a quoted field on one line";
        let unclosed = || self.wrong("quotes in pairs", "an unclosed quote", advice);
        if !text.bytes().filter(|&byte| byte == b'"').count().is_multiple_of(2) {
            return Err(unclosed());
        }
        let mut reader = ::csv::ReaderBuilder::new();
        let reader =
            reader.has_headers(false).delimiter(self.delimiter as u8).buffer_capacity(1 << 10);
        let record = reader.from_reader(text.as_bytes()).into_records().next();
        let record = record.and_then(|record| record.ok()).ok_or_else(unclosed)?;
        Ok(record.iter().map(|field| Cow::Owned(field.trim().to_owned())).collect())
    }

    /// A number, or the code of a word where the column may hold words.
    fn value(&mut self, index: usize, field: &str) -> Result<f64> {
        let number = parse(field, self.delimiter != ',');
        let stands = match number {
            Some(number) => number.is_finite(),
            None => is_header([field].into_iter()),
        };
        match self.words.get_mut(index) {
            Some(Some(words)) if stands => Ok(words.code(field, number.is_some())),
            _ => self.number(index, field),
        }
    }

    fn number(&mut self, index: usize, field: &str) -> Result<f64> {
        let place = || {
            let name = self.names.as_ref().and_then(|names| names.get(index));
            let name = name.filter(|name| !name.is_empty());
            (self.file.to_owned(), name.map_or_else(|| format!("x{index}"), |name| excerpt(name)))
        };
        if field.is_empty() {
            let (file, column) = place();
            return Err(TableError::EmptyCell { file, line: self.line, column, index });
        }
        let Some(value) = parse(field, self.delimiter != ',') else {
            let ((file, column), got) = (place(), excerpt(field));
            let columns = self.names.as_ref().map_or(0, Vec::len);
            let below = self.values.len() >= columns || columns == 1;
            return Err(TableError::Text {
                file,
                line: self.line,
                column,
                index,
                got,
                advice: advice(field, below),
            });
        };
        if !value.is_finite() {
            let ((file, column), got) = (place(), excerpt(field));
            return Err(TableError::NonFiniteField { file, line: self.line, column, index, got });
        }
        let mark = field.chars().find(|c| matches!(c, '.' | ','));
        if let (Some(before), Some(mark)) = (self.decimal, mark)
            && before != mark
        {
            let ((file, column), got) = (place(), excerpt(field));
            let advice =
                "use points or commas before decimals throughout, and no thousands separators";
            return Err(TableError::Text { file, line: self.line, column, index, got, advice });
        }
        self.decimal = self.decimal.or(mark);
        let is_padded = |field: &[u8]| matches!(field, [b'0', b'0'..=b'9', ..]);
        if self.padded.is_none() && is_padded(field.as_bytes()) && mark.is_none() {
            self.padded = Some((self.line, field.to_owned()));
        }
        Ok(value)
    }

    fn wrong(&self, expected: &'static str, got: &'static str, advice: &'static str) -> TableError {
        TableError::Line { file: self.file.to_owned(), line: self.line, expected, got, advice }
    }

    /// The table, once the last line has been taken in.
    pub(super) fn finish(mut self) -> Result<Table> {
        if let Some(first) =
            self.waiting.as_ref().and_then(|(_, text)| delimiters(text).first().copied())
        {
            self.delimiter = first;
            self.release()?;
        }
        self.note_commas();
        let file = self.file.to_owned();
        match self.names {
            None => Err(TableError::CommentsOnly { file }),
            Some(_) if self.values.is_empty() => {
                Err(TableError::HeaderOnly { file, line: self.line })
            }
            Some(names) => {
                let columns = names.len();
                let number = |word: &str| parse(word, self.delimiter != ',');
                let mut classes = Vec::new();
                for (column, words) in self.words.into_iter().enumerate() {
                    let Some(words) = words else { continue };
                    let found = words.settle(&mut self.values, (column, columns), number);
                    classes.extend(found.map(|found| (column, found)));
                }
                let table = Table::new(names, columns, self.values)?.noted(self.notes);
                Ok(classes
                    .into_iter()
                    .fold(table, |table, (column, classes)| table.with_classes(column, classes)))
            }
        }
    }

    /// Says what commas have been taken for, where they could be something else.
    fn note_commas(&mut self) {
        let file = self.file.display();
        if self.decimal == Some(',') {
            self.notes.push(format!("{file}: commas inside numbers are read as decimal commas"));
        }
        let columns = self.names.as_ref().map_or(0, Vec::len);
        if let (',', None, Some((line, field)), 2..) =
            (self.delimiter, self.decimal, &self.padded, columns)
        {
            self.notes.push(format!(
                "{file}, line {line}: commas are read as delimiters; if {field:?} stands behind a \
                 decimal comma, write decimal points"
            ));
        }
    }
}

/// Semicolon, tab and comma, as far as they stand outside of quotes.
fn delimiters(line: &str) -> Vec<char> {
    let bare: String = line.split('"').step_by(2).collect();
    [';', '\t', ','].into_iter().filter(|&delimiter| bare.contains(delimiter)).collect()
}

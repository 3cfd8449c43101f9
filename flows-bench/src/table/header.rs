//! The header of an NPY array: element type, storage order, shape.
//!
//! Format 1.0 to 3.0: a magic number, a version, the length of a text, and the text, a literal such
//! as `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`. The parser is our own because
//! the kept crates multiply the promised axes unchecked, allocate the promised length of the text
//! before it has been read, and descend once per bracket. This one does none of the three.

use std::io::{self, Read};

use super::error::{excerpt, shape_text};
use super::{Origin, Result, TableError};

/// Longest text accepted, in bytes; an array of plain numbers needs about a hundred.
const LONGEST_TEXT: usize = 1 << 16;

/// What the header says.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    /// The element type as written; a structured one starts with `[`.
    pub(super) descr: String,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<u64>,
    /// Bytes from the start of the file to the data.
    pub(super) length: u64,
}

impl Header {
    pub(super) fn read(input: &mut impl Read, origin: &Origin) -> Result<Self> {
        let wrong = |problem: String| TableError::Header { origin: origin.clone(), problem };
        let cut = |cause: io::Error| match cause.kind() {
            io::ErrorKind::UnexpectedEof => wrong("fewer bytes than its length".to_owned()),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => wrong(cause.to_string()),
            _ => TableError::reading(&origin.file, &cause),
        };
        let mut start = [0; 8];
        input.read_exact(&mut start).map_err(cut)?;
        if !start.starts_with(b"\x93NUMPY") {
            return Err(wrong("other first bytes".to_owned()));
        }
        let mut size = [0; 4];
        let width = match start[6..] {
            [1, 0] => 2,
            [2 | 3, 0] => 4,
            _ => return Err(wrong(format!("version {}.{}", start[6], start[7]))),
        };
        input.read_exact(&mut size[..width]).map_err(cut)?;
        let size = u32::from_le_bytes(size);
        let Some(bytes) = usize::try_from(size).ok().filter(|&bytes| bytes <= LONGEST_TEXT) else {
            return Err(wrong(format!("a length of {size} bytes")));
        };
        let mut text = vec![0; bytes];
        input.read_exact(&mut text).map_err(cut)?;
        let length = (8 + width + bytes) as u64;
        let text =
            String::from_utf8(text).map_err(|_| wrong("bytes that are no text".to_owned()))?;
        let read = Parser { rest: &text }.header(length);
        read.map_err(|expected| wrong(format!("{:?} without {expected}", excerpt(&text))))
    }

    /// Number of elements; `None` beyond 2¹²⁸.
    pub(super) fn elements(&self) -> Option<u128> {
        self.shape.iter().try_fold(1_u128, |product, &axis| product.checked_mul(u128::from(axis)))
    }

    pub(super) fn shape_text(&self) -> String {
        shape_text(&self.shape)
    }

    /// What to do about an element type that is no number.
    pub(super) fn advice(&self) -> &'static str {
        let kind = self.descr.trim_start_matches(['<', '>', '|', '=']).chars().next();
        match kind {
            Some('[') => "save numpy.lib.recfunctions.structured_to_unstructured(array)",
            Some('c') => "save real and imaginary parts as columns of their own",
            Some('M' | 'm') => "save the time since a start as a float, as (t - t0) / unit",
            _ => "convert with astype(float)",
        }
    }

    /// The element type for a message.
    pub(super) fn descr_text(&self) -> String {
        match self.descr.chars().next() {
            Some('[') => "structured".to_owned(),
            _ => format!("{:?}", excerpt(&self.descr)),
        }
    }
}

/// What is left of the text. An error is what was expected there.
struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn header(mut self, length: u64) -> Result<Header, &'static str> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect('{', "an opening brace")?;
        while !self.accept('}') {
            let key = self.string()?;
            self.expect(':', "a colon after a key")?;
            match key {
                "descr" => descr = Some(self.descr()?),
                "fortran_order" => fortran_order = Some(self.truth()?),
                "shape" => shape = Some(self.shape()?),
                _ => return Err("the keys descr, fortran_order and shape only"),
            }
            if !self.accept(',') {
                self.expect('}', "a closing brace")?;
                break;
            }
        }
        Ok(Header {
            descr: descr.ok_or("the key descr")?,
            fortran_order: fortran_order.ok_or("the key fortran_order")?,
            shape: shape.ok_or("the key shape")?,
            length,
        })
    }

    fn accept(&mut self, token: char) -> bool {
        self.rest = self.rest.trim_start();
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expect(&mut self, token: char, what: &'static str) -> Result<(), &'static str> {
        if self.accept(token) { Ok(()) } else { Err(what) }
    }

    fn string(&mut self) -> Result<&'t str, &'static str> {
        let quote = if self.accept('"') { '"' } else { '\'' };
        if quote == '\'' {
            self.expect('\'', "a quoted string")?;
        }
        let (string, rest) = self.rest.split_once(quote).ok_or("a closing quote")?;
        self.rest = rest;
        Ok(string)
    }

    /// A quoted type, or the list of fields of a structured one, which is passed over.
    fn descr(&mut self) -> Result<String, &'static str> {
        if !self.rest.trim_start().starts_with('[') {
            return self.string().map(str::to_owned);
        }
        let start = self.rest;
        let (mut depth, mut quote) = (0_usize, None);
        for (at, c) in start.char_indices() {
            match (quote, c) {
                (Some(open), c) if open == c => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(c),
                (None, '[' | '(') => depth += 1,
                (None, ']' | ')') => depth = depth.checked_sub(1).ok_or("paired brackets")?,
                _ => {}
            }
            if depth == 0 && c == ']' {
                self.rest = &start[at + 1..];
                return Ok(start[..=at].trim_start().to_owned());
            }
        }
        Err("paired brackets")
    }

    fn truth(&mut self) -> Result<bool, &'static str> {
        self.rest = self.rest.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err("True or False for fortran_order")
    }

    fn shape(&mut self) -> Result<Vec<u64>, &'static str> {
        self.expect('(', "a tuple for shape")?;
        let mut shape = Vec::new();
        while !self.accept(')') {
            self.rest = self.rest.trim_start();
            let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
            let axis = self.rest[..digits].parse().map_err(|_| "axes below 2^64 in shape")?;
            shape.push(axis);
            self.rest = &self.rest[digits..];
            self.accept('L'); // Long integers of old writers.
            if !self.accept(',') {
                self.expect(')', "a closing parenthesis of shape")?;
                break;
            }
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Header, &'static str> {
        Parser { rest: text }.header(0)
    }

    #[test]
    fn headers_are_read_in_any_order_of_keys() {
        for text in [
            "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }   \n",
            "{\"shape\":(3L,4L),\"fortran_order\":False,\"descr\":\"<f8\"}",
        ] {
            let header = parsed(text).unwrap();
            assert_eq!((&header.descr[..], &header.shape[..]), ("<f8", &[3, 4][..]));
            assert!(!header.fortran_order);
        }
        let header = parsed("{'descr': '|O', 'fortran_order': True, 'shape': ()}").unwrap();
        assert_eq!((header.shape, header.fortran_order), (vec![], true));
    }

    #[test]
    fn a_structured_type_is_passed_over() {
        let text = "{'descr': [('a]', '<f8'), ('b', [('c', '<i4')], (2,))], 'fortran_order': False, 'shape': (3,)}";
        let header = parsed(text).unwrap();
        assert_eq!((header.descr_text().as_str(), header.shape), ("structured", vec![3]));
    }

    #[test]
    fn malformed_text_is_an_error() {
        for text in [
            "",
            "{",
            "{'descr'",
            "{'descr':",
            "{'descr': '<f8",
            "{'descr': []",
            "{'descr': [)",
            "{}",
            "{'shape': (-1,)",
            "{'shape': (1 2)",
            "{'shape': (99999999999999999999,)",
            "{'shape': 3",
            "{'fortran_order': 1",
            "{'other': 1",
            "{'descr': [[[[[",
            "{'shape': (,)",
            "{'é': 1",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
        let deep = format!("{{'descr': {}", "[".repeat(60_000));
        assert_eq!(parsed(&deep), Err("paired brackets"));
    }
}

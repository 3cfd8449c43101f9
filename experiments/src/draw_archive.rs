//! Draws as an NPZ archive with one array a parameter, in the groups that ArviZ has.

use std::path::Path;

use anyhow::{Context as _, Result};
use flows_bench::table::{self, Values};

/// Named arrays.
#[derive(Debug, Default)]
pub(crate) struct DrawArchive {
    arrays: Vec<(String, Vec<usize>, Kept)>,
}

/// Values of an array.
#[derive(Debug)]
enum Kept {
    Numbers(Vec<f64>),
    Truths(Vec<bool>),
}

impl Kept {
    fn values(&self) -> Values<'_> {
        match self {
            Self::Numbers(values) => Values::F64(values),
            Self::Truths(values) => Values::Bool(values),
        }
    }
}

impl DrawArchive {
    /// Whether a file of this name is one.
    pub(crate) fn is_meant_by(path: &Path) -> bool {
        path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz"))
    }

    /// Adds parameters in the group `posterior`, given row after row. `draws` are the axes that count the
    /// rows; `theta[1]`, `theta[2]`, .. become one array `theta` with an axis more.
    pub(crate) fn add_parameters(&mut self, names: &[String], rows: &[f64], draws: &[usize]) {
        for Parameter { name, first, length } in parameters(names) {
            let columns = first..first + length.unwrap_or(1);
            let own = rows.chunks(names.len()).flat_map(|row| &row[columns.clone()]).copied();
            let shape = draws.iter().copied().chain(length).collect();
            self.arrays.push((format!("posterior/{name}"), shape, Kept::Numbers(own.collect())));
        }
    }

    /// Adds an array of numbers.
    pub(crate) fn add(&mut self, name: &str, shape: &[usize], values: Vec<f64>) {
        self.arrays.push((name.to_owned(), shape.to_vec(), Kept::Numbers(values)));
    }

    /// Adds an array of truth values.
    pub(crate) fn add_truths(&mut self, name: &str, shape: &[usize], values: Vec<bool>) {
        self.arrays.push((name.to_owned(), shape.to_vec(), Kept::Truths(values)));
    }

    /// Writes the file.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let arrays: Vec<(&str, &[usize], Values<'_>)> = self
            .arrays
            .iter()
            .map(|(name, shape, kept)| (name.as_str(), shape.as_slice(), kept.values()))
            .collect();
        table::write_npz(path, &arrays).context("writing the draws")
    }
}

/// A parameter with its place among the columns.
#[derive(Debug, PartialEq, Eq)]
struct Parameter<'a> {
    name: &'a str,
    first: usize,
    /// Number of elements of a vector.
    length: Option<usize>,
}

/// Columns that belong together: elements of a vector stand side by side and are counted from 0 or 1.
fn parameters(names: &[String]) -> Vec<Parameter<'_>> {
    let mut found = Vec::new();
    let mut first = 0;
    while first < names.len() {
        let (name, length) = match vector_at(names, first) {
            Some((stem, length)) => (stem, Some(length)),
            None => (names[first].as_str(), None),
        };
        found.push(Parameter { name, first, length });
        first += length.unwrap_or(1);
    }
    found
}

/// Name and length of the vector whose first element stands in column `first`.
fn vector_at(names: &[String], first: usize) -> Option<(&str, usize)> {
    let (stem, start) = element(&names[first])?;
    if start > 1 || names.iter().any(|name| name == stem) {
        return None;
    }
    let elements = names[first..].iter().zip(start..);
    let length = elements.take_while(|(name, index)| element(name) == Some((stem, *index))).count();
    Some((stem, length))
}

/// `theta[3]` is element 3 of `theta`.
fn element(name: &str) -> Option<(&str, usize)> {
    let (stem, index) = name.strip_suffix(']')?.split_once('[')?;
    Some((stem, index.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_vectors_are_gathered() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let all = parameters(&names);
            all.iter().map(|p| (p.name.to_owned(), p.first, p.length)).collect::<Vec<_>>()
        };
        let own = |name: &str, first, length| (name.to_owned(), first, length);
        assert_eq!(
            of(&["mu", "theta[1]", "theta[2]", "b[0]", "tau"]),
            [
                own("mu", 0, None),
                own("theta", 1, Some(2)),
                own("b", 3, Some(1)),
                own("tau", 4, None)
            ]
        );
        // What is no vector, or whose name is taken, stays as it is.
        assert_eq!(
            of(&["a[2]", "a[3]", "b[1,2]", "c[1]", "c"]),
            [
                own("a[2]", 0, None),
                own("a[3]", 1, None),
                own("b[1,2]", 2, None),
                own("c[1]", 3, None),
                own("c", 4, None)
            ]
        );
    }
}

//! Columns of words: classes instead of numbers.

use std::collections::HashMap;

use super::Table;

/// The words of a column in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Words {
    codes: HashMap<String, usize>,
    /// Whether any is no number.
    text: bool,
}

impl Words {
    /// The code of a word: its number among those that came.
    pub(super) fn code(&mut self, word: &str, is_number: bool) -> f64 {
        self.text |= !is_number;
        let next = self.codes.len();
        match self.codes.get(word) {
            Some(&code) => code as f64,
            None => {
                self.codes.insert(word.to_owned(), next);
                next as f64
            }
        }
    }

    /// Puts the values of a column in place of the codes: the numbers that the words stand for or, if
    /// any is no number, indices into the classes in alphabetical order, which are returned.
    pub(super) fn settle(
        self,
        values: &mut [f64],
        (column, columns): (usize, usize),
        number: impl Fn(&str) -> Option<f64>,
    ) -> Option<Vec<String>> {
        let mut classes: Vec<(String, usize)> = self.codes.into_iter().collect();
        classes.sort();
        let mut by_code = vec![f64::NAN; classes.len()];
        for (index, (word, code)) in classes.iter().enumerate() {
            let value = if self.text { Some(index as f64) } else { number(word) };
            if let (Some(value), Some(place)) = (value, by_code.get_mut(*code)) {
                *place = value;
            }
        }
        for value in values.iter_mut().skip(column).step_by(columns.max(1)) {
            *value = by_code.get(*value as usize).copied().unwrap_or(f64::NAN);
        }
        self.text.then(|| classes.into_iter().map(|(word, _)| word).collect())
    }
}

impl Table {
    /// The classes of a column of words, in alphabetical order: its values are indices into them.
    /// None for a column of numbers.
    #[must_use]
    pub fn classes(&self, column: usize) -> Option<&[String]> {
        self.classes.iter().find(|(of, _)| *of == column).map(|(_, classes)| &classes[..])
    }

    /// With words for the values of a column, which are indices into them.
    #[must_use]
    pub fn with_classes(mut self, column: usize, classes: Vec<String>) -> Self {
        self.classes.retain(|(of, _)| *of != column);
        self.classes.push((column, classes));
        self
    }
}

//! The data of a posterior: a JSON object of numbers, lists and lists of lists.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::reference_error::{ReferenceError, Result};

/// A file of data.
#[derive(Debug)]
pub(super) struct Data {
    file: PathBuf,
    fields: Map<String, Value>,
}

impl Data {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read(file).map_err(|cause| ReferenceError::unreadable(file, &cause))?;
        let fields = serde_json::from_slice(&text)
            .map_err(|cause| ReferenceError::damaged(file, "a JSON object", &cause))?;
        Ok(Self { file: file.to_owned(), fields })
    }

    pub(super) fn wrong(
        &self,
        field: impl Into<String>,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> ReferenceError {
        ReferenceError::field(&self.file, field, expected, got)
    }

    /// A whole number of at least `least`.
    pub(super) fn count(&self, field: &str, least: usize) -> Result<usize> {
        let value = self.fields.get(field);
        let count = value.and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
        count.filter(|&count| count >= least).ok_or_else(|| {
            self.wrong(field, format!("a whole number of at least {least}"), kind(value))
        })
    }

    /// A positive number.
    pub(super) fn positive(&self, field: &str) -> Result<f64> {
        let value = self.fields.get(field);
        let number = value.and_then(Value::as_f64).filter(|&number| number > 0.0);
        number.ok_or_else(|| self.wrong(field, "a positive number", kind(value)))
    }

    /// A list of `length` numbers.
    pub(super) fn vector(&self, field: &str, length: usize) -> Result<Vec<f64>> {
        self.numbers(field.to_owned(), self.fields.get(field), length)
    }

    /// A list of `length` positive numbers.
    pub(super) fn positives(&self, field: &str, length: usize) -> Result<Vec<f64>> {
        let values = self.vector(field, length)?;
        match values.iter().find(|&&value| value <= 0.0) {
            Some(value) => Err(self.wrong(field, "positive numbers", value.to_string())),
            None => Ok(values),
        }
    }

    /// A list of `rows` lists of `columns` numbers, row-major.
    pub(super) fn matrix(&self, field: &str, rows: usize, columns: usize) -> Result<Vec<f64>> {
        let value = self.fields.get(field);
        let list = value.and_then(Value::as_array).filter(|list| list.len() == rows);
        let list = list.ok_or_else(|| {
            self.wrong(field, format!("a list of {rows} lists of numbers"), kind(value))
        })?;
        let mut values = Vec::with_capacity(rows * columns);
        for (index, row) in list.iter().enumerate() {
            values.extend(self.numbers(format!("{field}[{}]", index + 1), Some(row), columns)?);
        }
        Ok(values)
    }

    fn numbers(&self, field: String, value: Option<&Value>, length: usize) -> Result<Vec<f64>> {
        let list = value.and_then(Value::as_array).filter(|list| list.len() == length);
        let Some(list) = list else {
            return Err(self.wrong(field, format!("a list of {length} numbers"), kind(value)));
        };
        let number = |(index, value): (usize, &Value)| {
            let wrong =
                || self.wrong(format!("{field}[{}]", index + 1), "a number", kind(Some(value)));
            value.as_f64().ok_or_else(wrong)
        };
        list.iter().enumerate().map(number).collect()
    }
}

/// What a value is, for a message.
fn kind(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(_)) => "text".to_owned(),
        Some(Value::Array(list)) => format!("a list of {}", list.len()),
        Some(Value::Object(_)) => "an object".to_owned(),
    }
}

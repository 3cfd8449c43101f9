//! Uniform noise for columns that lie on a grid.
//!
//! A density of integers, or of readings to one decimal, has no upper bound: a flow that puts a
//! spike on every grid value wins any comparison. Noise of one grid step makes the bound finite
//! (Theis, van den Oord, Bethge, *A note on the evaluation of generative models*, ICLR 2016, 3.1).

use std::collections::HashSet;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Result, Table, TableError};

/// The steps that are looked for, from the widest.
const STEPS: [f64; 6] = [1.0, 0.1, 0.01, 0.001, 1e-4, 1e-5];

/// Steps to one unit, the same order: dividing by 0.1 is not exact, multiplying by 10 nearly is.
const PER_UNIT: [f64; 6] = [1.0, 10.0, 100.0, 1000.0, 1e4, 1e5];

/// A column is on a grid where each of its values occurs at least twice on average.
const MOST_DISTINCT: f64 = 0.5;

/// Share of values that may lie off the grid: averaged readings ("9.5333") in a column of tenths.
const MOST_OFF_GRID: f64 = 0.01;

/// Above this number of steps every f64 looks like a multiple: the test below needs 2⁵³ to be far.
const MOST_STEPS: f64 = 1e12;

/// Noise U(0, `step`) for one column.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnNoise {
    /// Index of the column, from 0.
    pub column: usize,
    /// Its name.
    pub name: String,
    /// Width of the noise, in the data's own units.
    pub step: f64,
}

/// Which columns get noise: a record of what was done to a table.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Dequantisation {
    /// At most one entry a column.
    pub columns: Vec<ColumnNoise>,
}

impl Dequantisation {
    /// Step 1 for every column whose values in the `training` rows are all integers.
    ///
    /// A column with one value there is left alone, for
    /// [`Standardiser::fit`](super::Standardiser::fit) to refuse it.
    ///
    /// # Errors
    /// [`TableError::Row`] for a row out of range.
    pub fn integers(table: &Table, training: &[usize]) -> Result<Self> {
        let integer = |values: &[f64]| values.iter().all(|value| value.fract() == 0.0);
        Self::detect(table, training, |values| integer(values).then_some(1.0))
    }

    /// The decimal step of every column that lies on a grid in the `training` rows.
    ///
    /// See [`decimal_step`] for the rule; a column with one value is left alone, as by
    /// [`integers`](Self::integers).
    ///
    /// # Errors
    /// [`TableError::Row`] for a row out of range.
    pub fn grids(table: &Table, training: &[usize]) -> Result<Self> {
        Self::detect(table, training, decimal_step)
    }

    /// The columns that the user lists, each `(column, step)`; step 1 for integers.
    ///
    /// # Errors
    /// [`TableError::Column`] for an index out of range, [`TableError::Step`] for a step that is not
    /// positive and finite, [`TableError::Repeated`] for a column listed twice.
    pub fn listed(table: &Table, columns: &[(usize, f64)]) -> Result<Self> {
        let noise = |&(column, step): &(usize, f64)| {
            table.check_column(column)?;
            Ok(ColumnNoise { column, name: table.names()[column].clone(), step })
        };
        let noise = Self { columns: columns.iter().map(noise).collect::<Result<_>>()? };
        noise.check(table)?;
        Ok(noise)
    }

    /// A copy of `table` with `step` · U[0, 1) added to every value of the recorded columns.
    ///
    /// Draws go row by row, and within a row in the order of `columns`.
    ///
    /// # Errors
    /// As [`listed`](Self::listed); [`TableError::Renamed`] where the record was made for a table
    /// with another name at that index.
    pub fn apply(&self, table: &Table, rng: &mut impl Rng) -> Result<Table> {
        self.check(table)?;
        let mut values = table.values().to_vec();
        for row in values.chunks_exact_mut(table.columns()) {
            for noise in &self.columns {
                row[noise.column] += noise.step * rng.random::<f64>();
            }
        }
        Table::new(table.names().to_vec(), table.columns(), values)
    }

    fn detect(
        table: &Table,
        training: &[usize],
        step: impl Fn(&[f64]) -> Option<f64>,
    ) -> Result<Self> {
        table.check_rows(training)?;
        let mut columns = Vec::new();
        for (column, name) in table.names().iter().enumerate() {
            let values: Vec<f64> = training.iter().map(|&row| table.row(row)[column]).collect();
            let varies = values.iter().any(|&value| value != values[0]);
            if let Some(step) = step(&values).filter(|_| varies) {
                columns.push(ColumnNoise { column, name: name.clone(), step });
            }
        }
        Ok(Self { columns })
    }

    fn check(&self, table: &Table) -> Result<()> {
        let mut seen = HashSet::new();
        for &ColumnNoise { column, ref name, step } in &self.columns {
            table.check_column(column)?;
            if !(step.is_finite() && step > 0.0) {
                return Err(TableError::Step { column, step });
            }
            if !seen.insert(column) {
                return Err(TableError::Repeated { column });
            }
            let got = &table.names()[column];
            if got != name {
                let (expected, got) = (name.clone(), got.clone());
                return Err(TableError::Renamed { column, expected, got });
            }
        }
        Ok(())
    }
}

/// The widest of the steps 1, 0.1, .., 1e-5 that the values are multiples of, or `None`.
///
/// The values are on a grid where the distinct ones are at most half as many as all, and where at
/// least 99 of 100 are multiples of the step to the rounding of an f64 (a table in f32 is not,
/// except for integers).
pub fn decimal_step(values: &[f64]) -> Option<f64> {
    let distinct: HashSet<u64> = values.iter().map(|value| (value + 0.0).to_bits()).collect();
    if values.is_empty() || distinct.len() as f64 > MOST_DISTINCT * values.len() as f64 {
        return None;
    }
    let most_off = MOST_OFF_GRID * values.len() as f64;
    let found = STEPS.iter().zip(PER_UNIT).find(|&(_, per_unit)| {
        let off = values.iter().filter(|&&value| !is_whole(value * per_unit)).count();
        off as f64 <= most_off
    });
    found.map(|(&step, _)| step)
}

/// A decimal and its product with a power of ten are rounded once each: two roundings of 2⁻⁵³, and
/// as much again to spare.
fn is_whole(steps: f64) -> bool {
    let rounding = 2.0 * f64::EPSILON * steps.abs();
    steps.abs() <= MOST_STEPS && (steps - steps.round()).abs() <= rounding
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// `count` values of `levels` levels, `step` apart, written to five decimals and parsed.
    fn grid(step: f64, levels: usize, count: usize) -> Vec<f64> {
        (0..count)
            .map(|i| format!("{:.5}", (i * 7 % levels) as f64 * step).parse().unwrap())
            .collect()
    }

    fn table() -> Table {
        let fractions = [0.25, 0.5, 0.125, 0.75];
        let values = (0..4).flat_map(|i| [i as f64, 5.0, fractions[i], 0.1 * i as f64]).collect();
        let names = ["count", "constant", "ratio", "tenths"].map(str::to_owned).to_vec();
        Table::new(names, 4, values).unwrap()
    }

    #[test]
    fn every_decimal_step_is_found() {
        for step in STEPS {
            assert_eq!(decimal_step(&grid(step, 97, 1000)), Some(step));
            let shifted: Vec<f64> = grid(step, 97, 1000).iter().map(|v| -v).collect();
            assert_eq!(decimal_step(&shifted), Some(step));
        }
        assert_eq!(decimal_step(&grid(0.5, 97, 1000)), Some(0.1));
    }

    #[test]
    fn one_value_in_a_hundred_may_lie_off_the_grid() {
        let mut values = grid(0.1, 50, 1000);
        values[..10].fill(9.533_333_333_333_33);
        assert_eq!(decimal_step(&values), Some(0.1));
        values[10] = 9.566_666_666_666_67;
        assert_eq!(decimal_step(&values), None);
    }

    #[test]
    fn columns_of_many_values_are_on_no_grid() {
        assert_eq!(decimal_step(&grid(0.01, 501, 1000)), None);
        assert_eq!(decimal_step(&grid(0.01, 500, 1000)), Some(0.01));
        assert_eq!(decimal_step(&[1e300, 1e300, -1e300, -1e300]), None);
        assert_eq!(decimal_step(&[0.0, -0.0]), Some(1.0));
        assert_eq!(decimal_step(&[]), None);
    }

    #[test]
    fn integer_columns_are_found_and_constant_ones_left_alone() {
        let noise = Dequantisation::integers(&table(), &[0, 1, 2]).unwrap();
        let expected = ColumnNoise { column: 0, name: "count".to_owned(), step: 1.0 };
        assert_eq!(noise.columns, [expected]);
        let text = serde_json::to_string(&noise).unwrap();
        assert_eq!(text, r#"{"columns":[{"column":0,"name":"count","step":1.0}]}"#);
        assert_eq!(serde_json::from_str::<Dequantisation>(&text).unwrap(), noise);
    }

    #[test]
    fn noise_stays_within_its_step_and_off_other_columns() {
        let (before, mut rng) = (table(), Xoshiro256PlusPlus::seed_from_u64(1));
        let noise = Dequantisation::listed(&before, &[(3, 0.1), (0, 1.0)]).unwrap();
        let after = noise.apply(&before, &mut rng).unwrap();
        for row in 0..before.rows() {
            let (x, y) = (before.row(row), after.row(row));
            assert!(y[0] >= x[0] && y[0] < x[0] + 1.0 && y[3] >= x[3] && y[3] <= x[3] + 0.1);
            assert_eq!((y[1], y[2]), (x[1], x[2]));
        }
        assert_ne!(before, after);
    }

    #[test]
    fn impossible_noise_is_refused() {
        let message = |columns: &[(usize, f64)]| {
            Dequantisation::listed(&table(), columns).unwrap_err().to_string()
        };
        assert!(message(&[(4, 1.0)]).starts_with("column 4 (from 0): expected an index below 4"));
        let expected = "column 0 (from 0): expected a positive, finite noise step, got 0";
        assert_eq!(message(&[(0, 0.0)]), expected);
        let expected = "column 0 (from 0): expected one noise step, got a second one; list it once";
        assert_eq!(message(&[(0, 1.0), (0, 1.0)]), expected);
        let noise = ColumnNoise { column: 1, name: "count".to_owned(), step: 1.0 };
        let noise = Dequantisation { columns: vec![noise] };
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let expected = "column 1 (from 0): expected the name \"count\" that noise was recorded for, \
                        got \"constant\"";
        assert_eq!(noise.apply(&table(), &mut rng).unwrap_err().to_string(), expected);
    }
}

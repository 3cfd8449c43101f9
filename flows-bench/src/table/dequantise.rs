//! Uniform noise for columns that lie on a grid.
//!
//! A density of integers, or of readings to one decimal, has no upper bound: a flow that puts a
//! spike on every grid value wins any comparison. Noise of one grid step makes the bound finite
//! (Theis, van den Oord, Bethge, *A note on the evaluation of generative models*, ICLR 2016, 3.1).

use std::collections::{HashMap, HashSet};

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::grid::{Grid, is_whole, runs};
use super::{Result, Table, TableError};

/// A drawn value this share of a step below its cell is in it, for rounding.
const ROUNDING: f64 = 1e-6;

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
    /// Where the grid begins: values are `offset` and a whole number of steps.
    #[serde(default)]
    pub offset: f64,
}

impl ColumnNoise {
    fn new(table: &Table, column: usize, grid: Grid) -> Self {
        let name = table.names()[column].clone();
        Self { column, name, step: grid.step, offset: grid.offset }
    }
}

/// Which columns get noise: a record of what was done to a table.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Dequantisation {
    /// At most one entry a column.
    pub columns: Vec<ColumnNoise>,
}

impl Dequantisation {
    /// Step 1 for every column whose values in the `training` rows are all integers, within ±2⁵³
    /// (beyond that every f64 is one).
    ///
    /// A column with one value there is among them: with noise it is uniform on one step.
    ///
    /// # Errors
    /// [`TableError::Row`] for a row out of range.
    pub fn integers(table: &Table, training: &[usize]) -> Result<Self> {
        let found = each(table, training, |runs| {
            let whole = runs.iter().all(|&(value, _)| is_whole(value));
            whole.then_some(Grid { step: 1.0, offset: 0.0 })
        })?;
        let noise = |(column, grid): (usize, &Option<Grid>)| {
            grid.map(|grid| ColumnNoise::new(table, column, grid))
        };
        Ok(Self { columns: found.iter().enumerate().filter_map(noise).collect() })
    }

    /// The widest step, of any size, of every column that lies on a grid in the `training` rows.
    ///
    /// A column is on a grid where its distinct values are at most half as many as all, or all are
    /// integers, and where all but one value in 100 are `offset` and a whole number of steps, to
    /// the rounding of an f64, or of an f32 in a column of f32. A column with one value there gets
    /// the most usual step of the others; without any it gets step 1 if that value is an integer,
    /// and is left alone if not, for [`Standardiser::fit`](super::Standardiser::fit) to refuse.
    ///
    /// # Errors
    /// [`TableError::Row`] for a row out of range.
    pub fn grids(table: &Table, training: &[usize]) -> Result<Self> {
        let found = each(table, training, Grid::of_repeated)?;
        let usual = usual_step(found.iter().flatten());
        let mut columns = Vec::new();
        for (column, grid) in found.into_iter().enumerate() {
            let first = training.first().map(|&row| table.row(row)[column]);
            let constant = || {
                let value = first.filter(|&value| is_constant(table, training, column, value))?;
                let step = usual.or_else(|| is_whole(value).then_some(1.0))?;
                Some(Grid::through(value, step))
            };
            if let Some(grid) = grid.or_else(constant) {
                columns.push(ColumnNoise::new(table, column, grid));
            }
        }
        Ok(Self { columns })
    }

    /// The columns that the user lists, each `(column, step)`; step 1 for integers.
    ///
    /// # Errors
    /// [`TableError::Column`] for an index out of range, [`TableError::Step`] for a step that is not
    /// positive and finite, [`TableError::Repeated`] for a column listed twice.
    pub fn listed(table: &Table, columns: &[(usize, f64)]) -> Result<Self> {
        let noise = |&(column, step): &(usize, f64)| {
            table.check_column(column)?;
            let values = table.values().iter().skip(column).step_by(table.columns());
            let most = sorted_runs(values.copied()).into_iter().max_by_key(|&(_, count)| count);
            let (value, _) = most.unwrap_or_default();
            Ok(ColumnNoise::new(table, column, Grid::through(value, step)))
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
        self.add(&mut values, table.columns(), rng);
        table.with_values(values)
    }

    /// Adds `step` · U[0, 1) to the recorded columns of rows of `columns` values; one beyond them is
    /// passed over. Draws go as those of [`apply`](Self::apply).
    pub fn add(&self, values: &mut [f64], columns: usize, rng: &mut impl Rng) {
        for row in values.chunks_mut(columns.max(1)) {
            for noise in &self.columns {
                if let Some(value) = row.get_mut(noise.column) {
                    *value += noise.step * rng.random::<f64>();
                }
            }
        }
    }

    /// Moves values of the recorded columns down to their grid: what noise of one step was added to
    /// is found again, and draws of a flow of counts become counts.
    ///
    /// `values` are rows of `columns` values; a recorded column beyond them is passed over.
    pub fn restore(&self, values: &mut [f64], columns: usize) {
        for row in values.chunks_mut(columns.max(1)) {
            for noise in &self.columns {
                let grid = Grid { step: noise.step, offset: noise.offset };
                if let Some(value) = row.get_mut(noise.column) {
                    *value = grid.at((grid.steps(*value) + ROUNDING).floor());
                }
            }
        }
    }

    fn check(&self, table: &Table) -> Result<()> {
        let mut seen = HashSet::new();
        for &ColumnNoise { column, ref name, step, offset } in &self.columns {
            table.check_column(column)?;
            if !(step.is_finite() && step > 0.0 && offset.is_finite()) {
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

/// The grid of each column's distinct values in the `training` rows.
fn each(
    table: &Table,
    training: &[usize],
    grid: impl Fn(&[(f64, usize)]) -> Option<Grid>,
) -> Result<Vec<Option<Grid>>> {
    table.check_rows(training)?;
    let column = |column: usize| training.iter().map(move |&row| table.row(row)[column]);
    Ok((0..table.columns()).map(|index| grid(&sorted_runs(column(index)))).collect())
}

fn sorted_runs(values: impl Iterator<Item = f64>) -> Vec<(f64, usize)> {
    // 0 and −0 are one value.
    let mut values: Vec<f64> = values.map(|value| value + 0.0).collect();
    values.sort_unstable_by(f64::total_cmp);
    runs(&values)
}

/// The step of most grids, of several the widest.
fn usual_step<'g>(grids: impl Iterator<Item = &'g Grid>) -> Option<f64> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for grid in grids {
        *counts.entry(grid.step.to_bits()).or_default() += 1;
    }
    // Positive numbers are in the order of their bits.
    let most = counts.into_iter().max_by_key(|&(step, count)| (count, step));
    most.map(|(step, _)| f64::from_bits(step))
}

fn is_constant(table: &Table, rows: &[usize], column: usize, value: f64) -> bool {
    rows.iter().all(|&row| table.row(row)[column] == value)
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

    fn step(values: &[f64]) -> Option<f64> {
        let table = Table::new(Vec::new(), 1, values.to_vec()).unwrap();
        let rows: Vec<usize> = (0..values.len()).collect();
        let noise = Dequantisation::grids(&table, &rows).unwrap();
        noise.columns.first().map(|noise| noise.step)
    }

    #[test]
    fn steps_of_any_size_are_found() {
        for wanted in [1.0, 0.1, 0.01, 0.001, 1e-4, 1e-5, 0.25, 0.5, 5.0, 10.0, 0.02] {
            assert_eq!(step(&grid(wanted, 97, 1000)), Some(wanted));
            let negative: Vec<f64> = grid(wanted, 97, 1000).iter().map(|v| -v).collect();
            assert_eq!(step(&negative), Some(wanted));
        }
    }

    #[test]
    fn one_value_in_a_hundred_may_lie_off_the_grid() {
        let mut values = grid(0.1, 50, 1000);
        values[..9].fill(9.533_333_333_333_33);
        assert_eq!(step(&values), Some(0.1));
        values[9..40].fill(9.561_803_398_875);
        assert_eq!(step(&values), None);
    }

    #[test]
    fn columns_of_many_values_are_on_no_grid() {
        assert_eq!(step(&grid(0.01, 501, 1000)), None);
        assert_eq!(step(&grid(0.01, 500, 1000)), Some(0.01));
        assert_eq!(step(&[1.5, 1.5, -1.5, -1.5]), Some(3.0));
        assert_eq!(step(&[f64::MAX, f64::MAX, f64::MIN, f64::MIN]), None);
        assert_eq!(step(&[0.0, -0.0]), Some(1.0));
        let huge = Table::new(Vec::new(), 1, vec![1e150, 2e150, 1e17, 3e150]).unwrap();
        assert_eq!(Dequantisation::integers(&huge, &[0, 1, 2, 3]).unwrap().columns, []);
    }

    #[test]
    fn integer_columns_are_found_and_constant_ones_among_them() {
        let noise = Dequantisation::integers(&table(), &[0, 1, 2]).unwrap();
        let of = |column, name: &str| ColumnNoise {
            column,
            name: name.to_owned(),
            step: 1.0,
            offset: 0.0,
        };
        assert_eq!(noise.columns, [of(0, "count"), of(1, "constant")]);
        let one = Dequantisation { columns: vec![of(0, "count")] };
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(text, r#"{"columns":[{"column":0,"name":"count","step":1.0,"offset":0.0}]}"#);
        let before = r#"{"columns":[{"column":0,"name":"count","step":1.0}]}"#;
        assert_eq!(serde_json::from_str::<Dequantisation>(before).unwrap(), one);
    }

    #[test]
    fn a_constant_column_gets_the_step_of_the_others() {
        let quarters = grid(0.25, 9, 40);
        let rows: Vec<usize> = (0..40).collect();
        let beside = |value: f64| {
            let values = quarters.iter().flat_map(|&quarter| [value, quarter]).collect();
            let table = Table::new(Vec::new(), 2, values).unwrap();
            let noise = Dequantisation::grids(&table, &rows).unwrap();
            noise.columns.iter().map(|noise| (noise.step, noise.offset)).collect::<Vec<_>>()
        };
        assert_eq!(beside(0.0), [(0.25, 0.0), (0.25, 0.0)]);
        assert_eq!(beside(0.375), [(0.25, 0.125), (0.25, 0.0)]);
        assert_eq!(step(&[7.0; 9]), Some(1.0));
        assert_eq!(step(&[0.5; 9]), None);
    }

    #[test]
    fn noise_is_taken_off_again() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        for (step, offset) in [(1.0, 0.0), (0.1, 0.0), (0.25, 0.1), (5.0 / 4096.0, 0.001)] {
            let value = |k: usize| ((k * k % 61) as f64 - 30.0) * step + offset;
            let values = (0..400).flat_map(|k| [0.5 + k as f64 / 7.0, value(k)]).collect();
            let table = Table::new(Vec::new(), 2, values).unwrap();
            let rows: Vec<usize> = (0..400).collect();
            let noise = Dequantisation::grids(&table, &rows).unwrap();
            assert_eq!(noise.columns.len(), 1);
            let mut back = noise.apply(&table, &mut rng).unwrap().into_values();
            let noisy = back.clone();
            noise.restore(&mut back, 2);
            for ((back, noisy), given) in back.iter().zip(&noisy).zip(table.values()) {
                // Two roundings of at most 30 steps and the offset.
                assert!((back - given).abs() < 1e-14, "{back} {noisy} {given}");
            }
            let mut again = back.clone();
            noise.restore(&mut again, 2);
            assert_eq!(again, back);
        }
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
        let noise = ColumnNoise { column: 1, name: "count".to_owned(), step: 1.0, offset: 0.0 };
        let noise = Dequantisation { columns: vec![noise] };
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let expected = "column 1 (from 0): expected the name \"count\" that noise was recorded for, \
                        got \"constant\"";
        assert_eq!(noise.apply(&table(), &mut rng).unwrap_err().to_string(), expected);
    }
}

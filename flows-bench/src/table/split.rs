//! Which rows train, which validate, which test.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::{Result, TableError};

/// Fewest rows of the training part: a standard deviation needs two.
const FEWEST_TRAINING: usize = 2;

/// Row indices (from 0) of the three parts, each ascending, together every row once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// At least two rows.
    pub training: Vec<usize>,
    /// At least one row.
    pub validation: Vec<usize>,
    /// At least one row.
    pub test: Vec<usize>,
}

impl Split {
    /// The same division of a table without its first row.
    pub(super) fn without_first(&self) -> Self {
        let below = |rows: &[usize]| rows.iter().filter_map(|row| row.checked_sub(1)).collect();
        Self {
            training: below(&self.training),
            validation: below(&self.validation),
            test: below(&self.test),
        }
    }
}

/// How rows are divided, for a config file.
///
/// | kind | meaning |
/// |---|---|
/// | `random` (default) | at random, see [`RandomSplit`] |
/// | `every_tenth` | by position in the file, see [`EveryTenth`] |
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SplitRule {
    /// By position.
    EveryTenth(EveryTenth),
    /// At random.
    Random(RandomSplit),
}

/// Row i tests where i mod 10 is 0, validates where it is 1, and trains otherwise (from 0, in the
/// order of the file).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EveryTenth {}

/// A random division that depends on nothing but these numbers and the number of rows.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `seed` | none: 0, or what the caller puts there | start of the generator | any |
/// | `validation` | 0.1 | share of the rows | positive |
/// | `test` | 0.1 | share of the rows | positive, `validation + test` at most 0.9 |
///
/// A share of the rows is rounded to the nearest number, and up to one.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomSplit {
    /// Start of the generator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Share of the rows that validate.
    pub validation: f64,
    /// Share of the rows that test.
    pub test: f64,
}

impl Default for RandomSplit {
    fn default() -> Self {
        Self { seed: None, validation: 0.1, test: 0.1 }
    }
}

impl Default for SplitRule {
    fn default() -> Self {
        Self::Random(RandomSplit::default())
    }
}

impl SplitRule {
    /// Divides the rows of a table with `rows` rows.
    ///
    /// # Errors
    /// [`TableError::TooFewRows`] where a part would be too small (it says how many rows are
    /// needed), [`TableError::Fraction`] for shares out of range.
    pub fn split(&self, rows: usize) -> Result<Split> {
        match self {
            Self::EveryTenth(rule) => rule.split(rows),
            Self::Random(rule) => rule.split(rows),
        }
    }
}

impl EveryTenth {
    fn split(self, rows: usize) -> Result<Split> {
        let needed = 2 + FEWEST_TRAINING;
        if rows < needed {
            return Err(TableError::TooFewRows { needed, rows });
        }
        let part = |wanted: fn(usize) -> bool| (0..rows).filter(|row| wanted(row % 10)).collect();
        Ok(Split {
            training: part(|r| r > 1),
            validation: part(|r| r == 1),
            test: part(|r| r == 0),
        })
    }
}

impl RandomSplit {
    fn split(self, rows: usize) -> Result<Split> {
        self.check()?;
        if self.training(rows) < FEWEST_TRAINING {
            // Training keeps a tenth of the rows, so that 40 are always enough.
            let enough = |&rows: &usize| self.training(rows) >= FEWEST_TRAINING;
            let needed = (rows + 1..=40).find(enough).unwrap_or(40);
            return Err(TableError::TooFewRows { needed, rows });
        }
        let mut order: Vec<usize> = (0..rows).collect();
        order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(self.seed.unwrap_or(0)));
        let mut training = order.split_off(count(self.validation, rows) + count(self.test, rows));
        let mut test = order.split_off(count(self.validation, rows));
        let mut validation = order;
        for part in [&mut training, &mut validation, &mut test] {
            part.sort_unstable();
        }
        Ok(Split { training, validation, test })
    }

    fn check(self) -> Result<()> {
        let wrong = |name, requirement, value| TableError::Fraction { name, requirement, value };
        for (name, value) in [("validation", self.validation), ("test", self.test)] {
            if !(value > 0.0 && value < 1.0) {
                return Err(wrong(name, "above 0 and below 1", value));
            }
        }
        // Shares such as 0.8 + 0.1 may exceed 0.9 by one rounding.
        let sum = self.validation + self.test;
        if sum > 0.9 + f64::EPSILON {
            return Err(wrong("validation + test", "at most 0.9", sum));
        }
        Ok(())
    }

    fn training(self, rows: usize) -> usize {
        rows.saturating_sub(count(self.validation, rows) + count(self.test, rows))
    }
}

fn count(share: f64, rows: usize) -> usize {
    ((share * rows as f64).round() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u64, validation: f64, test: f64) -> SplitRule {
        SplitRule::Random(RandomSplit { seed: Some(seed), validation, test })
    }

    #[test]
    fn every_row_is_in_one_part() {
        for rule in [SplitRule::default(), random(3, 0.2, 0.1), random(3, 0.45, 0.45)] {
            for rows in 4..200 {
                let Ok(split) = rule.split(rows) else {
                    continue;
                };
                let mut all = [&split.training[..], &split.validation, &split.test].concat();
                all.sort_unstable();
                assert_eq!(all, (0..rows).collect::<Vec<_>>());
                assert!(
                    split.training.len() > 1
                        && !split.validation.is_empty()
                        && !split.test.is_empty()
                );
            }
        }
    }

    #[test]
    fn every_tenth_goes_by_position() {
        let split = SplitRule::EveryTenth(EveryTenth {}).split(21).unwrap();
        assert_eq!((&split.test[..], &split.validation[..]), (&[0, 10, 20][..], &[1, 11][..]));
    }

    #[test]
    fn value_stability() {
        // Recorded from this implementation: a change moves every recorded random split.
        let split = random(7, 0.2, 0.2).split(10).unwrap();
        assert_eq!((split.validation, split.test), (vec![5, 8], vec![3, 9]));
        assert_ne!(random(8, 0.2, 0.2).split(10).unwrap(), random(7, 0.2, 0.2).split(10).unwrap());
    }

    #[test]
    fn too_few_rows_say_how_many_are_needed() {
        let expected = "split: expected at least 4 rows (1 test, 1 validation, 2 training), got 3; \
                        add rows or change the split";
        assert_eq!(SplitRule::default().split(3).unwrap_err().to_string(), expected);
        assert_eq!(random(0, 0.1, 0.1).split(3).unwrap_err().to_string(), expected);
        for (validation, test) in [(0.45, 0.45), (0.1, 0.8), (0.3, 0.3), (0.01, 0.89)] {
            let rule = random(0, validation, test);
            let Err(TableError::TooFewRows { needed, .. }) = rule.split(2) else {
                panic!("accepted")
            };
            let refused = rule.split(needed - 1);
            assert!(rule.split(needed).is_ok());
            assert!(matches!(refused, Err(TableError::TooFewRows { .. })), "{refused:?}");
        }
    }

    #[test]
    fn shares_out_of_range_are_refused() {
        let message =
            |validation, test| random(0, validation, test).split(99).unwrap_err().to_string();
        assert_eq!(message(0.0, 0.1), "split: validation must be above 0 and below 1, got 0");
        assert_eq!(message(0.1, f64::NAN), "split: test must be above 0 and below 1, got NaN");
        assert_eq!(message(0.5, 0.5), "split: validation + test must be at most 0.9, got 1");
    }

    #[test]
    fn misspelt_keys_are_refused() {
        let rule: SplitRule = serde_json::from_str(r#"{"kind":"random","seed":4}"#).unwrap();
        assert_eq!(rule, random(4, 0.1, 0.1));
        assert_eq!(
            serde_json::to_string(&SplitRule::EveryTenth(EveryTenth {})).unwrap(),
            r#"{"kind":"every_tenth"}"#
        );
        for (text, says) in [
            (r#"{"kind":"random","sed":4}"#, "unknown field `sed`"),
            (r#"{"kind":"every_tenth","seed":4}"#, "unknown field `seed`"),
            (r#"{"kind":"every_ninth"}"#, "unknown variant `every_ninth`"),
        ] {
            let error = serde_json::from_str::<SplitRule>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

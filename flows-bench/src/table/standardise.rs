//! Columns of mean 0 and standard deviation 1.

use serde::{Deserialize, Serialize};

use super::{Result, Table, TableError};

/// z = (x − mean) / scale for every column, with its log-det.
///
/// For a density q of z, the density of x in the data's own units is
/// ```text
/// ln p(x) = ln q((x − mean) / scale) + log_det,    log_det = −Σⱼ ln scaleⱼ
/// ```
///
/// # Accuracy
/// Each value is rounded twice in f64, in either direction: the round trip is exact to
/// 4 · 2⁻⁵³ · (|x| + |mean|).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "Moments", into = "Moments")]
pub struct Standardiser {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Moments {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Standardiser {
    /// Means and scales that are known already, one of each for a column.
    ///
    /// # Errors
    /// [`TableError::Moments`] for different numbers of them, or none; [`TableError::Moment`] for a
    /// mean that is not finite or a scale that is not positive and finite.
    pub fn new(mean: Vec<f64>, scale: Vec<f64>) -> Result<Self> {
        if mean.is_empty() || mean.len() != scale.len() {
            return Err(TableError::Moments { means: mean.len(), scales: scale.len() });
        }
        for (column, (&mean, &scale)) in mean.iter().zip(&scale).enumerate() {
            if !(mean.is_finite() && scale.is_finite() && scale > 0.0) {
                return Err(TableError::Moment { column, mean, scale });
            }
        }
        Ok(Self { mean, scale })
    }

    /// Means and standard deviations (divided by n, not n − 1) of the `training` rows of `table`.
    ///
    /// # Errors
    /// [`TableError::Row`] for a row out of range; [`TableError::TrainingRows`] for fewer than two;
    /// [`TableError::Constant`] for a column with one value; [`TableError::Spread`] where the
    /// standard deviation leaves the range of f64.
    pub fn fit(table: &Table, training: &[usize]) -> Result<Self> {
        table.check_rows(training)?;
        if training.len() < 2 {
            return Err(TableError::TrainingRows { got: training.len() });
        }
        let mut mean = Vec::with_capacity(table.columns());
        let mut scale = Vec::with_capacity(table.columns());
        for (column, name) in table.names().iter().enumerate() {
            let values = training.iter().map(|&row| table.row(row)[column]);
            let first = table.row(training[0])[column];
            // Compared, not computed: the deviation of a constant 0.1 is not exactly zero.
            if values.clone().all(|value| value == first) {
                return Err(TableError::Constant { column, name: name.clone(), value: first });
            }
            let (middle, deviation) = moments(values);
            if !(deviation.is_finite() && deviation > 0.0) {
                return Err(TableError::Spread { column, name: name.clone(), scale: deviation });
            }
            mean.push(middle);
            scale.push(deviation);
        }
        Ok(Self { mean, scale })
    }

    /// Mean of each column, in the data's own units.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Standard deviation of each column, in the data's own units, positive.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// −Σⱼ ln scaleⱼ in nats: add it to a log-density of standardised rows.
    pub fn log_det(&self) -> f64 {
        -self.scale.iter().map(|scale| scale.ln()).sum::<f64>()
    }

    /// Standardises row-major rows `(rows, columns)` in place.
    ///
    /// # Errors
    /// [`TableError::Rows`] unless the number of values is a multiple of the number of columns.
    pub fn apply(&self, values: &mut [f64]) -> Result<()> {
        self.each(values, "standardise", |x, mean, scale| (x - mean) / scale)
    }

    /// Brings standardised rows `(rows, columns)`, row-major, back to the data's own units, in place.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn undo(&self, values: &mut [f64]) -> Result<()> {
        self.each(values, "undo standardising", |z, mean, scale| z * scale + mean)
    }

    fn each(
        &self,
        values: &mut [f64],
        op: &'static str,
        map: impl Fn(f64, f64, f64) -> f64,
    ) -> Result<()> {
        let columns = self.mean.len();
        if !values.len().is_multiple_of(columns) {
            return Err(TableError::Rows { op, columns, got: values.len() });
        }
        for row in values.chunks_exact_mut(columns) {
            for ((value, &mean), &scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *value = map(*value, mean, scale);
            }
        }
        Ok(())
    }
}

/// Mean and standard deviation in two passes; deviations are scaled so that no square overflows.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let running = |(mean, n): (f64, f64), value: f64| (mean + (value - mean) / (n + 1.0), n + 1.0);
    let (rough, n) = values.clone().fold((0.0, 0.0), running);
    // The second pass takes out what the running mean has lost to rounding.
    let mean = rough + values.clone().map(|value| value - rough).sum::<f64>() / n;
    let largest = values.clone().map(|value| (value - mean).abs()).fold(0.0, f64::max);
    let square = |value: f64| ((value - mean) / largest).powi(2);
    (mean, largest * (values.map(square).sum::<f64>() / n).sqrt())
}

impl TryFrom<Moments> for Standardiser {
    type Error = TableError;

    fn try_from(moments: Moments) -> Result<Self> {
        Self::new(moments.mean, moments.scale)
    }
}

impl From<Standardiser> for Moments {
    fn from(standardiser: Standardiser) -> Self {
        Self { mean: standardiser.mean, scale: standardiser.scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: usize, values: &[f64]) -> Table {
        Table::new(Vec::new(), columns, values.to_vec()).unwrap()
    }

    #[test]
    fn training_rows_get_mean_zero_and_deviation_one() {
        let data = table(2, &[1.0, 1e9, 2.0, 1e9 + 1.0, 3.0, 1e9 + 2.0, 99.0, 0.0]);
        let standardiser = Standardiser::fit(&data, &[0, 1, 2]).unwrap();
        let deviation = f64::sqrt(2.0 / 3.0);
        assert_eq!(standardiser.mean(), [2.0, 1e9 + 1.0]);
        for scale in standardiser.scale() {
            assert!((scale - deviation).abs() < 4.0 * f64::EPSILON, "{scale}");
        }
        assert!((standardiser.log_det() + 2.0 * deviation.ln()).abs() < 1e-14);
        let mut values = data.values().to_vec();
        standardiser.apply(&mut values).unwrap();
        assert!(values[2].abs() < 1e-15 && (values[4] - 1.0 / deviation).abs() < 1e-14);
        standardiser.undo(&mut values).unwrap();
        for (back, (value, mean)) in
            values.iter().zip(data.values().iter().zip([2.0_f64, 1e9 + 1.0].iter().cycle()))
        {
            let bound = 2.0 * f64::EPSILON * (value.abs() + mean.abs());
            assert!((back - value).abs() <= bound, "{back} {value}");
        }
    }

    #[test]
    fn a_constant_column_is_named() {
        let data = table(2, &[1.0, 0.1, 2.0, 0.1, 3.0, 0.1, 4.0, 7.0]);
        let error = Standardiser::fit(&data, &[0, 1, 2]).unwrap_err().to_string();
        let expected = "column \"x1\" (index 1): expected values that vary, got 0.1 in every \
                        training row; remove the column";
        assert_eq!(error, expected);
    }

    #[test]
    fn extreme_values_neither_overflow_nor_vanish() {
        let data = table(2, &[1e300, 1e-300, -1e300, 3e-300]);
        let standardiser = Standardiser::fit(&data, &[0, 1]).unwrap();
        assert_eq!(standardiser.mean()[0], 0.0);
        assert!((standardiser.scale()[0] / 1e300 - 1.0).abs() < 1e-15);
        assert!((standardiser.scale()[1] / 1e-300 - 1.0).abs() < 1e-15);
        let error = Standardiser::fit(&table(1, &[f64::MAX, f64::MIN]), &[0, 1]).unwrap_err();
        assert!(
            error.to_string().contains("expected a positive, finite standard deviation"),
            "{error}"
        );
    }

    #[test]
    fn slices_and_rows_that_do_not_fit_are_refused() {
        let data = table(2, &[1.0, 2.0, 3.0, 4.0]);
        let standardiser = Standardiser::fit(&data, &[0, 1]).unwrap();
        let error = standardiser.apply(&mut [1.0; 3]).unwrap_err().to_string();
        let expected = "standardise: expected a multiple of 2 values (rows of 2 columns), got 3";
        assert_eq!(error, expected);
        assert!(matches!(
            Standardiser::fit(&data, &[0, 2]),
            Err(TableError::Row { row: 2, rows: 2 })
        ));
        assert!(matches!(Standardiser::fit(&data, &[0]), Err(TableError::TrainingRows { got: 1 })));
    }

    #[test]
    fn impossible_moments_are_refused() {
        let message = |mean: &[f64], scale: &[f64]| {
            Standardiser::new(mean.to_vec(), scale.to_vec()).unwrap_err().to_string()
        };
        let expected = "standardiser: expected as many means as scales, at least one, got 1 and 2";
        assert_eq!(message(&[0.0], &[1.0, 1.0]), expected);
        assert!(message(&[], &[]).ends_with("got 0 and 0"));
        let expected = "standardiser: expected a finite mean and a positive, finite scale, \
                        got 0 and -1 (column 1)";
        assert_eq!(message(&[0.0, 0.0], &[1.0, -1.0]), expected);
        let error = Standardiser::fit(&table(1, &[1.0, 2.0]), &[0]).unwrap_err().to_string();
        let expected = "standardiser: expected at least 2 training rows, got 1; add rows";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_stored_standardiser_is_checked() {
        let standardiser = Standardiser::new(vec![0.1], vec![2.0]).unwrap();
        let text = serde_json::to_string(&standardiser).unwrap();
        assert_eq!(text, r#"{"mean":[0.1],"scale":[2.0]}"#);
        assert_eq!(serde_json::from_str::<Standardiser>(&text).unwrap(), standardiser);
        for (text, says) in [
            (r#"{"mean":[0.1],"scale":[2.0],"x":1}"#, "`x`"),
            (r#"{"mean":[0.1],"scale":[]}"#, "scale"),
            (r#"{"mean":[0.1],"scale":[0.0]}"#, "scale"),
        ] {
            let error = serde_json::from_str::<Standardiser>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

//! Sample means with their standard errors.

/// A mean with its standard error.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Standard deviation over the square root of the number of values; NaN, which is unknown, for
    /// a single value.
    pub standard_error: f64,
}

impl Estimate {
    /// The mean of values with the standard error of independent draws, s / sqrt(n) with
    /// s^2 = sum (v - mean)^2 / (n - 1).
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let count = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / count;
        let variance = values.map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { mean, standard_error: (variance / count).sqrt() }
    }

    /// The mean over test rows: of one or two rows the error is unknown, because so few do not tell how
    /// much rows differ.
    pub fn of_rows(values: impl Iterator<Item = f64> + Clone) -> Self {
        const FEWEST: usize = 3;
        let count = values.clone().count();
        let known = Self::of(values);
        if count < FEWEST { Self { standard_error: f64::NAN, ..known } } else { known }
    }

    /// The standard error, where it is known: a single value has none.
    #[must_use]
    pub fn known_error(&self) -> Option<f64> {
        Some(self.standard_error).filter(|error| error.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_value_has_no_known_error() {
        let one = Estimate::of([3.0].into_iter());
        assert_eq!((one.mean, one.known_error()), (3.0, None));
        let two = Estimate::of([3.0, 5.0].into_iter());
        assert_eq!((two.mean, two.known_error()), (4.0, Some(1.0)));
        let rows = Estimate::of_rows([3.0, 5.0].into_iter());
        assert_eq!((rows.mean, rows.known_error()), (4.0, None));
        assert!(Estimate::of_rows([3.0, 5.0, 7.0].into_iter()).known_error().is_some());
    }
}

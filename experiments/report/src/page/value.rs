//! A number with its standard error, and means over seeds.

/// A value and its standard error: 0 for what is exact, none where it is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) value: f64,
    pub(super) error: Option<f64>,
}

/// Seeds from which a spread is taken at its word: with two, it is too small by chance too often.
pub(super) const SEEDS_FOR_SPREAD: usize = 3;

impl Value {
    /// `value` if it is known and finite.
    pub(super) fn new(value: Option<f64>, error: Option<f64>) -> Option<Self> {
        let finite = |number: &f64| number.is_finite();
        Some(Self { value: value.filter(finite)?, error: error.filter(finite) })
    }

    /// Mean of one estimate for each seed.
    ///
    /// Its error is the standard error over seeds; with one seed that seed's own error, with two the
    /// larger of both. It is not known where that of a seed is not.
    pub(super) fn over_seeds(seeds: &[Self]) -> Option<Self> {
        let n = seeds.len() as f64;
        let value = mean(seeds.iter().map(|seed| seed.value))?;
        let squares = seeds.iter().map(|seed| (seed.value - value).powi(2)).sum::<f64>();
        let spread = (squares / (n - 1.0) / n).sqrt();
        let own: Option<Vec<f64>> = seeds.iter().map(|seed| seed.error).collect();
        let own = own.and_then(|errors| mean(errors.into_iter()));
        let error = own.map(|own| match seeds.len() {
            1 => own,
            count if count < SEEDS_FOR_SPREAD => own.max(spread),
            _ => spread,
        });
        Some(Self { value, error })
    }

    /// `self` less `other`, of which it is independent.
    pub(super) fn less(&self, other: &Self) -> Self {
        let error = self.error.zip(other.error).map(|(a, b)| a.hypot(b));
        Self { value: self.value - other.value, error }
    }

    /// A difference over its standard error; infinite where it is exact and not zero, unknown where
    /// its error is.
    pub(super) fn in_errors(&self) -> Option<f64> {
        let error = self.error?;
        Some(if self.value == 0.0 { 0.0 } else { self.value / error })
    }

    /// Whether a difference is above zero by more than two standard errors; unknown where its error
    /// is.
    pub(super) fn clearly_positive(&self) -> Option<bool> {
        Some(self.value > 2.0 * self.error?)
    }
}

/// Mean, unless there is nothing to average.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, error: f64) -> Value {
        Value { value, error: Some(error) }
    }

    #[test]
    fn one_seed_keeps_its_own_error() {
        assert_eq!(Value::over_seeds(&[estimate(1.0, 0.1)]), Some(estimate(1.0, 0.1)));
        assert_eq!(Value::over_seeds(&[]), None);
    }

    #[test]
    fn the_error_of_two_seeds_is_never_below_their_own() {
        let close = Value::over_seeds(&[estimate(1.0, 0.1), estimate(1.02, 0.3)]).unwrap();
        assert_eq!(close.error, Some(0.2));
        let apart = Value::over_seeds(&[estimate(1.0, 0.1), estimate(3.0, 0.1)]).unwrap();
        assert_eq!(apart, estimate(2.0, 1.0));
    }

    #[test]
    fn the_error_of_three_seeds_is_their_spread() {
        let seeds = [estimate(1.0, 9.0), estimate(2.0, 9.0), estimate(3.0, 9.0)];
        let error = Value::over_seeds(&seeds).unwrap().error.unwrap();
        assert!((error - 1.0 / 3f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn above_needs_two_combined_errors() {
        let above = |value: f64| estimate(value, 0.4).less(&estimate(1.0, 0.3)).clearly_positive();
        assert_eq!([above(2.01), above(1.99)], [Some(true), Some(false)]);
        let unknown = Value { value: 9.0, error: None };
        assert_eq!(unknown.less(&estimate(1.0, 0.3)).clearly_positive(), None);
        assert_eq!(unknown.in_errors(), None);
        assert_eq!(estimate(-3.0, 1.5).in_errors(), Some(-2.0));
        // What repeats exactly has neither a difference nor an error.
        assert_eq!(estimate(0.0, 0.0).in_errors(), Some(0.0));
        assert_eq!(estimate(1e-9, 0.0).in_errors(), Some(f64::INFINITY));
        // The error of a mean is not known where that of a seed is not, however many there are.
        let seeds = [unknown, estimate(1.0, 0.1), estimate(2.0, 0.1)];
        assert_eq!(Value::over_seeds(&seeds), Some(Value { value: 4.0, error: None }));
    }
}

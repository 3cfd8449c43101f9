//! A number with its standard error, and means over seeds.

/// A value and its standard error, where one is known.
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
    /// larger of both.
    pub(super) fn over_seeds(seeds: &[Self]) -> Option<Self> {
        let n = seeds.len() as f64;
        let value = mean(seeds.iter().map(|seed| seed.value))?;
        let squares = seeds.iter().map(|seed| (seed.value - value).powi(2)).sum::<f64>();
        let spread = (squares / (n - 1.0) / n).sqrt();
        let own = mean(seeds.iter().filter_map(|seed| seed.error));
        let error = match seeds.len() {
            1 => own,
            count if count < SEEDS_FOR_SPREAD => Some(own.unwrap_or(0.0).max(spread)),
            _ => Some(spread),
        };
        Some(Self { value, error })
    }

    /// Whether `self` is lower than `other` by more than two standard errors of the difference.
    pub(super) fn clearly_below(&self, other: &Self) -> bool {
        match (self.error, other.error) {
            (Some(a), Some(b)) => other.value - self.value > 2.0 * a.hypot(b),
            _ => false,
        }
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
    fn below_needs_two_combined_errors() {
        assert!(estimate(1.0, 0.3).clearly_below(&estimate(2.01, 0.4)));
        assert!(!estimate(1.0, 0.3).clearly_below(&estimate(1.99, 0.4)));
        let unknown = Value { value: 9.0, error: None };
        assert!(!estimate(1.0, 0.3).clearly_below(&unknown));
    }
}

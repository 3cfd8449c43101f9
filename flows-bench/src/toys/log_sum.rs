//! Log-sum-exp, one term at a time.

/// Running log-sum-exp ln Σ exp(tᵢ), without overflow or underflow.
///
/// Terms may be −∞ (an empty sum is −∞); +∞ is not expected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogSum {
    max: f64,
    scaled: f64,
}

impl LogSum {
    /// The empty sum.
    pub(crate) fn new() -> Self {
        Self { max: f64::NEG_INFINITY, scaled: 0.0 }
    }

    /// Adds exp(`term`) to the sum.
    pub(crate) fn push(&mut self, term: f64) {
        if term > self.max {
            self.scaled = self.scaled * (self.max - term).exp() + 1.0;
            self.max = term;
        } else if term > f64::NEG_INFINITY {
            self.scaled += (term - self.max).exp();
        }
    }

    /// ln Σ exp(tᵢ).
    pub(crate) fn value(self) -> f64 {
        self.max + self.scaled.ln()
    }
}

impl FromIterator<f64> for LogSum {
    fn from_iter<I: IntoIterator<Item = f64>>(terms: I) -> Self {
        let mut sum = Self::new();
        for term in terms {
            sum.push(term);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::LogSum;

    #[test]
    fn terms_beyond_the_range_of_exp_are_added_in_any_order() {
        let up: LogSum = [-2000.0, -1000.0, -1000.0].into_iter().collect();
        let down: LogSum = [-1000.0, -1000.0, -2000.0].into_iter().collect();
        // One rounding of a number near 1000.
        let tolerance = 1000.0 * f64::EPSILON;
        assert!((up.value() - (2f64.ln() - 1000.0)).abs() <= tolerance);
        assert!((down.value() - up.value()).abs() <= tolerance);
    }

    #[test]
    fn nothing_but_zero_mass_sums_to_minus_infinity() {
        let none: LogSum = [f64::NEG_INFINITY; 3].into_iter().collect();
        assert_eq!(none.value(), f64::NEG_INFINITY);
        assert_eq!(LogSum::new().value(), f64::NEG_INFINITY);
    }
}

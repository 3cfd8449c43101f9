//! The rounding that the values of a column have been given with.

/// Values that are looked at.
const MOST_VALUES: usize = 300;

/// Rounding of a column: to f32 or f64, to a last decimal, and to a number of digits.
pub(super) struct Precision {
    /// Machine epsilon of f32 where every value is one, else of f64.
    epsilon: f64,
    /// The last decimal of any value: 0.01 for 3.25 and 0.5.
    last: f64,
    /// Significant digits of the longest value.
    digits: i32,
}

impl Precision {
    pub(super) fn of(values: impl ExactSizeIterator<Item = f64> + Clone) -> Self {
        // Spread, not the first: sorted values would begin with the tail.
        let every = values.len().div_ceil(MOST_VALUES).max(1);
        let values = values.step_by(every);
        let single = values.clone().all(|value| f64::from(value as f32) == value);
        let written = |value: f64| match single {
            true => format!("{:e}", value as f32),
            false => format!("{value:e}"),
        };
        let (mut digits, mut last) = (1, i32::MAX);
        for value in values.filter(|&value| value != 0.0) {
            let text = written(value);
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let length = mantissa.bytes().filter(u8::is_ascii_digit).count();
            let length = i32::try_from(length).unwrap_or(17);
            let exponent = exponent.parse().unwrap_or(0);
            digits = digits.max(length);
            last = last.min(exponent + 1 - length);
        }
        let epsilon = if single { f64::from(f32::EPSILON) } else { f64::EPSILON };
        let last = if last == i32::MAX { 0.0 } else { f64::powi(10.0, last) };
        Self { epsilon, last, digits }
    }

    /// Whether the last decimal is fine against the deviation of the column.
    pub(super) fn is_fine(&self, deviation: f64) -> bool {
        self.last * 50.0 <= deviation
    }

    /// Half a unit of the last place of `value`.
    pub(super) fn rounding(&self, value: f64) -> f64 {
        let exponent = value.abs().log10().floor().max(-300.0) as i32;
        let significant = f64::powi(10.0, exponent + 1 - self.digits);
        self.last.max(significant).max(self.epsilon * value.abs()) / 2.0
    }
}

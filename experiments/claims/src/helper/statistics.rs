//! Summary statistics: moments with their standard errors, slopes, largest differences. A value that is
//! not a number makes the result not a number.

/// Mean and variance of independent draws, with the standard error of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    pub(crate) mean: f64,
    pub(crate) mean_error: f64,
    pub(crate) variance: f64,
    pub(crate) variance_error: f64,
}

impl Moments {
    /// The error of the variance is that of a mean of squares, from the fourth moment.
    pub(crate) fn of(draws: &[f64]) -> Self {
        let count = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / count;
        let power = |p: i32| draws.iter().map(|d| (d - mean).powi(p)).sum::<f64>() / count;
        let (square, fourth) = (power(2), power(4));
        Self {
            mean,
            mean_error: (square / (count - 1.0).max(1.0)).sqrt(),
            variance: square * count / (count - 1.0).max(1.0),
            variance_error: ((fourth - square * square).max(0.0) / count).sqrt(),
        }
    }

    /// How many standard errors the mean is from `expected`; rounding counts as none.
    pub(crate) fn score(&self, expected: f64) -> f64 {
        (self.mean - expected).abs() / (self.mean_error + 1e-13 * (1.0 + expected.abs()))
    }

    /// How many standard errors the variance is from `expected`.
    pub(crate) fn variance_score(&self, expected: f64) -> f64 {
        (self.variance - expected).abs() / (self.variance_error + 1e-13 * (1.0 + expected))
    }
}

/// The mean with its standard error.
pub(crate) fn mean(values: &[f64]) -> (f64, f64) {
    let Moments { mean, mean_error, .. } = Moments::of(values);
    (mean, mean_error)
}

/// Slope of the least-squares line through points x, y.
pub(crate) fn slope(points: &[[f64; 2]]) -> f64 {
    let count = points.len() as f64;
    let mean = |axis: usize| points.iter().map(|p| p[axis]).sum::<f64>() / count;
    let (x, y) = (mean(0), mean(1));
    let along: f64 = points.iter().map(|p| (p[0] - x) * (p[1] - y)).sum();
    along / points.iter().map(|p| (p[0] - x).powi(2)).sum::<f64>()
}

/// Slope of ln y over ln x: the exponent of a power law.
pub(crate) fn exponent(points: &[[f64; 2]]) -> f64 {
    slope(&points.iter().map(|p| p.map(f64::ln)).collect::<Vec<_>>())
}

/// y = factor x^exponent, fitted by least squares of logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PowerLaw {
    pub(crate) factor: f64,
    pub(crate) exponent: f64,
    /// From the scatter about the line; not a number for fewer than three points.
    pub(crate) standard_error: f64,
}

impl PowerLaw {
    pub(crate) fn of(points: &[[f64; 2]]) -> Self {
        let count = points.len() as f64;
        let exponent = exponent(points);
        let mean = |axis: usize| points.iter().map(|p| p[axis].ln()).sum::<f64>() / count;
        let (x, y) = (mean(0), mean(1));
        let off = |p: &[f64; 2]| p[1].ln() - y - exponent * (p[0].ln() - x);
        let scatter = points.iter().map(|p| off(p).powi(2)).sum::<f64>() / (count - 2.0);
        let spread = points.iter().map(|p| (p[0].ln() - x).powi(2)).sum::<f64>();
        let standard_error = if points.len() < 3 { f64::NAN } else { (scatter / spread).sqrt() };
        Self { factor: (y - exponent * x).exp(), exponent, standard_error }
    }

    pub(crate) fn at(&self, x: f64) -> f64 {
        self.factor * x.powf(self.exponent)
    }
}

/// The larger of two, where NaN counts as the largest; [`f64::max`] would lose it.
pub(crate) fn larger(worst: f64, next: f64) -> f64 {
    if next > worst || next.is_nan() { next } else { worst }
}

/// The largest of numbers that are not negative.
pub(crate) fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, larger)
}

/// The largest difference of two lists.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    largest(a.iter().zip(b).map(|(a, b)| (a - b).abs()))
}

/// Euclidean distance of each row of `a` from that of `b`.
pub(crate) fn distances(a: &[f64], b: &[f64], dim: usize) -> Vec<f64> {
    let row = |(a, b): (&[f64], &[f64])| {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    a.chunks(dim).zip(b.chunks(dim)).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_a_number_is_the_largest() {
        assert!(largest([0.5, f64::NAN, 1.0]).is_nan());
        assert_eq!(distance(&[1.0, 2.0], &[0.5, 2.25]), 0.5);
    }

    #[test]
    fn a_power_law_has_its_exponent() {
        assert!((exponent(&[[1.0, 3.0], [2.0, 12.0], [4.0, 48.0]]) - 2.0).abs() < 1e-12);
        assert_eq!(mean(&[1.0, 3.0]), (2.0, 1.0));
    }

    #[test]
    fn a_fitted_power_law_has_the_error_of_its_slope() {
        let exact = PowerLaw::of(&[[1.0, 3.0], [2.0, 12.0], [4.0, 48.0]]);
        assert!((exact.at(3.0) - 27.0).abs() < 1e-12 && exact.standard_error < 1e-12);
        // Logarithms -1, 0, 1 with 1, -2, 1 about the line: sqrt(6 / (3 - 2) / 2).
        let e = std::f64::consts::E;
        let off = PowerLaw::of(&[[1.0 / e, e], [1.0, 1.0 / (e * e)], [e, e]]);
        assert!(off.exponent.abs() < 1e-12 && (off.standard_error - 3.0_f64.sqrt()).abs() < 1e-12);
        assert!(PowerLaw::of(&[[1.0, 3.0], [2.0, 12.0]]).standard_error.is_nan());
    }
}

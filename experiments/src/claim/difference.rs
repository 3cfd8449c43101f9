//! Largest differences, in which a NaN is not lost.

/// The largest difference of two lists.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, larger)
}

/// The larger of two, where NaN counts as the largest; [`f64::max`] would lose it.
pub(crate) fn larger(worst: f64, next: f64) -> f64 {
    if next > worst || next.is_nan() { next } else { worst }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_a_number_is_the_largest() {
        assert!(larger(f64::NAN, 1.0).is_nan() && larger(1.0, f64::NAN).is_nan());
        assert_eq!(distance(&[1.0, 2.0], &[0.5, 2.25]), 0.5);
    }
}

//! Means that a few rows make.

/// Rows that are looked at.
const FEW: usize = 3;

/// Share of the variance above which they make the mean. Where log-densities have exponential tails, as
/// those of a normal, the three largest of a hundred squared deviations hold a third, and of more rows
/// less.
const MOST: f64 = 0.5;

/// Fewest rows that a few of them can be told from.
const LEAST_ROWS: usize = 100;

/// The rows of largest deviation from the mean, largest first, and their share of the sum of squares,
/// where it is more than half: the standard error of such a mean says little.
pub(super) fn that_make_the_mean(values: &[f64]) -> Option<([usize; FEW], f64)> {
    if values.len() < LEAST_ROWS {
        return None;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square = |row: usize| (values[row] - mean).powi(2);
    let all: f64 = (0..values.len()).map(square).sum();
    let mut rows: Vec<usize> = (0..values.len()).collect();
    rows.select_nth_unstable_by(FEW, |&a, &b| square(b).total_cmp(&square(a)));
    let mut few = [rows[0], rows[1], rows[2]];
    few.sort_by(|&a, &b| square(b).total_cmp(&square(a)));
    let share = few.iter().map(|&row| square(row)).sum::<f64>() / all;
    (share > MOST).then_some((few, share))
}

#[cfg(test)]
mod tests {
    use super::that_make_the_mean;

    #[test]
    fn rows_far_from_the_others_make_the_mean_and_exponential_tails_do_not() {
        // Quantiles of the exponential distribution, in another order.
        let exponential = |n: usize| -> Vec<f64> {
            (0..n).map(|i| -((((7 * i) % n) as f64 + 0.5) / n as f64).ln()).collect()
        };
        assert_eq!(that_make_the_mean(&exponential(101)), None);
        assert_eq!(that_make_the_mean(&[0.0, 9.0, 0.0]), None, "few rows say nothing");
        let mut values = exponential(1_001);
        assert_eq!(that_make_the_mean(&values), None);
        (values[5], values[900], values[70]) = (40.0, -60.0, 50.0);
        let (rows, share) = that_make_the_mean(&values).unwrap();
        assert_eq!(rows, [900, 70, 5]);
        // 40^2 + 50^2 + 60^2 less their products with the mean, to about 1,000 of the others.
        assert!((0.87..0.9).contains(&share), "{share}");
        assert_eq!(that_make_the_mean(&[1.5; 200]), None, "no deviation");
    }
}

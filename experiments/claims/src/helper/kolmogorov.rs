//! The exact test of uniformity by Kolmogorov and Smirnov.

use nalgebra::DMatrix;

/// Chance that as many independent uniform numbers have a larger statistic than `values`.
pub(crate) fn p_value(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let gap = |(i, v): (usize, &f64)| (v - i as f64 / count).max((i + 1) as f64 / count - v);
    let statistic = values.iter().enumerate().map(gap).fold(0.0, f64::max);
    1.0 - distribution(values.len(), statistic)
}

/// Pr(D_n < d): an entry of the n-th power of a matrix of 2 k - 1 rows, k = floor(n d) + 1.
///
/// # Reference
/// Marsaglia, Tsang, Wang, *Evaluating Kolmogorov's distribution*, J. Stat. Softw. 8(18), 2003.
fn distribution(count: usize, statistic: f64) -> f64 {
    let n = count as f64;
    if n * statistic.powi(2) > 18.0 {
        // What is left is 2 exp(-36) at most.
        return 1.0;
    }
    let k = (n * statistic) as usize + 1;
    let (m, h) = (2 * k - 1, k as f64 - n * statistic);
    let mut matrix = DMatrix::from_fn(m, m, |i, j| if i + 1 >= j { 1.0 } else { 0.0 });
    for i in 0..m {
        matrix[(i, 0)] -= h.powi(i as i32 + 1);
        matrix[(m - 1, i)] -= h.powi((m - i) as i32);
    }
    matrix[(m - 1, 0)] += (2.0 * h - 1.0).max(0.0).powi(m as i32);
    for i in 0..m {
        for j in 0..=i {
            matrix[(i, j)] /= (1..=i + 1 - j).map(|g| g as f64).product::<f64>();
        }
    }
    // The power, its logarithm of a common factor kept apart, times n! / n^n.
    let (mut power, mut scale) = (DMatrix::identity(m, m), 0.0);
    let (mut square, mut square_scale, mut rest) = (matrix, 0.0, count);
    while rest > 0 {
        if rest % 2 == 1 {
            power = &power * &square;
            scale += square_scale + normalise(&mut power);
        }
        square = &square * &square;
        square_scale = 2.0 * square_scale + normalise(&mut square);
        rest /= 2;
    }
    let factorial: f64 = (1..=count).map(|i| (i as f64 / n).ln()).sum();
    power[(k - 1, k - 1)] * (scale + factorial).exp()
}

/// Divides by the largest entry and returns its logarithm.
fn normalise(matrix: &mut DMatrix<f64>) -> f64 {
    let largest = matrix.amax();
    *matrix /= largest;
    largest.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_has_the_published_values() {
        // Marsaglia, Tsang and Wang: Pr(D_10 < 0.274) = 0.6284796154565; critical values at 1e-3
        // of large samples are 1.9495 / sqrt(n).
        assert!((distribution(10, 0.274) - 0.628_479_615_456_504_2).abs() < 1e-12);
        assert!((distribution(10_000, 0.019_495) - 0.999).abs() < 1e-4);
    }
}

//! Which pairs of features to show of a table, and at which limits.

use crate::record::Matrix;

/// Rows that correlations and limits are computed from.
const ROWS: usize = 5000;

/// At most `count` pairs of features, the most correlated first; no feature twice while others are left.
pub(crate) fn choose(data: &Matrix, count: usize) -> Vec<[usize; 2]> {
    let mut ranked: Vec<([usize; 2], f64)> = (0..data.columns)
        .flat_map(|j| (0..j).map(move |i| [i, j]))
        .map(|pair| (pair, correlation(data, pair).abs()))
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut chosen: Vec<[usize; 2]> = Vec::new();
    for fresh_only in [true, false] {
        for (pair, _) in &ranked {
            let used = |feature| chosen.iter().flatten().any(|other| *other == feature);
            let fresh = !used(pair[0]) && !used(pair[1]);
            if chosen.len() < count && !chosen.contains(pair) && (fresh || !fresh_only) {
                chosen.push(*pair);
            }
        }
    }
    chosen
}

/// Pearson's correlation of two features, zero where it is not defined.
pub(crate) fn correlation(data: &Matrix, [i, j]: [usize; 2]) -> f64 {
    let rows: Vec<(f64, f64)> = data
        .column(i)
        .zip(data.column(j))
        .take(ROWS)
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let n = rows.len() as f64;
    let (x_mean, y_mean) =
        (rows.iter().map(|r| r.0).sum::<f64>() / n, rows.iter().map(|r| r.1).sum::<f64>() / n);
    let moment =
        |f: fn(f64, f64) -> f64| rows.iter().map(|(x, y)| f(x - x_mean, y - y_mean)).sum::<f64>();
    let scale = (moment(|x, _| x * x) * moment(|_, y| y * y)).sqrt();
    if scale > 0.0 { moment(|x, y| x * y) / scale } else { 0.0 }
}

/// Limits of a feature's axis: its central 99 % and a tenth of that on either side.
pub(crate) fn limits(data: &Matrix, column: usize) -> [f64; 2] {
    let mut values: Vec<f64> =
        data.column(column).take(ROWS).filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else {
        return [-1.0, 1.0];
    };
    let quantile = |p: f64| values[(p * last as f64).round() as usize];
    let (low, high) = (quantile(0.005), quantile(0.995));
    let room = if high > low { 0.1 * (high - low) } else { 0.5 };
    [low - room, high + room]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlated_features_come_first_and_are_not_repeated() {
        let rows = 50;
        let values = (0..rows).flat_map(|i| {
            let (t, s) = (f64::from(i), f64::from((i * 37) % 50));
            [t, s, -2.0 * t, s + 0.1 * t]
        });
        let data = Matrix { rows: rows as usize, columns: 4, values: values.collect() };
        assert_eq!(choose(&data, 2), [[0, 2], [1, 3]]);
        assert_eq!(choose(&data, 3).len(), 3);
        assert!((correlation(&data, [0, 2]) + 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_constant_feature_has_limits_and_no_correlation() {
        let data = Matrix { rows: 3, columns: 2, values: vec![1., 7., 2., 7., 3., 7.] };
        assert_eq!(correlation(&data, [0, 1]), 0.0);
        assert_eq!(limits(&data, 1), [6.5, 7.5]);
    }
}

//! Maxima, means and slopes of measured numbers; what is not a number stays visible.

/// The largest of the values, NaN if one of them is.
pub(super) fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    // `max` would lose NaN.
    values.into_iter().fold(0.0, |worst, value| if value <= worst { worst } else { value })
}

/// The largest distance of two lists of numbers.
pub(super) fn distance(left: &[f64], right: &[f64]) -> f64 {
    largest(left.iter().zip(right).map(|(a, b)| (a - b).abs()))
}

/// The mean with its standard error.
pub(super) fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
}

/// Slope of the least-squares line through the logarithms of x and y.
pub(super) fn log_slope(points: &[[f64; 2]]) -> f64 {
    let count = points.len() as f64;
    let logs = || points.iter().map(|[x, y]| [x.ln(), y.ln()]);
    let [mx, my] = [0, 1].map(|i| logs().map(|p| p[i]).sum::<f64>() / count);
    let above: f64 = logs().map(|[x, y]| (x - mx) * (y - my)).sum();
    above / logs().map(|[x, _]| (x - mx).powi(2)).sum::<f64>()
}

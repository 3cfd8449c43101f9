//! Gradients by central differences.

/// Step of central differences: its square and rounding / step are both about 1e-10.
pub const STEP: f64 = 1e-5;

/// Gradient of a scalar function by central differences of step [`STEP`]: the error is
/// STEP^2 / 6 times the third derivative, and rounding of the function / STEP.
pub fn differences(point: &[f64], mut function: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let mut at = |index: usize, step: f64| {
        let mut moved = point.to_vec();
        moved[index] += step;
        function(&moved)
    };
    (0..point.len()).map(|i| (at(i, STEP) - at(i, -STEP)) / (2.0 * STEP)).collect()
}

//! Log-sum-exp of two terms, with the softmax weights.

/// log(e^a + e^b) and the softmax weight e^a / (e^a + e^b), which is the derivative by a.
///
/// Both may be any finite numbers; the weight rounds to 0 or 1 if they are far apart.
pub(crate) fn log_sum_exp(a: f64, b: f64) -> (f64, f64) {
    let weight = 1.0 / (1.0 + (b - a).exp());
    (a.max(b) + (-(a - b).abs()).exp().ln_1p(), weight)
}

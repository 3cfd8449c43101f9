//! The logarithm of a sum of two exponentials, and whose share it is.

/// log(e^a + e^b) and the share e^a / (e^a + e^b), by whose complement it is differentiated for b.
///
/// Both may be any finite numbers; the share rounds to 0 or 1 where they are far apart.
pub(super) fn log_add(a: f64, b: f64) -> (f64, f64) {
    let share = 1.0 / (1.0 + (b - a).exp());
    (a.max(b) + (-(a - b).abs()).exp().ln_1p(), share)
}

//! A check for overflow.

use flows_core::{Error, Real, Result};

/// # Errors
/// [`Error::NonFinite`] with the first lane whose value or log-slope is not finite.
pub(super) fn check_finite<E: Real>(
    quantity: &'static str,
    values: &[E],
    log_slopes: &[E],
) -> Result<()> {
    let finite = |(value, log_slope): (&E, &E)| value.is_finite() && log_slope.is_finite();
    match values.iter().zip(log_slopes).position(|pair| !finite(pair)) {
        None => Ok(()),
        Some(row) => {
            let advice = "check the data for outliers, put act-norm or bounded tails around the \
                          layer, or use f64";
            Err(Error::NonFinite { quantity, row, advice })
        }
    }
}

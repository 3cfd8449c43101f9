//! The standard normal distribution of the line in double precision.

/// Its density.
pub(crate) fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

/// Its distribution function, 1/2 + phi(x) (x + x^3/3 + x^5/(3 5) + ..), exact to some 1e-16.
///
/// # Reference
/// Marsaglia, *Evaluating the normal distribution*, J. Stat. Softw. 11(4), 2004.
pub(crate) fn cdf(x: f64) -> f64 {
    if x.abs() > 9.0 {
        // Below 1e-18 from the limit.
        return if x < 0.0 { 0.0 } else { 1.0 };
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    loop {
        odd += 2.0;
        term *= x * x / odd;
        let next = sum + term;
        // NaN ends the series too.
        if next == sum || next.is_nan() {
            return 0.5 + density(x) * next;
        }
        sum = next;
    }
}

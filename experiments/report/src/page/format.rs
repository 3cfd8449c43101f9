//! Numbers as text.

use super::value::Value;
use crate::figure;

/// Shown where a number is not known.
pub(super) const UNKNOWN: &str = "–";

/// `0.0123 ± 0.0004` or `411 000 ± 60 000`: the error to one digit, or two if the first is 1, and the
/// value as far. An exact value has no error behind it, an error that is not known is `unknown`.
pub(super) fn estimate(estimate: Value) -> String {
    match estimate.error {
        Some(error) if error >= 100.0 => {
            let power = error.log10().floor() as i32;
            let digits = if error < 2.0 * 10f64.powi(power) { 2 } else { 1 };
            let unit = 10f64.powi(power + 1 - digits);
            let rounded = |value: f64| count((value / unit).round() * unit);
            format!("{} ± {}", rounded(estimate.value), rounded(error))
        }
        Some(error) if error > 0.0 => {
            let decimals = error_decimals(error);
            format!("{} ± {error:.decimals$}", fixed(estimate.value, decimals))
        }
        Some(_) => number(estimate.value),
        None => format!("{} ± unknown", number(estimate.value)),
    }
}

/// Decimals that show an error to one digit, or to two if the first is 1.
fn error_decimals(error: f64) -> usize {
    const MOST: i32 = 9;
    let exponent = error.log10().floor() as i32;
    // Rounded to two digits, 0.0196 begins with a 2 and 0.0999 with a 1.
    let leading = (error / 10f64.powi(exponent - 1)).round();
    let digits = if (10.0..20.0).contains(&leading) { 2 } else { 1 };
    let exponent = exponent + i32::from(leading >= 95.0);
    let digits = if leading >= 95.0 { 2 } else { digits };
    (digits - 1 - exponent).clamp(0, MOST) as usize
}

/// Four significant digits.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if !size.is_finite() {
        value.to_string()
    } else if (1e-3..1e6).contains(&size) {
        let decimals = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
        fixed(value, decimals)
    } else {
        figure::scientific(value)
    }
}

/// At most four significant digits, without trailing zeros.
pub(super) fn short(value: f64) -> String {
    let text = number(value);
    match text.contains('.') && !text.contains('×') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// An error or a tolerance: two digits and a power of ten.
pub(super) fn small(value: f64) -> String {
    if value == 0.0 { "0".into() } else { figure::scientific(value) }
}

/// A difference: with its sign, and its error.
pub(super) fn difference(difference: Value) -> String {
    let sign = if difference.value > 0.0 { "+" } else { "" };
    format!("{sign}{}", estimate(difference))
}

/// A whole number with its digits in groups of three.
pub(super) fn count(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    if value < 0.0 { format!("\u{2212}{grouped}") } else { grouped }
}

/// A rate to three significant digits, in groups of three.
pub(super) fn rate(value: f64) -> String {
    if !(value.is_finite() && value >= 100.0) {
        return number(value);
    }
    let unit = 10f64.powi(value.log10().floor() as i32 - 2);
    count((value / unit).round() * unit)
}

/// Two decimals.
pub(super) fn hundredths(value: f64) -> String {
    fixed(value, 2)
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let zero = text.trim_start_matches('-').chars().all(|c| matches!(c, '0' | '.'));
    if zero { text.trim_start_matches('-').to_owned() } else { text.replace('-', "\u{2212}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_error(value: f64, error: f64) -> String {
        estimate(Value { value, error: Some(error) })
    }

    #[test]
    fn the_error_sets_the_digits() {
        assert_eq!(with_error(0.012_34, 0.000_41), "0.0123 ± 0.0004");
        assert_eq!(with_error(0.012_341, 0.000_123), "0.01234 ± 0.00012");
        assert_eq!(with_error(-3.456, 0.0961), "\u{2212}3.46 ± 0.10");
        assert_eq!(with_error(-0.0004, 0.02), "0.00 ± 0.02");
        assert_eq!(with_error(1234.5, 31.0), "1234 ± 31");
        assert_eq!(with_error(2.0, 0.0), "2.000");
        assert_eq!(estimate(Value { value: 2.0, error: None }), "2.000 ± unknown");
        assert_eq!(with_error(411_234.0, 60_300.0), "410\u{202f}000 ± 60\u{202f}000");
        assert_eq!(with_error(45_432.0, 178.0), "45\u{202f}430 ± 180");
    }

    #[test]
    fn counts_rates_and_small_numbers() {
        assert_eq!(count(1_234_567.0), "1\u{202f}234\u{202f}567");
        assert_eq!(count(123.0), "123");
        assert_eq!(rate(123_456.0), "123\u{202f}000");
        assert_eq!(rate(4.25), "4.250");
        assert_eq!([short(-6.0), short(0.25)], ["\u{2212}6", "0.25"]);
        assert_eq!(small(1.23e-6), "1.2×10⁻⁶");
        assert_eq!(number(0.99987), "0.9999");
        assert_eq!(number(1.0e7), "10⁷");
    }
}

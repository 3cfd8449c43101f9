//! Numbers as programs and people write them in a field.

/// Signs that stand for a minus: U+2212, hyphens and the en dash.
const MINUS: [char; 4] = ['\u{2212}', '\u{2010}', '\u{2011}', '\u{2013}'];

/// Marks between groups of three digits, apart from comma and point.
const GROUPS: [char; 5] = ['\'', '\u{2019}', '\u{a0}', '\u{202f}', '\u{2009}'];

/// Marks for a missing value: they do not make a first line of numbers a header.
const MISSING: [&str; 8] = ["na", "n/a", "null", "none", "missing", "?", "-", "."];

/// The number in a field; true and false are 1 and 0, an exponent may be Fortran's D.
///
/// A comma is a decimal comma where `comma` says so, and no part of a number elsewhere.
pub(super) fn parse(field: &str, comma: bool) -> Option<f64> {
    if let Ok(value) = field.parse() {
        return Some(value);
    }
    match () {
        () if field.eq_ignore_ascii_case("true") => return Some(1.0),
        () if field.eq_ignore_ascii_case("false") => return Some(0.0),
        () if !field.contains(|c: char| c.is_ascii_digit()) => return None,
        () => {}
    }
    if field.contains(',') && (!comma || field.contains('.')) {
        return None;
    }
    let usual = |c: char| match c {
        'd' | 'D' => 'e',
        ',' => '.',
        c if MINUS.contains(&c) => '-',
        c => c,
    };
    field.chars().map(usual).collect::<String>().parse().ok()
}

/// Whether a field is one number with marks between groups of digits, such as 1,234.5 or 1'234.
pub(super) fn is_grouped(field: &str) -> bool {
    let digits: String = field.chars().filter(|c| !GROUPS.contains(c)).collect();
    let (whole, _) = digits.split_once(['e', 'E']).unwrap_or((&digits, ""));
    let points = whole.matches('.').count();
    let commas = whole.matches(',').count();
    let plain = whole.replace([',', '.'], "");
    let numbers = parse(&plain, false).is_some_and(f64::is_finite);
    numbers && (commas + points > 1 || commas > 0 || digits.len() < field.len())
}

/// Whether a first line is a header: a field of it is text. Numbers in any dress, "nan", "inf",
/// nothing and the marks of a missing value are not.
pub(super) fn is_header<'f>(mut fields: impl Iterator<Item = &'f str>) -> bool {
    fields.any(|field| {
        let missing = field.is_empty() || MISSING.contains(&field.to_lowercase().as_str());
        !missing && parse(field, true).is_none() && !is_grouped(field)
    })
}

/// What to do about a field that is no number, in a line below others or not.
pub(super) fn advice(field: &str, below: bool) -> &'static str {
    if is_grouped(field) && field.contains([',', '.']) {
        "write numbers with a decimal point and without thousands separators"
    } else if is_grouped(field) {
        "write numbers without thousands separators"
    } else if field.split_whitespace().count() > 1 {
        "separate fields by commas, semicolons or tabs"
    } else if below {
        "encode text as numbers, or remove the line if it is no row"
    } else {
        "encode text as numbers or remove the column"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_every_dress() {
        for (field, value) in [
            ("1.5", 1.5),
            ("\u{2212}2.5e\u{2212}3", -2.5e-3),
            ("\u{2013}7", -7.0),
            ("1D+01", 10.0),
            ("-.5d0", -0.5),
            ("True", 1.0),
            ("FALSE", 0.0),
        ] {
            assert_eq!(parse(field, false), Some(value), "{field}");
            assert!(!is_header([field].into_iter()), "{field}");
        }
        assert_eq!((parse("1,5", true), parse("-,5e2", true)), (Some(1.5), Some(-50.0)));
        for field in ["1,5", "d", "D", "dd", "--1", "1,234.5", "1e", "5 m"] {
            assert_eq!(parse(field, false), None, "{field}");
        }
        for field in ["1,234.5", "1.234,5", "1'234", "1\u{a0}234,5", "1,234,567", "-1,5"] {
            assert!(is_grouped(field) && !is_header([field].into_iter()), "{field}");
        }
        for field in ["a", "x1", "2020-01-02", "1 2", "5,m", "d"] {
            assert!(!is_grouped(field) && is_header([field].into_iter()), "{field}");
        }
    }
}

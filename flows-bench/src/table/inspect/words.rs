//! Numbers and lists as they stand in a sentence.

/// Names in a sentence; further ones are counted.
const LONGEST_LIST: usize = 5;

/// A number in six digits.
pub(super) fn number(value: f64) -> String {
    let short = format!("{value:.5e}").parse().unwrap_or(value);
    if short == 0.0 || (1e-4..1e7).contains(&f64::abs(short)) {
        return format!("{short}");
    }
    format!("{short:e}")
}

/// A share of the rows.
pub(super) fn share(count: usize, rows: usize) -> String {
    format!("{count} of {rows} rows ({})", percent(count as f64 / rows as f64))
}

/// A share in percent, with as many digits as it needs not to be 0 %.
pub(super) fn percent(share: f64) -> String {
    let digits = if share < 0.001 { 3 } else { 1 };
    format!("{:.digits$} %", 100.0 * share)
}

/// "a", "b" and 3 more.
pub(super) fn list(items: &[String]) -> String {
    let shown: Vec<&str> = items.iter().take(LONGEST_LIST).map(String::as_str).collect();
    match (shown.split_last(), items.len() - shown.len()) {
        (None, _) => String::new(),
        (Some((only, [])), 0) => (*only).to_owned(),
        (Some((last, before)), 0) => format!("{} and {last}", before.join(", ")),
        (Some(_), more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `column "a"`.
pub(super) fn column(name: &str) -> String {
    format!("column {name:?}")
}

/// `column "a"`, or `columns "a" and "b"`.
pub(super) fn columns(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("column{} {}", if names.len() == 1 { "" } else { "s" }, list(&quoted))
}

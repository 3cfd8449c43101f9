//! Values on the ends of their support.

use super::column::Column;
use super::words::{self, number, share};
use super::{Oddity, OddityKind};

/// The map onto an interval or a half-line reaches its ends at infinity only.
pub(super) fn on_ends(column: &Column<'_>) -> Option<Oddity> {
    let on = |end: f64| {
        let run = column.runs.iter().find(|&&(value, _)| value == end);
        run.map(|&(value, count)| format!("{} in {}", number(value), share(count, column.rows())))
    };
    let ends: Vec<String> = column.ends.into_iter().filter_map(on).collect();
    // Noise moves values off the lower end.
    if ends.is_empty() || column.noisy {
        return None;
    }
    let message = format!(
        "{} lies on the ends of its support ({}), where no flow has a density; widen the support, \
         remove these rows, or model them apart",
        words::column(column.name),
        ends.join(", ")
    );
    Some(Oddity { kind: OddityKind::SupportEnd, columns: vec![column.name.to_owned()], message })
}

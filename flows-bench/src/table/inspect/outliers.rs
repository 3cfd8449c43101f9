//! Values far from all others: codes for missing values, single outliers, heavy tails.

use super::super::Table;
use super::column::{Column, robust};
use super::words::{self, number, percent, share};
use super::{Oddity, OddityKind};

/// Values that usually mean that there is none.
const CODES: [f64; 16] = [
    -9.0, -99.0, -999.0, -9999.0, -99_999.0, 99.0, 999.0, 9999.0, 99_999.0, 999_999.0, -32_768.0,
    32_767.0, 65_535.0, 1e20, 1e30, -1e34,
];

/// A repeated value is a code where it lies so many robust deviations beyond its neighbour: one of
/// the usual codes, and any other.
const CODE_GAP: [f64; 2] = [5.0, 10.0];

/// Share of rows that may hold a code: one of the usual ones, and any other.
const MOST_CODES: [f64; 2] = [0.5, 0.1];

/// Robust deviations from the median at which a row is far, and at which it is in the tail.
const FAR: f64 = 50.0;
const TAIL: f64 = 10.0;

/// Far rows are at most this share; more of them are a part of the data.
const MOST_FAR: f64 = 0.02;

/// A few rows set the scale where they carry this share of the squared deviation.
const CARRIED: f64 = 0.5;

/// Robust deviations of the logarithms within which a long tail of positive values is one of its
/// kind, as of a log-normal.
const SKEWED: f64 = 6.0;

/// Tails are heavy where this share of the rows carries nearly all of the squared deviation.
const TAIL_ROWS: f64 = 0.01;
const TAIL_CARRIED: f64 = 0.9;

/// Fewest rows that can tell.
const FEWEST_ROWS: usize = 10;

/// Rows named in a message.
const MOST_NAMED: usize = 3;

pub(super) struct Far {
    pub(super) sentinels: Vec<f64>,
    pub(super) oddities: Vec<Oddity>,
}

pub(super) fn far(column: &Column<'_>, table: &Table) -> Far {
    let mut far = Far { sentinels: Vec::new(), oddities: Vec::new() };
    if column.rows() < FEWEST_ROWS {
        return far;
    }
    let odd = |kind, message| Oddity { kind, columns: vec![column.name.to_owned()], message };
    let (codes, rest) = codes(column);
    for (value, count) in codes {
        far.sentinels.push(value);
        let message = format!(
            "{}: {} in {} lies far outside of the others ({} to {}), as a mark of a missing value \
             does; remove these rows or fill them in",
            words::column(column.name),
            number(value),
            share(count, column.rows()),
            number(rest.first().copied().unwrap_or(value)),
            number(rest.last().copied().unwrap_or(value)),
        );
        far.oddities.push(odd(OddityKind::Sentinel, message));
    }
    // A half-line is mapped by its logarithm, which shortens tails.
    if column.ends.iter().all(|end| end.is_infinite()) {
        let tail = Tail::of(rest);
        far.oddities.extend(tail.and_then(|tail| tail.told(column, table)).map(|(k, m)| odd(k, m)));
    }
    far
}

/// Codes at either end of the column, and the sorted values without them.
fn codes<'c>(column: &'c Column<'_>) -> (Vec<(f64, usize)>, &'c [f64]) {
    let mut codes = Vec::new();
    let (mut rest, mut runs) = (&column.sorted[..], &column.runs[..]);
    loop {
        let low = runs.split_first().map(|(&run, runs)| (run, runs, &rest[run.1..]));
        let high = runs.split_last().map(|(&run, runs)| {
            let kept = rest.len() - run.1;
            (run, runs, &rest[..kept])
        });
        let found = [low, high].into_iter().flatten().find(|&(run, others, values)| {
            let neighbour =
                if values.first() > Some(&run.0) { others.first() } else { others.last() };
            neighbour.is_some_and(|neighbour| is_code(run, neighbour.0, values, column.rows()))
        });
        match found {
            Some((run, others, values)) => {
                codes.push(run);
                (runs, rest) = (others, values);
            }
            None => return (codes, rest),
        }
    }
}

fn is_code((value, count): (f64, usize), neighbour: f64, others: &[f64], rows: usize) -> bool {
    let usual = CODES.contains(&value);
    let kind = usize::from(!usual);
    if (count < 2 && !usual) || count as f64 > MOST_CODES[kind] * rows as f64 {
        return false;
    }
    let (_, scale) = robust(others);
    scale > 0.0 && (value - neighbour).abs() > CODE_GAP[kind] * scale
}

/// Rows far from the median, all of them at the two ends of the sorted values.
struct Tail<'a> {
    sorted: &'a [f64],
    median: f64,
    scale: f64,
    /// How many are far.
    far: usize,
}

impl<'a> Tail<'a> {
    fn of(sorted: &'a [f64]) -> Option<Self> {
        let (median, scale) = robust(sorted);
        let far = beyond(sorted, median, FAR * scale);
        (scale > 0.0 && far > 0).then_some(Self { sorted, median, scale, far })
    }

    fn told(&self, column: &Column<'_>, table: &Table) -> Option<(OddityKind, String)> {
        let rows = self.sorted.len();
        let few = self.far as f64 <= (MOST_FAR * rows as f64).max(1.0);
        let carried = self.carried(self.far);
        let most = (TAIL_ROWS * rows as f64).floor() as usize;
        let heavy = most > 0 && self.carried(most) >= TAIL_CARRIED;
        if !(heavy || few && carried >= CARRIED && !self.is_skewed()) {
            return None;
        }
        let place = words::column(column.name);
        let in_tail = beyond(self.sorted, self.median, TAIL * self.scale) - self.far;
        if !few || in_tail >= self.far.max(MOST_NAMED) {
            let (count, carried) =
                if heavy { (most, self.carried(most)) } else { (self.far, carried) };
            let message = format!(
                "{place} has heavy tails: {} carry {} of the squared deviation (the farthest is \
                 {}), so that a few rows make the mean and the scale; set base = {{ kind = \
                 \"student_t\", nu = 2 }}, or take logarithms of positive values",
                share(count, rows),
                percent(carried),
                number(self.farthest())
            );
            return Some((OddityKind::HeavyTail, message));
        }
        let low = self.sorted.iter().find(|&&value| !self.is_far(value)).copied();
        let high = self.sorted.iter().rfind(|&&value| !self.is_far(value)).copied();
        let message = format!(
            "{place}: {}, all others from {} to {}, so that {} of the squared deviation is theirs \
             alone; check the values, remove the rows, or set base = {{ kind = \"student_t\", \
             nu = 2 }}",
            self.named(column, table),
            number(low.unwrap_or(self.median)),
            number(high.unwrap_or(self.median)),
            percent(carried)
        );
        Some((OddityKind::Outliers, message))
    }

    fn is_far(&self, value: f64) -> bool {
        (value - self.median).abs() > FAR * self.scale
    }

    /// Whether the logarithms have no far row.
    fn is_skewed(&self) -> bool {
        if self.sorted.first().is_none_or(|&least| least <= 0.0) {
            return false;
        }
        let logs: Vec<f64> = self.sorted.iter().map(|value| value.ln()).collect();
        let (median, scale) = robust(&logs);
        (self.farthest().ln() - median).abs() <= SKEWED * scale
    }

    fn farthest(&self) -> f64 {
        let distance = |value: &f64| (value - self.median).abs();
        let ends = [self.sorted.first(), self.sorted.last()].into_iter().flatten();
        ends.max_by(|a, b| distance(a).total_cmp(&distance(b))).copied().unwrap_or(self.median)
    }

    /// "row 12 is 1e12", or how many there are.
    fn named(&self, column: &Column<'_>, table: &Table) -> String {
        if self.far > MOST_NAMED {
            let share = share(self.far, self.sorted.len());
            return format!("{share} are far away (the farthest is {})", number(self.farthest()));
        }
        let values = table.values().iter().skip(column.index).step_by(table.columns());
        let far = values.enumerate().filter(|&(_, &value)| self.is_far(value));
        let is = |(row, &value): (usize, &f64)| format!("row {row} is {}", number(value));
        words::list(&far.map(is).take(MOST_NAMED).collect::<Vec<_>>())
    }

    /// Share of the squared deviation from the mean that the `count` rows farthest from it carry.
    fn carried(&self, count: usize) -> f64 {
        // In robust deviations, and halves of them, so that no sum overflows.
        let largest = (self.farthest() - self.median).abs();
        let unit = |value: f64| (value - self.median) / largest;
        let rows = self.sorted.len() as f64;
        let mean = self.sorted.iter().map(|&value| unit(value)).sum::<f64>() / rows;
        let square = |value: f64| (unit(value) - mean).powi(2);
        let all: f64 = self.sorted.iter().map(|&value| square(value)).sum();
        let (mut rest, mut carried) = (self.sorted, 0.0);
        for _ in 0..count {
            let (Some(low), Some(high)) = (rest.first(), rest.last()) else { break };
            let (low, high) = (square(*low), square(*high));
            rest = if low > high { &rest[1..] } else { &rest[..rest.len() - 1] };
            carried += low.max(high);
        }
        carried / all
    }
}

/// How many of the sorted values are farther than `distance` from `median`.
fn beyond(sorted: &[f64], median: f64, distance: f64) -> usize {
    let low = sorted.partition_point(|&value| value - median < -distance);
    let high = sorted.partition_point(|&value| value - median <= distance);
    low + sorted.len() - high
}

//! One column, sorted.

use super::super::Table;
use super::super::grid::runs;
use super::precision::Precision;

/// The values of a column in ascending order, its distinct values and its ends.
pub(super) struct Column<'a> {
    pub(super) index: usize,
    pub(super) name: &'a str,
    pub(super) sorted: Vec<f64>,
    /// Distinct values, ascending, with their counts.
    pub(super) runs: Vec<(f64, usize)>,
    pub(super) ends: [f64; 2],
    pub(super) noisy: bool,
}

/// What the checks of several columns need of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) counter: bool,
    /// Values repeat because they are few, not because rows repeat.
    pub(super) discrete: bool,
    pub(super) noisy: bool,
    pub(super) constant: bool,
    /// Chance that two rows have the same value.
    pub(super) tie: f64,
    /// Share of whole numbers.
    pub(super) whole: f64,
    pub(super) median: f64,
    /// Robust standard deviation; 0 where almost all values are equal.
    pub(super) scale: f64,
}

impl<'a> Column<'a> {
    pub(super) fn of(table: &'a Table, index: usize, ends: [f64; 2], noisy: bool) -> Self {
        let values = table.values().iter().skip(index).step_by(table.columns());
        // 0 and −0 are one value.
        let mut sorted: Vec<f64> = values.map(|value| value + 0.0).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let runs = runs(&sorted);
        Self { index, name: &table.names()[index], sorted, runs, ends, noisy }
    }

    pub(super) fn rows(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn facts(&self, counter: bool, discrete: bool) -> Facts {
        let rows = self.rows() as f64;
        let (median, scale) = robust(&self.sorted);
        let square = |&(_, count): &(f64, usize)| (count as f64 / rows).powi(2);
        let whole = self.sorted.iter().filter(|value| value.fract() == 0.0).count();
        Facts {
            counter,
            discrete,
            noisy: self.noisy,
            constant: self.runs.len() == 1,
            tie: if discrete {
                self.runs.iter().map(square).sum()
            } else {
                self.tie(median, scale)
            },
            whole: whole as f64 / rows,
            median,
            scale,
        }
    }
}

impl Column<'_> {
    /// Chance that two values are equal: those of the three most frequent ones, and of continuous
    /// ones once rounded, ∫ p² times the unit of the last place for a normal density.
    fn tie(&self, median: f64, scale: f64) -> f64 {
        let mut counts: Vec<usize> = self.runs.iter().map(|&(_, count)| count).collect();
        counts.sort_unstable_by_key(|&count| std::cmp::Reverse(count));
        let square = |&count: &usize| (count as f64 / self.rows() as f64).powi(2);
        let atoms: f64 = counts.iter().take(3).map(square).sum();
        let last = 2.0 * Precision::of(self.sorted.iter().copied()).rounding(median.abs() + scale);
        let density = 1.0 / (2.0 * std::f64::consts::PI.sqrt());
        if scale > 0.0 { (atoms + density * last / scale).min(1.0) } else { 1.0 }
    }
}

/// Median and robust standard deviation of ascending values: the distance of two quantiles over
/// that of the standard normal; wider quantiles where the inner ones are equal.
pub(super) fn robust(sorted: &[f64]) -> (f64, f64) {
    // Quantiles of the standard normal: 0.75, 0.95, 0.99.
    const SPANS: [(f64, f64); 3] =
        [(0.75, 2.0 * 0.674_490), (0.95, 2.0 * 1.644_854), (0.99, 2.0 * 2.326_348)];
    let Some(last) = sorted.len().checked_sub(1) else {
        return (0.0, 0.0);
    };
    let quantile = |share: f64| sorted[(share * last as f64).round() as usize];
    let scales = SPANS.iter().map(|&(high, span)| {
        let (high, low) = (quantile(high), quantile(1.0 - high));
        high / span - low / span
    });
    (quantile(0.5), scales.into_iter().find(|&scale| scale > 0.0).unwrap_or(0.0))
}

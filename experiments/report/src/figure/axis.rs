//! Ranges and ticks of axes.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// How distance on paper follows from a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
}

/// A closed range of an axis and its ticks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) scale: Scale,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) ticks: Vec<f64>,
    /// Labels of 0, 1, 2 and so on in place of numbers.
    words: Vec<String>,
}

impl Axis {
    /// Exactly `[low, high]`, with about `count` intervals between ticks at multiples of 1, 2 or 5 times a power of ten.
    pub(crate) fn linear(low: f64, high: f64, count: usize) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        let rough = (high - low) / count.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= 0.7 * rough);
        let step = factor.unwrap_or(10.0) * power;
        let slack = 1e-9 * step;
        let first = ((low - slack) / step).ceil() as i64;
        let last = ((high + slack) / step).floor() as i64;
        let ticks = (first..=last).map(|i| (i as f64 * step).clamp(low, high)).collect();
        Self { scale: Scale::Linear, low, high, ticks, words: Vec::new() }
    }

    /// All of `values` with `margin` times their range on either side.
    pub(crate) fn around(values: impl Iterator<Item = f64>, margin: f64, count: usize) -> Self {
        let (low, high) = bounds(values);
        let room = margin * (high - low).max(1e-9 * high.abs());
        Self::linear(low - room, high + room, count)
    }

    /// A logarithmic axis that holds all positive `values`, with ticks at powers of ten, or at 1, 2 and
    /// 5 where there would be fewer than two of them.
    pub(crate) fn log(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = bounds(values.filter(|value| *value > 0.0));
        let (low, high) = if low > 0.0 { (low / 1.3, high * 1.3) } else { (0.1, 10.0) };
        let decades = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
        let inside = |tick: &f64| (low..=high).contains(tick);
        let powers: Vec<f64> = decades.clone().map(|k| 10f64.powi(k)).filter(inside).collect();
        let ticks = if powers.len() < 2 {
            let fine = |k: i32| [1.0, 2.0, 5.0].map(|factor| factor * 10f64.powi(k));
            decades.flat_map(fine).filter(inside).collect()
        } else {
            let every = powers.len().div_ceil(6);
            powers.into_iter().step_by(every).collect()
        };
        Self { scale: Scale::Logarithmic, low, high, ticks, words: Vec::new() }
    }

    /// With so few ticks that labels with letters of some size fit beside each other on a horizontal axis.
    pub(crate) fn fitting(mut self, width: u32, letters: f64) -> Self {
        // Ticks at 1, 2 and 5 are not equally far apart: twice the room of the labels.
        let room = 2 * super::text_width(self.widest(), letters);
        let most = (width / room.max(1)).max(2) as usize;
        let every = self.ticks.len().div_ceil(most).max(1);
        self.ticks = self.ticks.into_iter().step_by(every).collect();
        self
    }

    /// Words at 0, 1, 2 and so on, at most `letters` of each.
    pub(crate) fn words(words: &[String], letters: usize) -> Self {
        let last = words.len().saturating_sub(1) as f64;
        Self {
            scale: Scale::Linear,
            low: -0.5,
            high: last + 0.5,
            ticks: (0..words.len()).map(|i| i as f64).collect(),
            words: words.iter().map(|word| super::shortened(word, letters)).collect(),
        }
    }

    /// Label of a tick at `value`.
    pub(crate) fn label(&self, value: f64) -> String {
        if !self.words.is_empty() {
            return self.words.get(value.round() as usize).cloned().unwrap_or_default();
        }
        let gaps = self.ticks.windows(2).map(|pair| pair[1] - pair[0]);
        let gap = gaps.fold(f64::NAN, f64::min);
        let far = |tick: &f64| !(9e-4..9e4).contains(tick);
        match self.scale {
            Scale::Logarithmic if self.ticks.iter().any(far) => scientific(value),
            Scale::Linear if gap.is_finite() => label(value, gap),
            _ => label(value, value.abs()),
        }
    }

    /// Letters of the longest label.
    pub(crate) fn widest(&self) -> usize {
        let letters = |tick: &f64| self.label(*tick).chars().count();
        self.ticks.iter().map(letters).max().unwrap_or(0)
    }

    /// Position of `value` between 0 and 1; beyond the range, the nearer end.
    fn share(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => (value / self.low).ln() / (self.high / self.low).ln(),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let length = f64::from(limit.1 - limit.0);
        limit.0 + (self.share(*value) * length).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, _hint: H) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.label(*value)
    }
}

/// `value` with as many decimals as a distance of `gap` between labels needs.
fn label(value: f64, gap: f64) -> String {
    if value == 0.0 || !value.is_finite() || gap <= 0.0 {
        return if value == 0.0 { "0".into() } else { value.to_string() };
    }
    let magnitude = value.abs().log10();
    if magnitude >= 5.0 || (magnitude < -4.0 && gap < 1e-4) {
        return scientific(value);
    }
    let decimals = (-(gap.log10() + 1e-9).floor()).clamp(0.0, 9.0) as usize;
    let decimals = decimals.max((-(magnitude + 1e-9).floor()).clamp(0.0, 4.0) as usize);
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    };
    text.replace('-', "\u{2212}")
}

/// `value` with at most two digits and a power of ten.
pub(crate) fn scientific(value: f64) -> String {
    let text = format!("{value:.1e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let superscript = power.chars().map(|c| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        // The remaining superscript digits are consecutive in Unicode.
        c => c.to_digit(10).and_then(|d| char::from_u32(0x2070 + d)).unwrap_or(c),
    });
    let superscript: String = superscript.collect();
    match digits.trim_end_matches('0').trim_end_matches('.') {
        "1" => format!("10{superscript}"),
        digits => format!("{}×10{superscript}", digits.replace('-', "\u{2212}")),
    }
}

/// Smallest and largest finite value; `(0, 0)` when there is none.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let start = (f64::INFINITY, f64::NEG_INFINITY);
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold(start, |(low, high), value| (low.min(value), high.max(value)));
    if low <= high { (low, high) } else { (0.0, 0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_ticks_are_round_and_inside() {
        let axis = Axis::linear(-4.0, 4.0, 4);
        assert_eq!(axis.ticks, [-4.0, -2.0, 0.0, 2.0, 4.0]);
        assert_eq!(axis.label(-2.0), "\u{2212}2");
        let axis = Axis::linear(0.0, 0.35, 4);
        assert_eq!(
            axis.ticks.iter().map(|t| axis.label(*t)).collect::<Vec<_>>(),
            ["0", "0.1", "0.2", "0.3"]
        );
    }

    #[test]
    fn words_stand_at_whole_numbers() {
        let axis = Axis::words(&["relu".into(), "leaky-relu".into()], 6);
        let labels: Vec<_> = axis.ticks.iter().map(|tick| axis.label(*tick)).collect();
        assert_eq!(labels, ["relu", "leaky…"]);
        assert!(axis.low < 0.0 && axis.high > 1.0);
    }

    #[test]
    fn an_empty_range_is_widened() {
        let axis = Axis::linear(3.0, 3.0, 4);
        assert!(axis.low < 3.0 && axis.high > 3.0 && !axis.ticks.is_empty());
        assert!(Axis::around(std::iter::empty(), 0.1, 4).low < 0.0);
    }

    #[test]
    fn log_ticks_are_powers_of_ten_or_finer() {
        let wide = Axis::log([0.002, 3.0].into_iter());
        let labels: Vec<_> = wide.ticks.iter().map(|t| wide.label(*t)).collect();
        assert_eq!(labels, ["0.01", "0.1", "1"]);
        let narrow = Axis::log([1500.0, 4000.0].into_iter());
        assert_eq!(narrow.ticks, [2000.0, 5000.0]);
        assert_eq!(narrow.label(2000.0), "2000");
        let fast = Axis::log([3e4, 2e6].into_iter());
        assert_eq!([1e5, 1e6].map(|tick| fast.label(tick)), ["10⁵", "10⁶"]);
        let small = Axis::log([1e-5, 0.3].into_iter());
        assert_eq!([0.1, 0.001].map(|tick| small.label(tick)), ["10⁻¹", "10⁻³"]);
    }
}

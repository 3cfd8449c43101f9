//! Widths of charts.

use super::chart::LETTERS;

/// How wide a chart is, in units in which its letters have one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// In a page.
    Page,
    /// One column of a paper with two: 3.25 inches.
    Single,
    /// Across both columns: 6.75 inches.
    Double,
}

/// Points of an inch.
const POINTS: f64 = 72.0;

/// Size of letters in a paper, in points.
const PAPER_LETTERS: f64 = 8.0;

impl Width {
    /// The widths of a paper, with their names in files.
    pub(crate) const PAPER: [(Self, &'static str); 2] =
        [(Self::Single, "single"), (Self::Double, "double")];

    /// In units of figures.
    pub(crate) fn units(self) -> u32 {
        let inches = |inches: f64| (inches * POINTS / points(1.0)).round() as u32;
        match self {
            Self::Page => 1240,
            Self::Single => inches(3.25),
            Self::Double => inches(6.75),
        }
    }

    /// Height of a plot that is `height` units high in a page: in proportion, but on two columns not higher.
    pub(crate) fn height(self, height: u32) -> u32 {
        let scaled = f64::from(height) * f64::from(self.units()) / f64::from(Self::Page.units());
        (scaled.round() as u32).min(height)
    }
}

/// Points of a length in units of figures, on paper, where letters have eight points.
pub(super) fn points(units: f64) -> f64 {
    units * PAPER_LETTERS / LETTERS
}

//! What a check or an experiment found, as its result file holds it: measures with their criteria,
//! tables, curves and panels. Pages and figures are drawn from these and from nothing else.

mod corner;
mod number;

pub use corner::{Corner, Sample};
use flows_core::Shape;
use serde::{Deserialize, Serialize};

/// Everything that one check found, in the order of its page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Findings {
    /// Numbers, each with what was demanded of it.
    pub measures: Vec<Measure>,
    /// Sentences about what came out, made from measured numbers.
    pub remarks: Vec<String>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Curves.
    pub plots: Vec<Plot>,
    /// Rows of panels in the plane.
    pub panels: Vec<Panels>,
    /// Draws by pairs of parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub corners: Vec<Corner>,
}

/// A measured number and what was demanded of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// What was measured, with its unit.
    pub quantity: String,
    /// The number.
    #[serde(with = "number")]
    pub value: f64,
    /// Its standard error, where it is an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
    /// What it has to satisfy.
    pub criterion: Criterion,
    /// Where the bound comes from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What a number has to satisfy; no comparison holds for NaN.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Between the two.
    Between(f64, f64),
    /// Nothing: the number is shown for orientation.
    Observed,
}

impl Measure {
    /// The number, what was demanded of it, and whether that holds.
    #[must_use]
    pub fn sentence(&self) -> String {
        let error = self.standard_error.map_or_else(String::new, |e| format!(" +- {e:.1e}"));
        let value = format!("{}: {:.6e}{error}", self.quantity, self.value);
        let fails = if self.criterion.holds(self.value) { "" } else { "  FAILS" };
        match self.criterion {
            Criterion::Observed => value,
            Criterion::AtMost(bound) => format!("{value}, at most {bound:e}{fails}"),
            Criterion::AtLeast(bound) => format!("{value}, at least {bound:e}{fails}"),
            Criterion::Between(low, high) => {
                format!("{value}, between {low:e} and {high:e}{fails}")
            }
        }
    }
}

impl Criterion {
    /// Whether `value` satisfies it.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
            Self::Between(low, high) => low <= value && value <= high,
            Self::Observed => true,
        }
    }
}

/// A table with one kind of thing a column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its caption: one sentence.
    pub title: String,
    /// Heads of the columns, with units.
    pub columns: Vec<String>,
    /// As many cells a row as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number.
    Number(#[serde(with = "number")] f64),
    /// A number with its standard error.
    Estimate(#[serde(with = "number")] f64, #[serde(with = "number")] f64),
}

/// Curves over one pair of axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plot {
    /// Its caption: one sentence that says what is to be seen.
    pub title: String,
    /// The horizontal axis.
    pub x: Scale,
    /// The vertical axis.
    pub y: Scale,
    /// The curves, at most seven.
    pub series: Vec<Series>,
}

/// Name and kind of an axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// What it shows, with its unit.
    pub name: String,
    /// Whether equal distances are equal factors; values that are not positive are then left out.
    pub logarithmic: bool,
    /// What stands at 0, 1, 2 and so on in place of numbers; mostly nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
}

/// One curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Name in the key.
    pub name: String,
    /// How it is drawn.
    pub stroke: Stroke,
    /// x and y; points that are not finite are left out.
    pub points: Vec<[f64; 2]>,
    /// Standard errors of y, one a point, or none at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<f64>,
    /// Points of a curve fitted to the others, joined by a line; mostly none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fitted: Vec<[f64; 2]>,
}

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stroke {
    /// What was measured: markers joined by a line.
    Measured,
    /// A function known without measuring, such as a bound or a slope: a dashed line.
    Reference,
    /// Many points that lie close: a line.
    Line,
    /// Markers alone.
    Markers,
}

/// Panels in the plane that share one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panels {
    /// Caption of the whole row: one sentence.
    pub title: String,
    /// `[x0, x1, y0, y1]`
    pub window: [f64; 4],
    /// Names of the axes.
    pub axes: [String; 2],
    /// From left to right.
    pub panels: Vec<Panel>,
}

/// One panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// Inside it.
    pub content: Content,
}

/// What a panel shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Points; at most a few thousand.
    Points(Vec<[f32; 2]>),
    /// Log-density at the centres of n x n cells of the window, lowest row first; none where there
    /// is no number. All panels of a row share the scale of the first.
    LogDensity(Vec<Option<f32>>),
    /// Images, which have no window.
    Images(Images),
}

/// Images of one size, as dark ink on white.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Size of an image.
    pub shape: Shape,
    /// Image after image, channel by channel and row by row.
    pub values: Vec<f32>,
    /// What is white and what is black; beyond is cut off.
    pub range: [f64; 2],
}

impl Panels {
    /// Panels of images.
    #[must_use]
    pub fn of_images(title: String, panels: Vec<Panel>) -> Self {
        Self { title, window: [0.0, 1.0, 0.0, 1.0], axes: Default::default(), panels }
    }
}

impl Findings {
    /// Whether something was demanded, and every demand is satisfied.
    #[must_use]
    pub fn pass(&self) -> bool {
        let demanded = self.measures.iter().any(|m| m.criterion != Criterion::Observed);
        demanded && self.measures.iter().all(|m| m.criterion.holds(m.value))
    }

    /// `value` may be at most `bound`, because of `reason`.
    pub fn at_most(&mut self, quantity: &str, value: f64, bound: f64, reason: &str) {
        self.demand(quantity, (value, None), Criterion::AtMost(bound), reason);
    }

    /// `value` must be at least `bound`, because of `reason`.
    pub fn at_least(&mut self, quantity: &str, value: f64, bound: f64, reason: &str) {
        self.demand(quantity, (value, None), Criterion::AtLeast(bound), reason);
    }

    /// `value` must lie between the two, because of `reason`.
    pub fn between(&mut self, quantity: &str, value: f64, [low, high]: [f64; 2], reason: &str) {
        self.demand(quantity, (value, None), Criterion::Between(low, high), reason);
    }

    /// An estimate with its standard error that has to satisfy a criterion.
    pub fn demand(
        &mut self,
        quantity: &str,
        (value, standard_error): (f64, Option<f64>),
        criterion: Criterion,
        reason: &str,
    ) {
        let (quantity, reason) = (quantity.to_owned(), reason.to_owned());
        self.measures.push(Measure { quantity, value, standard_error, criterion, reason });
    }

    /// A number for orientation.
    pub fn observed(&mut self, quantity: &str, value: f64, standard_error: Option<f64>) {
        self.demand(quantity, (value, standard_error), Criterion::Observed, "");
    }

    /// A sentence made from measured numbers.
    pub fn remark(&mut self, sentence: impl Into<String>) {
        self.remarks.push(sentence.into());
    }
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&c| c.to_owned()).collect();
        Self { title: title.to_owned(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }
}

impl Plot {
    /// Axes without curves.
    #[must_use]
    pub fn new(title: &str, x: Scale, y: Scale) -> Self {
        Self { title: title.to_owned(), x, y, series: Vec::new() }
    }

    /// Adds a curve.
    pub fn series(
        &mut self,
        name: impl Into<String>,
        stroke: Stroke,
        points: impl IntoIterator<Item = [f64; 2]>,
    ) {
        self.series_with_errors(name, stroke, points.into_iter().map(|[x, y]| [x, y, 0.0]));
    }

    /// Adds a curve of x, y and the standard error of y.
    pub fn series_with_errors(
        &mut self,
        name: impl Into<String>,
        stroke: Stroke,
        points: impl IntoIterator<Item = [f64; 3]>,
    ) {
        let finite = points.into_iter().filter(|p| p.iter().all(|v| v.is_finite()));
        let (points, mut errors): (Vec<_>, Vec<_>) = finite.map(|[x, y, e]| ([x, y], e)).unzip();
        if errors.iter().all(|&error| error == 0.0) {
            errors.clear();
        }
        let (name, fitted) = (name.into(), Vec::new());
        self.series.push(Series { name, stroke, points, errors, fitted });
    }

    /// Adds markers with the curve that was fitted to them, given by points of it.
    pub fn fitted(
        &mut self,
        name: impl Into<String>,
        points: impl IntoIterator<Item = [f64; 2]>,
        fitted: impl IntoIterator<Item = [f64; 2]>,
    ) {
        self.series(name, Stroke::Markers, points);
        if let Some(series) = self.series.last_mut() {
            series.fitted =
                fitted.into_iter().filter(|p| p.iter().all(|v| v.is_finite())).collect();
        }
    }
}

impl Scale {
    /// An axis with equal distances for equal differences.
    #[must_use]
    pub fn linear(name: &str) -> Self {
        Self { name: name.to_owned(), logarithmic: false, words: Vec::new() }
    }

    /// An axis with equal distances for equal factors.
    #[must_use]
    pub fn log(name: &str) -> Self {
        Self { logarithmic: true, ..Self::linear(name) }
    }

    /// An axis with words at 0, 1, 2 and so on.
    #[must_use]
    pub fn words(name: &str, words: Vec<String>) -> Self {
        Self { words, ..Self::linear(name) }
    }
}

impl Content {
    /// Points from rows of two features.
    #[must_use]
    pub fn points(rows: &[f64]) -> Self {
        Self::Points(rows.chunks_exact(2).map(|row| [row[0] as f32, row[1] as f32]).collect())
    }

    /// An image from log-densities.
    #[must_use]
    pub fn log_density(values: &[f64]) -> Self {
        let number = |&v: &f64| (!v.is_nan()).then(|| v.max(f64::from(f32::MIN)) as f32);
        Self::LogDensity(values.iter().map(number).collect())
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<u64> for Cell {
    fn from(value: u64) -> Self {
        Self::Number(value as f64)
    }
}

impl From<usize> for Cell {
    fn from(value: usize) -> Self {
        Self::Number(value as f64)
    }
}

impl From<(f64, f64)> for Cell {
    fn from((value, error): (f64, f64)) -> Self {
        Self::Estimate(value, error)
    }
}

impl From<(f64, Option<f64>)> for Cell {
    fn from((value, error): (f64, Option<f64>)) -> Self {
        error.map_or(Self::Number(value), |error| Self::Estimate(value, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_without_demands_does_not_pass() {
        let mut findings = Findings::default();
        findings.observed("seconds", 1.0, None);
        assert!(!findings.pass());
        findings.at_most("error", 1e-9, 1e-8, "rounding");
        assert!(findings.pass());
        findings.at_least("slope", 0.9, 1.0, "");
        assert!(!findings.pass());
    }

    #[test]
    fn nothing_holds_for_nan() {
        let all = [Criterion::AtMost(1.0), Criterion::AtLeast(1.0), Criterion::Between(0.0, 1.0)];
        assert!(all.iter().all(|criterion| !criterion.holds(f64::NAN)));
    }

    #[test]
    fn numbers_that_json_lacks_survive_a_file() {
        let mut findings = Findings::default();
        findings.at_most("infinite", f64::INFINITY, 1.0, "");
        let mut table = Table::new("title", &["a", "b"]);
        table.row([Cell::from(f64::NEG_INFINITY), Cell::from((0.1, 1e-3))]);
        findings.tables.push(table);
        let text = serde_json::to_string(&findings).unwrap_or_default();
        let back: Findings = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(back, findings);
    }
}

//! Curves over a pair of axes.

use serde::{Deserialize, Serialize};

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

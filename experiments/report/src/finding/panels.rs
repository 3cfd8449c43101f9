//! Panels beside each other: points, densities, images.

use flows_core::Shape;
use serde::{Deserialize, Serialize};

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

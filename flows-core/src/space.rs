//! The space of a feature: the real line, an interval or a circle.

use std::fmt;

use crate::{Error, Result};

/// Where a feature lies.
///
/// A map of a circle is no injective map of the line: it takes points that are whole turns apart to
/// one. A flow is therefore refused where points reach a circle from outside of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Space {
    /// The real line.
    Line,
    /// Between two ends.
    Interval([f64; 2]),
    /// Between two ends that are one point.
    Circle([f64; 2]),
}

impl Space {
    /// Whether every point of `other` is a point of this space, and no two are one.
    #[must_use]
    pub fn holds(self, other: Self) -> bool {
        match (self, other) {
            (Self::Line, _) => true,
            (_, Self::Line) => false,
            (
                Self::Interval(own) | Self::Circle(own),
                Self::Interval(ends) | Self::Circle(ends),
            ) => own[0] <= ends[0] && ends[1] <= own[1],
        }
    }
}

/// Spaces of all features after the chosen ones are mapped: `image` gives the space of a feature's
/// image, or where its points must lie if they do not.
///
/// # Errors
/// [`Error::Space`] of the map called `op`.
pub fn image_spaces(
    op: &'static str,
    mut from: Vec<Space>,
    features: impl IntoIterator<Item = usize>,
    image: impl Fn(Space) -> std::result::Result<Space, Space>,
) -> Result<Vec<Space>> {
    for feature in features {
        let got = from[feature];
        let refused = |expected| Error::Space { op, feature, expected, got };
        from[feature] = image(got).map_err(refused)?;
    }
    Ok(from)
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => f.write_str("the real line"),
            Self::Interval([low, high]) => write!(f, "the interval [{low}, {high}]"),
            Self::Circle([low, high]) => write!(f, "the circle [{low}, {high})"),
        }
    }
}

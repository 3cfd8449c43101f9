//! The interval of a spline, and its tails.

use flows_core::elementwise::clamp;
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result, Space};
use serde::{Deserialize, Serialize};

use super::partition::Lanes;

/// Settings of the splines.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplineConfig {
    /// Number of bins.
    pub bins: usize,
    /// It acts on [-bound, bound].
    pub bound: f64,
    /// What happens outside; linear splines are the identity there, circular ones have no outside.
    pub tails: Tails,
}

impl Default for SplineConfig {
    fn default() -> Self {
        Self { bins: 16, bound: 4.0, tails: Tails::Identity }
    }
}

/// Tails of a spline: the map outside the interval [-B, B].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tails {
    /// The identity; the slope at both ends is 1, so that the map is C1.
    #[default]
    Identity,
    /// Straight lines with the learned slopes of the spline at both ends.
    Linear,
    /// No tails: the interval is a circle of circumference 2B. Elements are moved onto it by whole
    /// turns, and both ends share one learned slope.
    Circular,
}

/// An interval [-B, B] with K bins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SplineInterval {
    pub(super) bins: usize,
    pub(super) bound: f64,
    pub(super) tails: Tails,
}

impl SplineInterval {
    /// # Errors
    /// [`Error::Parameter`] unless there are 2 to 500 bins and a positive, finite bound.
    pub(super) fn new(bins: usize, bound: f64, tails: Tails) -> Result<Self> {
        if !(2..=500).contains(&bins) {
            let (name, requirement) = ("bins of a spline", "between 2 and 500");
            return Err(Error::Parameter { name, requirement, value: bins as f64 });
        }
        if !(bound > 0.0 && bound.is_finite()) {
            let (name, requirement) = ("bound of a spline", "positive and finite");
            return Err(Error::Parameter { name, requirement, value: bound });
        }
        Ok(Self { bins, bound, tails })
    }

    /// Number of learned slopes.
    pub(super) fn slope_rows(&self) -> usize {
        match self.tails {
            Tails::Identity => self.bins - 1,
            Tails::Linear => self.bins + 1,
            Tails::Circular => self.bins,
        }
    }

    /// Index of the learned slope at `knot`; `None` if it is fixed at 1.
    #[inline(always)]
    pub(super) fn slope_row(&self, knot: usize) -> Option<usize> {
        match self.tails {
            Tails::Linear => Some(knot),
            Tails::Circular => Some(if knot == self.bins { 0 } else { knot }),
            Tails::Identity if knot == 0 || knot == self.bins => None,
            Tails::Identity => Some(knot - 1),
        }
    }

    /// As for a transformer.
    pub(super) fn image_space(&self, from: Space) -> std::result::Result<Space, Space> {
        let circle = Space::Circle([-self.bound, self.bound]);
        match self.tails {
            Tails::Circular if circle.holds(from) => Ok(circle),
            Tails::Circular => Err(circle),
            _ => Ok(Space::Line),
        }
    }

    /// Elements as the spline takes them, and the same clamped to the interval; they agree for
    /// elements inside.
    #[inline(always)]
    pub(super) fn place<E: Real>(&self, x: &[E]) -> (Lanes<E>, Lanes<E>) {
        let (mut placed, mut moved) = ([E::zero(); LANES], [E::zero(); LANES]);
        placed.copy_from_slice(x);
        if self.tails == Tails::Circular {
            for placed in &mut placed {
                *placed = self.turned(*placed);
            }
        }
        for (moved, &placed) in moved.iter_mut().zip(&placed) {
            *moved = clamp(placed, E::of(-self.bound), E::of(self.bound));
        }
        (placed, moved)
    }

    /// `x` less whole turns of 2B.
    #[inline(always)]
    pub(super) fn turned<E: Real>(&self, x: E) -> E {
        let (bound, turn) = (E::of(self.bound), E::of(2.0 * self.bound));
        let rest = x - turn * ((x + bound) / turn).floor();
        clamp(rest, -bound, bound)
    }
}

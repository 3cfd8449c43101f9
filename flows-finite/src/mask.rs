//! Masks of coupling layers.

use flows_core::{Error, Result, Shape, Stream};
use rand::seq::SliceRandom;

/// The mask of a coupling layer: features that condition, and features that are transformed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    transformed: Vec<bool>,
}

impl Mask {
    /// A mask with `true` for transformed features.
    ///
    /// # Errors
    /// [`Error::Parameter`] if nothing is transformed.
    pub fn new(transformed: Vec<bool>) -> Result<Self> {
        if transformed.iter().any(|&t| t) {
            return Ok(Self { transformed });
        }
        let (name, requirement) = ("number of transformed features of a mask", "at least 1");
        Err(Error::Parameter { name, requirement, value: 0.0 })
    }

    /// Transforms the second half, or with `flipped` the first; a single feature is transformed.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features.
    pub fn halves(dim: usize, flipped: bool) -> Result<Self> {
        let split = dim / 2;
        Self::new((0..dim).map(|i| dim == 1 || (i < split) == flipped).collect())
    }

    /// Transforms every other feature: the odd ones, or with `flipped` the even ones.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features.
    pub fn alternating(dim: usize, flipped: bool) -> Result<Self> {
        Self::new((0..dim).map(|i| dim == 1 || (i % 2 == 0) == flipped).collect())
    }

    /// Transforms a random half, rounded up.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features.
    pub fn random(dim: usize, rng: &mut Stream) -> Result<Self> {
        let mut transformed: Vec<bool> = (0..dim).map(|i| i < dim.div_ceil(2)).collect();
        transformed.shuffle(rng);
        Self::new(transformed)
    }

    /// A checkerboard: transforms the pixels of an image with y + x odd, in all channels, or with
    /// `flipped` those with y + x even; a single pixel is transformed (Real NVP, figure 3, left).
    ///
    /// # Errors
    /// [`Error::Parameter`] without features.
    pub fn checkerboard(shape: Shape, flipped: bool) -> Result<Self> {
        let pixels = shape.pixels();
        let odd = |i: usize| (i % pixels / shape.width + i % shape.width) % 2 == 1;
        Self::new((0..shape.dim()).map(|i| pixels == 1 || odd(i) != flipped).collect())
    }

    /// Transforms the second half of the channels of an image, or with `flipped` the first; a
    /// single channel is transformed (Real NVP, figure 3, right).
    ///
    /// # Errors
    /// [`Error::Parameter`] without features.
    pub fn channels(shape: Shape, flipped: bool) -> Result<Self> {
        let split = shape.channels / 2 * shape.pixels();
        Self::new((0..shape.dim()).map(|i| shape.channels == 1 || (i < split) == flipped).collect())
    }

    /// Number of features.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.transformed.len()
    }

    /// The transformed features, in order.
    #[must_use]
    pub fn transformed(&self) -> Vec<usize> {
        (0..self.dim()).filter(|&i| self.transformed[i]).collect()
    }

    /// The conditioning features, which stay as they are, in order.
    #[must_use]
    pub fn kept(&self) -> Vec<usize> {
        (0..self.dim()).filter(|&i| !self.transformed[i]).collect()
    }
}

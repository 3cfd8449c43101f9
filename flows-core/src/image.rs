//! Images as rows of features.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Size of an image; its features are channel-major: row y, column x of channel c is feature
/// `(c * height + y) * width + x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Number of channels C.
    pub channels: usize,
    /// Rows of pixels H.
    pub height: usize,
    /// Columns of pixels W.
    pub width: usize,
}

impl Shape {
    /// Number of features, C H W.
    #[must_use]
    pub fn dim(self) -> usize {
        self.channels * self.pixels()
    }

    /// Features of a channel, H W.
    #[must_use]
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// (4C, H/2, W/2): the size after a squeeze, which makes channels of squares of four pixels.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless height and width are even and not 0.
    pub fn squeezed(self) -> Result<Self> {
        for size in [self.height, self.width] {
            if size == 0 || !size.is_multiple_of(2) {
                let (name, requirement) =
                    ("height and width of a squeezed image", "even and at least 2");
                return Err(Error::Parameter { name, requirement, value: size as f64 });
            }
        }
        let (height, width) = (self.height / 2, self.width / 2);
        Ok(Self { channels: 4 * self.channels, height, width })
    }
}

//! The key to the colours of a density image.

use anyhow::Result;

use super::raster::Raster;
use super::{Figure, Frame, palette, panel};

/// A strip from no density to the largest one.
pub(crate) fn colour_bar() -> Result<Figure> {
    let raster = Raster {
        width: usize::from(palette::LAST_INDEX) + 1,
        height: 1,
        indices: (0..=palette::LAST_INDEX).collect(),
        palette: palette::density(),
    };
    let frame = Frame {
        x: [0.0, 1.0],
        y: [0.0, 1.0],
        x_name: "density / largest density".into(),
        y_name: String::new(),
        aspect: 0.09,
    };
    let words = "Colour scale: from 0, dark violet, to 1, yellow, in units of the largest density";
    panel::strip(&frame, &raster, words.into())
}

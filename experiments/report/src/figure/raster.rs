//! An image of at most 256 colours, as a PNG inside a data URI.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Pixels as indices into a palette, top row first.
#[derive(Debug)]
pub(crate) struct Raster {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) indices: Vec<u8>,
    /// Three bytes for each colour.
    pub(crate) palette: Vec<u8>,
}

impl Raster {
    /// Whether the ground of the image is white.
    pub(crate) fn is_on_white(&self) -> bool {
        self.palette.starts_with(&[255; 3])
    }

    /// The image as `data:image/png;base64,…`.
    pub(crate) fn data_uri(&self) -> Result<String> {
        Ok(format!("data:image/png;base64,{}", STANDARD.encode(self.png()?)))
    }

    fn png(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let (width, height) = (u32::try_from(self.width)?, u32::try_from(self.height)?);
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(self.palette.as_slice());
        encoder.set_compression(png::Compression::Best);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&self.indices))
            .context("encoding an image")?;
        Ok(bytes)
    }
}

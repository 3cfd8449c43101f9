//! Images beside and below each other, as dark ink on white.

use anyhow::{Result, ensure};
use flows_core::Shape;

use super::raster::Raster;
use super::{Figure, palette, panel};
use crate::record::Matrix;

/// Sides of the square that a pixel is drawn as, so that no viewer blurs it.
const PIXEL: usize = 6;

/// Pixels between images.
const GAP: usize = 1;

/// The first rows of a table as images.
pub(crate) struct Mosaic<'a> {
    /// An image a row; its features are channel by channel, row by row.
    pub(crate) table: &'a Matrix,
    pub(crate) shape: Shape,
    /// Images beside each other.
    pub(crate) columns: usize,
    /// Most images.
    pub(crate) most: usize,
    /// What is white and what is black; beyond is cut off.
    pub(crate) range: [f64; 2],
}

impl Mosaic<'_> {
    /// The images in reading order; of several channels the mean is shown.
    ///
    /// # Errors
    /// Rows that are no images of this size.
    pub(crate) fn draw(&self, description: String) -> Result<Figure> {
        let Self { table, shape, columns, most, .. } = *self;
        let count = table.rows.min(most);
        ensure!(count > 0 && columns > 0, "there are no images");
        let (got, dim) = (table.columns, shape.dim());
        ensure!(got == dim, "images: expected {dim} columns, got {got}");
        let across = columns.min(count);
        let width = across * (shape.width + GAP) - GAP;
        let height = count.div_ceil(across) * (shape.height + GAP) - GAP;
        let mut cells = vec![palette::MISSING_INDEX; width * height];
        for image in 0..count {
            let left = image % across * (shape.width + GAP);
            let top = image / across * (shape.height + GAP);
            let row = table.row(image);
            for pixel in 0..shape.pixels() {
                let (y, x) = (top + pixel / shape.width, left + pixel % shape.width);
                cells[y * width + x] = self.shade(row, pixel);
            }
        }
        let enlarged = (0..height * PIXEL).flat_map(|y| {
            let line = &cells[y / PIXEL * width..][..width];
            line.iter().flat_map(|&cell| [cell; PIXEL])
        });
        let raster = Raster {
            width: width * PIXEL,
            height: height * PIXEL,
            indices: enlarged.collect(),
            palette: palette::ink(),
        };
        panel::bare(&raster, description)
    }

    fn shade(&self, image: &[f64], pixel: usize) -> u8 {
        let channels = image.iter().skip(pixel).step_by(self.shape.pixels());
        let mean = channels.sum::<f64>() / self.shape.channels as f64;
        let [white, black] = self.range;
        let share = (mean - white) / (black - white);
        if share.is_nan() {
            return palette::MISSING_INDEX;
        }
        (share.clamp(0.0, 1.0) * f64::from(palette::LAST_INDEX)).round() as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_run_from_white_to_black_over_the_mean_of_channels() {
        let shape = Shape { channels: 2, height: 1, width: 2 };
        let table = Matrix { rows: 1, columns: 4, values: vec![0.0, 4.0, 2.0, f64::NAN] };
        let mosaic = Mosaic { table: &table, shape, columns: 1, most: 1, range: [0.0, 2.0] };
        assert_eq!(mosaic.shade(&table.values, 0), 127);
        assert_eq!(mosaic.shade(&table.values, 1), palette::MISSING_INDEX);
        assert_eq!(mosaic.shade(&[9.0; 4], 0), palette::LAST_INDEX);
        let other = Matrix { rows: 1, columns: 3, values: vec![0.0; 3] };
        let error = Mosaic { table: &other, ..mosaic }.draw(String::new()).unwrap_err();
        assert_eq!(error.to_string(), "images: expected 4 columns, got 3");
    }
}

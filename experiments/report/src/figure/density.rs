//! The density of a two-dimensional problem or flow, as an image.

use anyhow::{Result, ensure};

use super::raster::Raster;
use super::{Figure, Frame, palette, panel};
use crate::record::Matrix;

/// Largest density of a grid of log-densities, where there is a finite one.
pub(crate) fn maximum(log_density: &Matrix) -> Option<f64> {
    let finite = log_density.values.iter().copied().filter(|value| value.is_finite());
    finite.reduce(f64::max).map(f64::exp).filter(|maximum| *maximum > 0.0)
}

/// Draws exp(`log_density`) / `maximum`, cut off at one, with row 0 at the bottom of `frame`.
pub(crate) fn draw(
    frame: &Frame,
    log_density: &Matrix,
    maximum: f64,
    description: String,
) -> Result<Figure> {
    ensure!(!log_density.values.is_empty(), "the grid of densities is empty");
    let rows = (0..log_density.rows).rev().flat_map(|row| log_density.row(row));
    let raster = Raster {
        width: log_density.columns,
        height: log_density.rows,
        indices: rows.map(|value| index(*value, maximum)).collect(),
        palette: palette::density(),
    };
    panel::draw(frame, &raster, description)
}

fn index(log_density: f64, maximum: f64) -> u8 {
    if log_density.is_nan() {
        return palette::MISSING_INDEX;
    }
    let share = (log_density.exp() / maximum).clamp(0.0, 1.0);
    (share * f64::from(palette::LAST_INDEX)).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_density_and_mark_missing_cells() {
        assert_eq!(index(f64::NEG_INFINITY, 2.0), 0);
        assert_eq!(index(1f64.ln(), 2.0), 127);
        assert_eq!(index(7f64.ln(), 2.0), palette::LAST_INDEX);
        assert_eq!(index(f64::NAN, 2.0), palette::MISSING_INDEX);
    }
}

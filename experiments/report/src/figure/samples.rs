//! A scatter plot of two features, as an image.

use anyhow::Result;

use super::raster::Raster;
use super::{Figure, Frame, palette, panel};
use crate::record::Matrix;

/// Pixels across a panel.
const WIDTH: usize = 440;
/// Radius of a point in pixels.
const RADIUS: f64 = 2.0;

/// Two columns of a table and how many of its rows are drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Points<'a> {
    pub(crate) table: &'a Matrix,
    pub(crate) columns: [usize; 2],
    pub(crate) rows: usize,
}

impl Points<'_> {
    fn iter(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let [i, j] = self.columns;
        (0..self.rows.min(self.table.rows)).map(move |row| {
            let row = self.table.row(row);
            (row[i], row[j])
        })
    }

    /// Share of the drawn rows that lie outside `frame` or are not finite.
    pub(crate) fn outside(&self, frame: &Frame) -> f64 {
        let inside = |x: f64, [low, high]: [f64; 2]| x >= low && x <= high;
        let outside = self.iter().filter(|(x, y)| !inside(*x, frame.x) || !inside(*y, frame.y));
        outside.count() as f64 / self.rows.min(self.table.rows).max(1) as f64
    }
}

/// Draws translucent points inside `frame`.
pub(crate) fn draw(frame: &Frame, points: Points<'_>, description: String) -> Result<Figure> {
    let height = ((WIDTH as f64 * frame.aspect).round() as usize).max(1);
    let places = points.iter().map(|(x, y)| {
        let across = (x - frame.x[0]) / (frame.x[1] - frame.x[0]) * WIDTH as f64;
        let down = (frame.y[1] - y) / (frame.y[1] - frame.y[0]) * height as f64;
        (across, down)
    });
    let light = darkened((WIDTH, height), places.collect::<Vec<_>>().into_iter());
    let last = f64::from(palette::LAST_INDEX);
    let raster = Raster {
        width: WIDTH,
        height,
        indices: light.iter().map(|light| ((1.0 - light) * last).round() as u8).collect(),
        palette: palette::points(),
    };
    panel::draw(frame, &raster, description)
}

/// Of each pixel, row after row, the share of the light that is left.
pub(super) type Light = Vec<f64>;

/// Translucent points at `places`, in pixels from the upper left; the more of them, the fainter.
pub(super) fn darkened(
    size: (usize, usize),
    places: impl ExactSizeIterator<Item = (f64, f64)>,
) -> Light {
    let mut light = vec![1.0; size.0 * size.1];
    let opacity = (900.0 / places.len().max(1) as f64).clamp(0.3, 0.8);
    places.for_each(|place| blot(&mut light, size, place, opacity));
    light
}

/// Lets a disc at `centre` take its share of the light that is left.
fn blot(light: &mut [f64], size: (usize, usize), centre: (f64, f64), opacity: f64) {
    let reach = RADIUS + 1.0;
    let pixels = |centre: f64, size: usize| {
        let low = (centre - reach).max(0.0).floor() as usize;
        let high = (centre + reach).clamp(0.0, size as f64).ceil() as usize;
        low..high.min(size)
    };
    if !(centre.0.is_finite() && centre.1.is_finite()) {
        return;
    }
    for row in pixels(centre.1, size.1) {
        for column in pixels(centre.0, size.0) {
            let (dx, dy) = (column as f64 + 0.5 - centre.0, row as f64 + 0.5 - centre.1);
            // Smooths the rim over one pixel.
            let cover = (RADIUS + 0.5 - dx.hypot(dy)).clamp(0.0, 1.0);
            light[row * size.0 + column] *= 1.0 - opacity * cover;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_outside_the_frame_are_counted() {
        let table = Matrix { rows: 3, columns: 2, values: vec![0., 0., 5., 0., f64::NAN, 0.] };
        let frame = Frame::window([-1., 1., -1., 1.], ["x1".into(), "x2".into()]);
        let points = Points { table: &table, columns: [0, 1], rows: 3 };
        assert_eq!(points.outside(&frame), 2.0 / 3.0);
        assert!(draw(&frame, points, String::new()).is_ok());
    }

    #[test]
    fn a_point_darkens_the_pixel_it_falls_on() {
        let mut light = vec![1.0; 100];
        blot(&mut light, (10, 10), (5.5, 2.5), 0.5);
        assert_eq!(light[25], 0.5);
        assert_eq!(light[95], 1.0);
        blot(&mut light, (10, 10), (1e300, -4.0), 0.5);
    }
}

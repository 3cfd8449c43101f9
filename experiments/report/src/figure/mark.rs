//! Marks of several shapes, so that curves and points can be told apart without colour.

use anyhow::Result;
use plotters::prelude::{Circle, Color, EmptyElement, PathElement, Polygon};
use plotters::style::RGBColor;

use super::Canvas;
use super::chart::Chart;

/// Half the width of a mark in a key.
pub(crate) const RADIUS: i32 = 12;

/// Width of the line of a hollow mark.
const STROKE: u32 = 4;

/// A shape; the first shapes of a list are filled, and then come the same hollow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    outline: Outline,
    hollow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outline {
    Circle,
    Square,
    Diamond,
    Up,
    Down,
    Right,
}

impl Mark {
    /// Round or square.
    const BLUNT: [Outline; 3] = [Outline::Circle, Outline::Square, Outline::Diamond];

    /// With three corners.
    const POINTED: [Outline; 3] = [Outline::Up, Outline::Down, Outline::Right];

    /// Of the curve at `index` of a plot: twelve that differ.
    pub(crate) fn of_series(index: usize) -> Self {
        match index / 3 % 2 {
            0 => Self::of(Self::BLUNT, index % 3 + index / 6 * 3),
            _ => Self::of(Self::POINTED, index % 3 + index / 6 * 3),
        }
    }

    /// Round or square, of the `index`th: six that differ.
    pub(crate) fn blunt(index: usize) -> Self {
        Self::of(Self::BLUNT, index)
    }

    /// With three corners, of the `index`th: six that differ.
    pub(crate) fn pointed(index: usize) -> Self {
        Self::of(Self::POINTED, index)
    }

    fn of(outlines: [Outline; 3], index: usize) -> Self {
        Self { outline: outlines[index % 3], hollow: index / 3 % 2 == 1 }
    }

    /// Draws it around a pixel of `canvas`.
    pub(crate) fn draw(
        self,
        canvas: &Canvas<'_>,
        at: (i32, i32),
        (radius, colour): (i32, RGBColor),
    ) -> Result<()> {
        let (r, origin) = (radius, EmptyElement::at(at));
        let corners: Vec<(i32, i32)> = match self.outline {
            Outline::Circle => {
                let style = if self.hollow { colour.stroke_width(STROKE) } else { colour.filled() };
                canvas.draw(&(origin + Circle::new((0, 0), r, style)))?;
                return Ok(());
            }
            Outline::Square => vec![(-r, -r), (r, -r), (r, r), (-r, r)],
            Outline::Diamond => vec![(0, -r - 4), (r + 4, 0), (0, r + 4), (-r - 4, 0)],
            Outline::Up => vec![(0, -r - 4), (r + 3, r - 1), (-r - 3, r - 1)],
            Outline::Down => vec![(0, r + 4), (r + 3, 1 - r), (-r - 3, 1 - r)],
            Outline::Right => vec![(r + 4, 0), (1 - r, r + 3), (1 - r, -r - 3)],
        };
        if self.hollow {
            // Back to the start, and once more along the first side, for a whole corner.
            let path: Vec<_> = corners.iter().chain(&corners[..2]).copied().collect();
            canvas.draw(&(origin + PathElement::new(path, colour.stroke_width(STROKE))))?;
        } else {
            canvas.draw(&(origin + Polygon::new(corners, colour.filled())))?;
        }
        Ok(())
    }

    /// Draws it on a curve: at its end, and at a place within that differs from those of its neighbours.
    pub(crate) fn on_curve(
        self,
        (canvas, chart): (&Canvas<'_>, &Chart<'_, '_>),
        points: &[(f64, f64)],
        (index, colour): (usize, RGBColor),
    ) -> Result<()> {
        let Some(last) = points.last() else { return Ok(()) };
        let within = points.get((points.len() - 1) * (1 + index % 6) / 7);
        for point in within.into_iter().chain([last]) {
            let (x, y) = chart.plotting_area().map_coordinate(point);
            let (left, top) = canvas.get_base_pixel();
            self.draw(canvas, (x - left, y - top), (RADIUS - 3, colour))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_series_and_six_flows_of_a_family_have_marks_of_their_own() {
        let differ =
            |marks: Vec<Mark>| marks.iter().enumerate().all(|(i, mark)| !marks[..i].contains(mark));
        assert!(differ((0..12).map(Mark::of_series).collect()));
        assert!(differ((0..6).map(Mark::blunt).chain((0..6).map(Mark::pointed)).collect()));
        assert_eq!(Mark::of_series(12), Mark::of_series(0));
    }
}

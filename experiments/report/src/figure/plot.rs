//! Curves of a study over one pair of axes.

use anyhow::Result;
use plotters::element::DashedPathElement;
use plotters::prelude::{Color, PathElement, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::{Axis, Scale as Kind};
use super::chart::{Chart, LETTERS, frame};
use super::legend::DASH;
use super::mark::{Mark, RADIUS};
use super::{Canvas, Figure, Width, palette, text};
use crate::finding::{Plot, Scale, Series, Stroke};

const PLOT: u32 = 700;
/// Height of one row of the key.
const ROW: u32 = 50;
/// Room to the left of the key.
const LEFT: i32 = 150;
/// Letters that all words of an axis have room for together.
const WORDS: usize = 48;
/// Width of a swatch of the key.
const SWATCH: i32 = 72;

/// Draws all curves of a plot with a key below them.
pub(crate) fn draw(plot: &Plot, width: Width) -> Result<Figure> {
    let down = width.height(PLOT);
    let x = axis(&plot.x, plot.series.iter().flat_map(|s| s.points.iter().map(|p| p[0])), 0.02);
    let y = axis(&plot.y, plot.series.iter().flat_map(heights), 0.06);
    let size = (width.units(), down + ROW * plot.series.len() as u32 + 24);
    Figure::paint(size, plot.title.clone(), |canvas| {
        let (area, key) = canvas.split_vertically(down);
        let chart = frame(&area, (&x, &y), [&plot.x.name, &plot.y.name])?;
        for (index, series) in plot.series.iter().enumerate() {
            curve((&area, &chart), series, index, (&x, &y))?;
        }
        let style = text(LETTERS).pos(Pos::new(HPos::Left, VPos::Center));
        for (index, series) in plot.series.iter().enumerate() {
            let row = (ROW * index as u32 + ROW / 2 + 12) as i32;
            let joined = series.stroke == Stroke::Markers && !series.fitted.is_empty();
            let stroke = if joined { Stroke::Measured } else { series.stroke };
            swatch(&key, stroke, index, row)?;
            let place = (LEFT + SWATCH + 20, row);
            key.draw(&Text::new(series.name.as_str(), place, style.clone()))?;
        }
        Ok(())
    })
}

/// Values and the ends of their bars; a bar that reaches towards zero stretches no axis.
fn heights(series: &Series) -> impl Iterator<Item = f64> + '_ {
    series.points.iter().enumerate().flat_map(|(i, &[_, y])| {
        let error = series.errors.get(i).copied().unwrap_or(0.0);
        [y, y + error, (y - error).max(y.min(y / 3.0))]
    })
}

fn axis(scale: &Scale, values: impl Iterator<Item = f64>, margin: f64) -> Axis {
    match (&scale.words[..], scale.logarithmic) {
        ([], true) => Axis::log(values),
        ([], false) => Axis::around(values, margin, 6),
        (words, _) => Axis::words(words, WORDS / words.len()),
    }
}

/// Whether an axis can show a value.
fn shown(axis: &Axis, value: f64) -> bool {
    axis.scale == Kind::Linear || value > 0.0
}

fn curve(
    (canvas, chart): (&Canvas<'_>, &Chart<'_, '_>),
    series: &Series,
    index: usize,
    (x, y): (&Axis, &Axis),
) -> Result<()> {
    let (colour, mark) = (palette::flow(index), Mark::of_series(index));
    let points = series.points.iter().enumerate();
    let points: Vec<(usize, (f64, f64))> = points
        .filter(|(_, p)| shown(x, p[0]) && shown(y, p[1]))
        .map(|(i, p)| (i, (p[0], p[1])))
        .collect();
    let path: Vec<(f64, f64)> = points.iter().map(|&(_, point)| point).collect();
    let style = colour.stroke_width(5);
    let area = chart.plotting_area();
    if !series.fitted.is_empty() {
        let fitted = series.fitted.iter().map(|p| (p[0], p[1]));
        area.draw(&PathElement::new(fitted.collect::<Vec<_>>(), colour.stroke_width(3)))?;
    }
    match series.stroke {
        Stroke::Reference => {
            area.draw(&DashedPathElement::new(path, DASH.0, DASH.1, style))?;
            return Ok(());
        }
        Stroke::Line => {
            area.draw(&PathElement::new(path.clone(), style))?;
            return mark.on_curve((canvas, chart), &path, (index, colour));
        }
        Stroke::Measured => area.draw(&PathElement::new(path, colour.stroke_width(3)))?,
        Stroke::Markers => {}
    }
    for (i, point) in points {
        if let Some(error) = series.errors.get(i) {
            let ends = [point.1 - error, point.1 + error].map(|end| (point.0, end.max(y.low)));
            area.draw(&PathElement::new(ends, colour.stroke_width(4)))?;
        }
        let (x, y) = area.map_coordinate(&point);
        let (left, top) = canvas.get_base_pixel();
        mark.draw(canvas, (x - left, y - top), (RADIUS - 3, colour))?;
    }
    Ok(())
}

fn swatch(canvas: &Canvas<'_>, stroke: Stroke, index: usize, row: i32) -> Result<()> {
    let colour = palette::flow(index);
    let ends = [(LEFT, row), (LEFT + SWATCH, row)];
    let style = colour.stroke_width(5);
    match stroke {
        Stroke::Reference => {
            canvas.draw(&DashedPathElement::new(ends, DASH.0, DASH.1, style))?;
        }
        Stroke::Line => canvas.draw(&PathElement::new(ends, style))?,
        Stroke::Measured => canvas.draw(&PathElement::new(ends, colour.stroke_width(3)))?,
        Stroke::Markers => {}
    }
    if stroke == Stroke::Reference {
        return Ok(());
    }
    Mark::of_series(index).draw(canvas, (LEFT + SWATCH / 2, row), (RADIUS - 3, colour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_is_drawn_and_named() {
        let mut plot = Plot::new("Error", Scale::log("steps"), Scale::log("error"));
        plot.series("measured", Stroke::Measured, [[1.0, 1.0], [10.0, 0.0], [100.0, 1e-4]]);
        plot.series("slope", Stroke::Reference, [[1.0, 1.0], [100.0, 1e-4]]);
        let svg = draw(&plot, Width::Page).unwrap_or_else(|e| unreachable!("{e:#}")).document();
        assert!(svg.contains("measured") && svg.contains("slope") && svg.contains("steps"));
    }

    #[test]
    fn a_fitted_curve_is_one_line_more() {
        let lines = |fitted: Vec<[f64; 2]>| {
            let mut plot = Plot::new("Time", Scale::log("rows"), Scale::log("seconds"));
            plot.fitted("exponent 1.0", [[1.0, 1.0], [10.0, 11.0]], fitted);
            let svg = draw(&plot, Width::Page).unwrap_or_else(|e| unreachable!("{e:#}")).document();
            svg.matches("<polyline").count()
        };
        // In the figure and in its key.
        assert_eq!(lines(vec![[1.0, 1.0], [10.0, 10.0]]), lines(vec![]) + 2);
    }
}

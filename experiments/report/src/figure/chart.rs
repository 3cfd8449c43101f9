//! A pair of axes with names and grid, as charts have it.

use anyhow::Result;
use plotters::prelude::{Cartesian2d, ChartBuilder, ChartContext, Color, SVGBackend};

use super::axis::Axis;
use super::{Canvas, palette, text, text_width};

/// Size of the letters of axes and keys.
pub(super) const LETTERS: f64 = 34.0;

pub(super) type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// Draws axes on all of `canvas`.
pub(super) fn frame<'a, 'b>(
    canvas: &'a Canvas<'b>,
    (x, y): (&Axis, &Axis),
    [x_name, y_name]: [&str; 2],
) -> Result<Chart<'a, 'b>> {
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(20)
        .margin_left(14)
        .margin_right(48)
        .x_label_area_size(104)
        .y_label_area_size(54 + text_width(y.widest(), LETTERS))
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .bold_line_style(palette::GRID.stroke_width(2))
        .max_light_lines(0)
        .axis_style(palette::INK.stroke_width(2))
        .label_style(text(LETTERS))
        .axis_desc_style(text(LETTERS))
        .x_desc(x_name)
        .y_desc(y_name)
        .draw()?;
    Ok(chart)
}

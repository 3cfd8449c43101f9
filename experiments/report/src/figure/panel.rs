//! A square-ish panel: an image inside a frame with ticks and axis names.

use anyhow::Result;
use plotters::prelude::{ChartBuilder, Color};

use super::axis::Axis;
use super::raster::Raster;
use super::{Figure, palette, shortened, text, text_width};

/// Limits and names of the two axes of a panel.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) x: [f64; 2],
    pub(crate) y: [f64; 2],
    pub(crate) x_name: String,
    pub(crate) y_name: String,
    /// Height of the panel over its width.
    pub(crate) aspect: f64,
}

impl Frame {
    /// `[x0, x1, y0, y1]` with a unit of the same length on both axes.
    pub(crate) fn window([x0, x1, y0, y1]: [f64; 4], names: [String; 2]) -> Self {
        let [x_name, y_name] = names;
        let ratio = (y1 - y0) / (x1 - x0);
        let aspect = if ratio.is_finite() { ratio.clamp(0.25, 4.0) } else { 1.0 };
        Self { x: [x0, x1], y: [y0, y1], x_name, y_name, aspect }
    }

    /// A square panel for features that have units of their own.
    pub(crate) fn square(x: [f64; 2], y: [f64; 2], names: [String; 2]) -> Self {
        let [x_name, y_name] = names;
        Self { x, y, x_name, y_name, aspect: 1.0 }
    }
}

const WIDTH: u32 = 500;
const BOTTOM: u32 = 100;
/// Width of the name of the vertical axis and of the gaps beside its labels.
const NAME: u32 = 64;
const RIGHT: u32 = 24;
const MARGIN: u32 = 8;
const TOP: u32 = 18;
const LETTERS: f64 = 38.0;
/// Letters of a name that its axis has room for.
const NAME_LETTERS: usize = 22;

/// Draws `raster` so that it fills `frame`.
pub(super) fn draw(frame: &Frame, raster: &Raster, description: String) -> Result<Figure> {
    let height = (f64::from(WIDTH) * frame.aspect).round() as u32;
    let x = horizontal(frame.x);
    let y = Axis::linear(frame.y[0], frame.y[1], 4);
    let left = NAME + text_width(y.widest(), LETTERS);
    let size = (left + WIDTH + RIGHT, TOP + height + BOTTOM);
    let mut figure = Figure::paint(size, description, |canvas| {
        let mut chart = ChartBuilder::on(canvas)
            .margin_top(TOP)
            .margin_left(MARGIN)
            .margin_right(RIGHT)
            .x_label_area_size(BOTTOM)
            .y_label_area_size(left - MARGIN)
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .disable_mesh()
            .axis_style(palette::INK.stroke_width(2))
            .label_style(text(LETTERS))
            .axis_desc_style(text(LETTERS))
            .x_desc(shortened(&frame.x_name, NAME_LETTERS))
            .y_desc(shortened(&frame.y_name, NAME_LETTERS))
            .draw()?;
        Ok(())
    })?;
    fill(&mut figure, (left, TOP, height), raster)?;
    Ok(figure)
}

/// A horizontal axis with as many ticks as there is room for their labels.
fn horizontal([low, high]: [f64; 2]) -> Axis {
    let fits = |axis: &Axis| {
        // One letter's width between labels.
        axis.ticks.len() as u32 * text_width(axis.widest() + 1, LETTERS) <= WIDTH
    };
    let axes = [4, 3, 2].map(|count| Axis::linear(low, high, count));
    axes.iter().find(|axis| fits(axis)).unwrap_or(&axes[2]).clone()
}

/// Draws `raster` as a strip with a horizontal axis only.
pub(super) fn strip(frame: &Frame, raster: &Raster, description: String) -> Result<Figure> {
    let height = (f64::from(WIDTH) * frame.aspect).round() as u32;
    let x = horizontal(frame.x);
    let size = (2 * RIGHT + WIDTH, TOP + height + BOTTOM);
    let mut figure = Figure::paint(size, description, |canvas| {
        let mut chart = ChartBuilder::on(canvas)
            .margin_top(TOP)
            .margin_left(RIGHT)
            .margin_right(RIGHT)
            .x_label_area_size(BOTTOM)
            .build_cartesian_2d(x.clone(), frame.y[0]..frame.y[1])?;
        chart
            .configure_mesh()
            .disable_mesh()
            .disable_y_axis()
            .axis_style(palette::INK.stroke_width(2))
            .label_style(text(LETTERS))
            .axis_desc_style(text(LETTERS))
            .x_desc(frame.x_name.as_str())
            .draw()?;
        Ok(())
    })?;
    fill(&mut figure, (RIGHT, TOP, height), raster)?;
    Ok(figure)
}

/// Draws `raster` alone.
pub(super) fn bare(raster: &Raster, description: String) -> Result<Figure> {
    let aspect = raster.height as f64 / raster.width as f64;
    let height = (f64::from(WIDTH) * aspect).round() as u32;
    let size = (2 * MARGIN + WIDTH, 2 * MARGIN + height);
    let mut figure = Figure::paint(size, description, |_| Ok(()))?;
    fill(&mut figure, (MARGIN, MARGIN, height), raster)?;
    Ok(figure)
}

/// Lays the image over the plotting area, and a frame over the image.
fn fill(figure: &mut Figure, (left, top, height): (u32, u32, u32), raster: &Raster) -> Result<()> {
    let place = format!("x=\"{left}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{height}\"");
    let class = if raster.is_on_white() { "class=\"on-white\" " } else { "" };
    figure.add(&format!(
        "<image {place} {class}preserveAspectRatio=\"none\" href=\"{}\"/>\n\
         <rect {place} fill=\"none\" stroke=\"#222222\" stroke-width=\"2\"/>",
        raster.data_uri()?
    ));
    Ok(())
}

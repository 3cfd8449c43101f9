//! Figures of a comparison, as functions of what its result files hold.
//!
//! Every figure is SVG on white; on a dark page the style of the page turns ground and ink around. Images
//! inside it are PNG. Lengths are in units of half a pixel or less: the plotting
//! library places lines on whole units.

mod axis;
pub(crate) mod calibration;
mod chart;
mod clip;
mod colour_bar;
pub(crate) mod corner;
pub(crate) mod cost;
pub(crate) mod density;
mod font;
pub(crate) mod learning;
mod legend;
mod mark;
pub(crate) mod mosaic;
pub(crate) mod pairs;
mod palette;
mod panel;
mod paper;
pub(crate) mod plot;
mod raster;
pub(crate) mod samples;
pub(crate) mod transport;
mod width;

use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea, SVGBackend, TextStyle, WHITE};
use plotters::style::IntoFont;

pub(crate) use axis::scientific;
pub(crate) use colour_bar::colour_bar;
pub(crate) use legend::Look;
pub(crate) use panel::Frame;
pub(crate) use width::Width;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A finished drawing.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    width: u32,
    height: u32,
    /// The elements between `<svg …>` and `</svg>`.
    body: String,
    description: String,
}

impl Figure {
    /// Runs `paint` on an empty white canvas.
    fn paint(
        (width, height): (u32, u32),
        description: String,
        paint: impl FnOnce(&Canvas<'_>) -> Result<()>,
    ) -> Result<Self> {
        font::register()?;
        let mut svg = String::new();
        let canvas = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        canvas.fill(&WHITE)?;
        paint(&canvas)?;
        canvas.present()?;
        drop(canvas);
        let start = svg.find('>').context("the drawing has no root element")? + 1;
        let end = svg.rfind("</svg>").context("the drawing has no end")?;
        Ok(Self { width, height, body: svg[start..end].trim().to_owned(), description })
    }

    /// Adds elements above all others.
    fn add(&mut self, elements: &str) {
        self.body.push('\n');
        self.body.push_str(elements);
    }

    /// What it shows, in words.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// The element to put into an HTML page.
    pub(crate) fn inline(&self) -> String {
        let (width, height) = (self.width, self.height);
        let label = escape(&self.description);
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\">\n{}\n</svg>",
            self.body
        )
    }

    /// The content of an SVG file.
    pub(crate) fn document(&self) -> String {
        let (width, height) = (self.width, self.height);
        let title = escape(&self.description);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" \
             viewBox=\"0 0 {width} {height}\">\n<title>{title}</title>\n{}\n</svg>\n",
            width / 2,
            height / 2,
            self.body
        )
    }
}

/// Text as the content of an element or a quoted attribute, in HTML or SVG.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Not allowed in either language, not even as a reference.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The beginning of a name that is longer than `most` letters.
fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    name.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Upper bound for the width of a letter or digit over the height of the font.
const LETTER_WIDTH: f64 = 0.57;

/// Width of `letters` in a font of `size` units.
fn text_width(letters: usize, size: f64) -> u32 {
    (letters as f64 * size * LETTER_WIDTH).ceil() as u32
}

/// A text style whose letters are `size` units tall.
fn text(size: f64) -> TextStyle<'static> {
    // The SVG backend divides by this factor.
    const BACKEND_FACTOR: f64 = 1.24;
    TextStyle::from((font::FAMILY, size * BACKEND_FACTOR).into_font()).color(&palette::INK)
}

//! The key below a figure: which line or marker belongs to which flow.

use anyhow::Result;
use plotters::element::DashedPathElement;
use plotters::prelude::{Color, PathElement, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::chart::LETTERS;
use super::mark::{self, Mark};
use super::{Canvas, palette, text, text_width};
use crate::record::Family;

/// How a flow looks in every figure of a comparison.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) title: String,
    pub(crate) family: Family,
    /// Position of the flow in the comparison.
    pub(crate) index: usize,
}

impl Look {
    /// Round or square when finite, with three corners when continuous.
    pub(crate) fn mark(&self) -> Mark {
        match self.family {
            Family::Finite => Mark::blunt(self.index),
            Family::Continuous => Mark::pointed(self.index),
        }
    }
}

/// What stands in front of each title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Line,
    Marker,
}

/// Height of one row of the key.
const ROW: u32 = 50;
/// Room above the first row.
const TOP: u32 = 26;
/// Room to the left of the first column.
const LEFT: i32 = 150;
/// Width of the room in front of a title.
const SWATCH: i32 = 92;
pub(crate) const DASH: (u32, u32) = (16, 9);

/// Height of the key for `looks` on a canvas of some width.
pub(crate) fn height(looks: &[Look], width: u32) -> u32 {
    looks.len().div_ceil(columns(looks, width)) as u32 * ROW + TOP + 14
}

/// Draws the key on all of `canvas`.
pub(crate) fn draw(canvas: &Canvas<'_>, looks: &[Look], key: Key) -> Result<()> {
    let width = canvas.dim_in_pixel().0;
    let columns = columns(looks, width);
    let width = (width as i32 - LEFT) / columns as i32;
    let rows = looks.len().div_ceil(columns);
    let style = text(LETTERS).pos(Pos::new(HPos::Left, VPos::Center));
    for (i, look) in looks.iter().enumerate() {
        let x = LEFT + (i / rows) as i32 * width;
        let y = (i % rows) as i32 * ROW as i32 + (TOP + ROW / 2) as i32;
        match key {
            Key::Line => {
                line(canvas, look, (x, y))?;
                marker(canvas, look, (x + (SWATCH - 20) / 2, y))?;
            }
            Key::Marker => marker(canvas, look, (x + SWATCH / 2, y))?,
        }
        canvas.draw(&Text::new(look.title.as_str(), (x + SWATCH, y), style.clone()))?;
    }
    Ok(())
}

/// As many as there is room for the longest title in, at most three.
fn columns(looks: &[Look], width: u32) -> usize {
    let letters = looks.iter().map(|look| look.title.chars().count()).max().unwrap_or(0);
    // Most letters are narrower than the bound for their width.
    let title = SWATCH as f64 + 0.9 * f64::from(text_width(letters, LETTERS));
    let room = f64::from(width.saturating_sub(LEFT as u32));
    ((room / title) as usize).clamp(1, 3).min(looks.len().max(1))
}

fn line(canvas: &Canvas<'_>, look: &Look, (x, y): (i32, i32)) -> Result<()> {
    let style = palette::flow(look.index).stroke_width(5);
    let points = [(x, y), (x + SWATCH - 20, y)];
    match look.family {
        Family::Finite => canvas.draw(&PathElement::new(points, style))?,
        Family::Continuous => {
            canvas.draw(&DashedPathElement::new(points, DASH.0, DASH.1, style))?;
        }
    }
    Ok(())
}

/// Draws the mark of a flow.
pub(crate) fn marker(canvas: &Canvas<'_>, look: &Look, at: (i32, i32)) -> Result<()> {
    look.mark().draw(canvas, at, (mark::RADIUS, palette::flow(look.index)))
}

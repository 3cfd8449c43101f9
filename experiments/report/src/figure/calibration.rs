//! Ranks of truths among draws: their distribution function less that of uniform ranks.

use anyhow::Result;
use plotters::prelude::{Color, DashedLineSeries, LineSeries};

use super::axis::Axis;
use super::chart::frame;
use super::legend::{self, Key, Look};
use super::{Canvas, Figure, Width, palette};
use crate::record::Family;

/// One run: for each truth its rank among draws, counted from 1, as a share of their number.
#[derive(Clone, Debug)]
pub(crate) struct Ranks {
    pub(crate) look: Look,
    pub(crate) shares: Vec<f64>,
}

const PLOT: u32 = 620;

/// Draws a curve for each run, between the ends of the band in which 95 of 100 curves of calibrated
/// densities lie as a whole.
pub(crate) fn draw(
    runs: &[Ranks],
    band: f64,
    (names, words): ([&str; 2], String),
    width: Width,
) -> Result<Figure> {
    let (across, down) = (width.units(), width.height(PLOT));
    let curves: Vec<Vec<(f64, f64)>> = runs.iter().map(|run| differences(&run.shares)).collect();
    let gaps = curves.iter().flatten().map(|point| point.1.abs());
    let reach = 1.15 * gaps.fold(band, f64::max);
    let axes = (Axis::linear(0.0, 1.0, 5), Axis::linear(-reach, reach, 5));
    let mut looks: Vec<Look> = Vec::new();
    for run in runs {
        if !looks.iter().any(|look| look.index == run.look.index) {
            looks.push(run.look.clone());
        }
    }
    let line = if looks.len() < runs.len() { 3 } else { 5 };
    let size = (across, down + legend::height(&looks, across));
    Figure::paint(size, words, |canvas| {
        let (plot, key) = canvas.split_vertically(down);
        legend::draw(&key, &looks, Key::Line)?;
        let curves: Vec<(&Look, &[(f64, f64)])> =
            runs.iter().map(|run| &run.look).zip(curves.iter().map(Vec::as_slice)).collect();
        lines(&plot, &curves, (&axes, band), (names, line))
    })
}

/// Largest difference of the distribution function of the shares from a uniform one.
pub(crate) fn largest_difference(shares: &[f64]) -> f64 {
    differences(shares).iter().map(|point| point.1.abs()).fold(0.0, f64::max)
}

/// The distribution function of the shares less the share, at each share that occurs: between two of them
/// there is no rank.
fn differences(shares: &[f64]) -> Vec<(f64, f64)> {
    let mut sorted = shares.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let mut points = vec![(0.0, 0.0)];
    let mut below = 0.0;
    for equal in sorted.chunk_by(|a, b| a == b) {
        below += equal.len() as f64;
        points.push((equal[0], below / count - equal[0]));
    }
    points.push((1.0, 0.0));
    points
}

fn lines(
    canvas: &Canvas<'_>,
    curves: &[(&Look, &[(f64, f64)])],
    ((x, y), band): (&(Axis, Axis), f64),
    (names, width): ([&str; 2], u32),
) -> Result<()> {
    let mut chart = frame(canvas, (x, y), names)?;
    for end in [-band, band] {
        let style = palette::INK.stroke_width(2);
        chart.draw_series(DashedLineSeries::new([(0.0, end), (1.0, end)], 4, 8, style))?;
    }
    chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 0.0)], palette::INK.stroke_width(1)))?;
    for (look, points) in curves {
        let style = palette::flow(look.index).mix(0.9).stroke_width(width);
        match look.family {
            Family::Finite => chart.draw_series(LineSeries::new(points.iter().copied(), style)),
            Family::Continuous => {
                let (dash, gap) = legend::DASH;
                chart.draw_series(DashedLineSeries::new(points.iter().copied(), dash, gap, style))
            }
        }?;
        // All end in the same point.
        let (apart, colour) = (&points[..points.len() * 9 / 10], palette::flow(look.index));
        look.mark().on_curve((canvas, &chart), apart, (look.index, colour))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of ranks 1, 1, 1 and 4 of 4 three quarters lie at or below the first, where a quarter should.
    #[test]
    fn equal_ranks_are_one_step() {
        assert_eq!(largest_difference(&[0.25, 1.0, 0.25, 0.25]), 0.5);
        assert_eq!(largest_difference(&[0.25, 0.5, 0.5, 0.75, 0.75, 0.25, 1.0, 1.0]), 0.0);
    }
}

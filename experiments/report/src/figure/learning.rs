//! Learning curves of all flows of a problem against wall-clock time.

use anyhow::Result;
use plotters::prelude::{Circle, Color, DashedLineSeries, LineSeries};

use super::axis::{Axis, Scale};
use super::chart::frame;
use super::clip::clip;
use super::legend::{self, Key, Look};
use super::{Canvas, Figure, Width, palette};
use crate::record::Family;

/// The quantity on the vertical axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// Kullback-Leibler divergence, on a logarithmic axis.
    Divergence,
    /// Negative log-likelihood, on a linear axis.
    NegativeLogLikelihood,
}

/// One run: seconds and nats of the steps that were measured.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) look: Look,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A figure and what its caption has to say about the limits.
#[derive(Debug)]
pub(crate) struct Learning {
    pub(crate) figure: Figure,
    /// Some values lie below a logarithmic axis and are drawn on its lower edge.
    pub(crate) raised: bool,
    /// Some values lie above the axis and are not drawn.
    pub(crate) cut: bool,
}

const PLOT: u32 = 700;
/// Divergences below this cannot be told from the noise of their estimate.
const LEAST_DIVERGENCE: f64 = 1e-4;

/// Draws every curve; curves of one flow share its colour.
pub(crate) fn draw(
    curves: &[Curve],
    quantity: Quantity,
    description: String,
    width: Width,
) -> Result<Learning> {
    let (across, down) = (width.units(), width.height(PLOT));
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let y = match quantity {
        Quantity::Divergence => logarithmic(values().collect()),
        Quantity::NegativeLogLikelihood => linear(values().collect()),
    };
    let last = curves.iter().flat_map(|curve| &curve.points).map(|p| p.0).fold(0.0, f64::max);
    let x = Axis::linear(0.0, if last > 0.0 { last } else { 1.0 }, 6);
    let mut looks: Vec<Look> = Vec::new();
    for curve in curves {
        if !looks.iter().any(|look| look.index == curve.look.index) {
            looks.push(curve.look.clone());
        }
    }
    let line = if looks.len() < curves.len() { 3 } else { 5 };
    let size = (across, down + legend::height(&looks, across));
    let figure = Figure::paint(size, description, |canvas| {
        let (plot, key) = canvas.split_vertically(down);
        legend::draw(&key, &looks, Key::Line)?;
        lines(&plot, curves, (&x, &y), line)
    })?;
    let raised = y.scale == Scale::Logarithmic && values().any(|value| value < y.low);
    let cut = values().any(|value| value > y.high);
    Ok(Learning { figure, raised, cut })
}

/// Wide enough for every value, but a single lucky estimate near zero does not stretch the axis.
fn logarithmic(mut values: Vec<f64>) -> Axis {
    values.retain(|value| value.is_finite() && *value > 0.0);
    values.sort_by(f64::total_cmp);
    let floor = values.get(values.len() / 50).copied().unwrap_or(1.0).max(LEAST_DIVERGENCE);
    Axis::log(values.into_iter().map(|value| value.max(floor)))
}

/// From the lowest value to a little above most of them: the first steps may be arbitrarily bad, and so
/// may all of a run that goes astray, which must not hide the others.
fn linear(mut values: Vec<f64>) -> Axis {
    const REACH: f64 = 6.0;
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let (low, middle) = (values.first().copied(), values.get(values.len() / 2).copied());
    let reach = low.zip(middle).map_or(f64::INFINITY, |(low, mid)| low + REACH * (mid - low));
    let high = values.get(values.len() * 19 / 20).map(|high| high.min(reach));
    Axis::around(low.into_iter().chain(high), 0.06, 6)
}

/// Draws axes and curves; `width` is that of a line.
fn lines(canvas: &Canvas<'_>, curves: &[Curve], (x, y): (&Axis, &Axis), width: u32) -> Result<()> {
    let y_name = match y.scale {
        Scale::Logarithmic => "KL divergence (nats)",
        Scale::Linear => "negative log-likelihood (nats)",
    };
    let names = ["training time (seconds of wall clock)", y_name];
    let mut chart = frame(canvas, (x, y), names)?;
    for curve in curves {
        let style = palette::flow(curve.look.index).mix(0.9).stroke_width(width);
        let raise = |(seconds, nats): &(f64, f64)| match y.scale {
            Scale::Logarithmic => (*seconds, nats.max(y.low)),
            Scale::Linear => (*seconds, *nats),
        };
        let points: Vec<_> = curve.points.iter().map(raise).collect();
        for part in clip(&points, y.low, y.high) {
            if let [point] = part[..] {
                let dot = Circle::new(point, width, palette::flow(curve.look.index).filled());
                chart.draw_series([dot])?;
            }
            match curve.look.family {
                Family::Finite => drop(chart.draw_series(LineSeries::new(part, style))?),
                Family::Continuous => {
                    let (dash, gap) = legend::DASH;
                    chart.draw_series(DashedLineSeries::new(part, dash, gap, style))?;
                }
            }
        }
        let shown: Vec<_> = points.into_iter().filter(|p| p.1 <= y.high).collect();
        let colour = palette::flow(curve.look.index);
        curve.look.mark().on_curve((canvas, &chart), &shown, (curve.look.index, colour))?;
    }
    Ok(())
}

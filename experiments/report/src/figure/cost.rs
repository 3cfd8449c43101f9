//! What a flow reaches against what it costs, and which flows no other one beats.

use anyhow::Result;
use plotters::chart::ChartContext;
use plotters::prelude::{
    Cartesian2d, ChartBuilder, Color, DashedLineSeries, LineSeries, PathElement, SVGBackend,
};

use super::axis::{Axis, Scale};
use super::chart::LETTERS;
use super::legend::{self, Key, Look};
use super::{Canvas, Figure, Width, palette, text, text_width};
use crate::record::Family;

/// One flow of a problem, as means over its finished runs.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    pub(crate) look: Look,
    /// KL divergence, or excess of the negative log-likelihood over the lowest.
    pub(crate) nats: f64,
    pub(crate) error: f64,
    /// One for each of [`PANELS`], where it is known.
    pub(crate) spent: [Option<f64>; PANELS.len()],
    /// Training time and lowest validated divergence so far of one run, for the first panel.
    pub(crate) trail: Vec<(f64, f64)>,
}

/// Which end of a horizontal axis is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    More,
}

/// The costs that flows are drawn against.
pub(crate) const PANELS: [(&str, Better); 6] = [
    ("training time (s)", Better::Less),
    ("row passes in training", Better::Less),
    ("parameters", Better::Less),
    ("passes of one log-density", Better::Less),
    ("log-densities per second", Better::More),
    ("draws per second", Better::More),
];

/// The quantity on the vertical axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// Kullback-Leibler divergence, on a logarithmic axis where all are positive.
    Divergence,
    /// Negative log-likelihood above the lowest, on a linear axis.
    Excess,
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

const PLOT: u32 = 540;
/// Width in a page, where three plots stand beside each other.
const PAGE: u32 = 1860;
/// Between two plots beside each other.
const GAP: u32 = 40;
/// To the right of a plot.
const RIGHT: u32 = 60;

/// Draws a plot for each cost, two or three beside each other, with one vertical axis for all.
pub(crate) fn draw(
    costs: &[Cost],
    quantity: Quantity,
    description: String,
    width: Width,
) -> Result<Figure> {
    // On one column there is room for two plots beside each other.
    let columns = if width == Width::Single { 2 } else { 3 };
    let across = if width == Width::Page { PAGE } else { width.units() };
    let down = width.height(PLOT);
    let ends = costs.iter().flat_map(|c| [c.nats - c.error, c.nats, c.nats + c.error]);
    let positive = costs.iter().all(|cost| cost.nats > 0.0);
    let y = match quantity {
        Quantity::Divergence if positive => logarithmic(costs),
        Quantity::Divergence | Quantity::Excess => Axis::around(ends.chain([0.0]), 0.08, 5),
    };
    let name = match quantity {
        Quantity::Divergence => "KL divergence (nats)",
        Quantity::Excess => "NLL above best (nats)",
    };
    let looks: Vec<Look> = costs.iter().map(|cost| cost.look.clone()).collect();
    let height = down * (PANELS.len() / columns) as u32;
    Figure::paint((across, height + legend::height(&looks, across)), description, |canvas| {
        let (mut rest, key) = canvas.split_vertically(height);
        legend::draw(&key, &looks, Key::Marker)?;
        // All plots are equally wide: beside the first of a row stand labels, beside the others a gap.
        let labels = label_area(&y);
        let plot = (across - labels - (columns as u32 - 1) * GAP) / columns as u32;
        for first in (0..PANELS.len()).step_by(columns) {
            let (mut row, below) = rest.split_vertically(down);
            rest = below;
            for index in first..first + columns {
                let name = (index == first).then_some(name);
                let beside = if index == first { labels } else { GAP };
                let (here, others) = row.split_horizontally(plot + beside);
                row = others;
                panel(&here, costs, (index, plot - RIGHT), (&y, name))?;
            }
        }
        Ok(())
    })
}

/// Holds all values and error bars, but no bar that reaches towards zero stretches it much.
fn logarithmic(costs: &[Cost]) -> Axis {
    let ends =
        |cost: &Cost| [(cost.nats - cost.error).max(cost.nats / 3.0), cost.nats + cost.error];
    Axis::log(costs.iter().flat_map(ends))
}

/// Width of the labels and the name of the vertical axis.
fn label_area(y: &Axis) -> u32 {
    54 + text_width(y.widest(), LETTERS)
}

/// The points that no other one beats in both coordinates, from the cheapest on.
fn front(mut points: Vec<(f64, f64)>, better: Better) -> Vec<(f64, f64)> {
    points.sort_by(|a, b| match better {
        Better::Less => a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)),
        Better::More => b.0.total_cmp(&a.0).then(a.1.total_cmp(&b.1)),
    });
    let mut lowest = f64::INFINITY;
    points.retain(|(_, nats)| {
        let keep = *nats < lowest;
        lowest = lowest.min(*nats);
        keep
    });
    points
}

/// A line from point to point of a front that nothing reached lies below.
fn stairs(front: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut line: Vec<(f64, f64)> = Vec::with_capacity(2 * front.len());
    for &(x, y) in front {
        line.extend(line.last().copied().map(|(_, before)| (x, before)));
        line.push((x, y));
    }
    line
}

/// Draws the flows whose cost is known; without a name the vertical axis has no labels either.
fn panel(
    canvas: &Canvas<'_>,
    costs: &[Cost],
    (index, width): (usize, u32),
    (y, y_name): (&Axis, Option<&str>),
) -> Result<()> {
    let known: Vec<(&Cost, f64)> = costs
        .iter()
        .filter_map(|cost| Some((cost, cost.spent[index].filter(|x| *x > 0.0)?)))
        .collect();
    // Only the first panel has time on its axis.
    let trails = if index == 0 { trails(&known, y) } else { Vec::new() };
    let ends = known.iter().flat_map(|(_, x)| [x / 1.5, x * 1.5]);
    let passed = || trails.iter().flat_map(|(_, trail)| trail);
    let x = Axis::log(ends.chain(passed().map(|point| point.0))).fitting(width, LETTERS);
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(20)
        .margin_left(14)
        .margin_right(RIGHT)
        .x_label_area_size(104)
        .y_label_area_size(if y_name.is_some() { label_area(y) } else { GAP })
        .build_cartesian_2d(x, y.clone())?;
    chart
        .configure_mesh()
        .bold_line_style(palette::GRID.stroke_width(2))
        .max_light_lines(0)
        .axis_style(palette::INK.stroke_width(2))
        .label_style(text(LETTERS))
        .axis_desc_style(text(LETTERS))
        .y_label_formatter(&|tick| y_name.map_or_else(String::new, |_| y.label(*tick)))
        .x_desc(PANELS[index].0)
        .y_desc(y_name.unwrap_or_default())
        .draw()?;
    let reached = known.iter().map(|(cost, x)| (*x, cost.nats));
    let front = front(reached.chain(passed().copied()).collect(), PANELS[index].1);
    lines(&mut chart, &trails)?;
    chart.draw_series(LineSeries::new(stairs(&front), palette::INK.stroke_width(2)))?;
    markers(canvas, &chart, &known)
}

/// The trails of known flows as far as they lie within the axis; none on a linear axis, where the
/// divergence is not known.
fn trails<'a>(known: &[(&'a Cost, f64)], y: &Axis) -> Vec<(&'a Look, Vec<(f64, f64)>)> {
    let within = |point: &&(f64, f64)| (y.low..=y.high).contains(&point.1);
    let shown = known.iter().filter(|_| y.scale == Scale::Logarithmic);
    shown
        .map(|(cost, _)| (&cost.look, cost.trail.iter().filter(within).copied().collect()))
        .collect()
}

/// A falling line for each trail.
fn lines(chart: &mut Chart<'_, '_>, trails: &[(&Look, Vec<(f64, f64)>)]) -> Result<()> {
    for (look, trail) in trails {
        let (line, style) = (stairs(trail), palette::flow(look.index).mix(0.7).stroke_width(3));
        match look.family {
            Family::Finite => drop(chart.draw_series(LineSeries::new(line, style))?),
            Family::Continuous => {
                let (dash, gap) = legend::DASH;
                chart.draw_series(DashedLineSeries::new(line, dash, gap, style))?;
            }
        }
    }
    Ok(())
}

/// A marker with an error bar for each flow.
fn markers(canvas: &Canvas<'_>, chart: &Chart<'_, '_>, known: &[(&Cost, f64)]) -> Result<()> {
    for (cost, abscissa) in known {
        let bar = [-cost.error, cost.error].map(|error| (*abscissa, cost.nats + error));
        let style = palette::flow(cost.look.index).stroke_width(4);
        chart.plotting_area().draw(&PathElement::new(bar, style))?;
        let (x, y) = chart.plotting_area().map_coordinate(&(*abscissa, cost.nats));
        let (left, top) = canvas.get_base_pixel();
        legend::marker(canvas, &cost.look, (x - left, y - top))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_holds_what_no_other_point_beats() {
        let points = vec![(3.0, 1.0), (1.0, 5.0), (2.0, 6.0), (2.0, 3.0), (4.0, 2.0)];
        assert_eq!(front(points.clone(), Better::Less), [(1.0, 5.0), (2.0, 3.0), (3.0, 1.0)]);
        assert_eq!(front(points, Better::More), [(4.0, 2.0), (3.0, 1.0)]);
        assert!(front(Vec::new(), Better::Less).is_empty());
    }

    #[test]
    fn stairs_fall_where_the_next_point_is_paid_for() {
        assert_eq!(stairs(&[(1.0, 5.0), (2.0, 3.0)]), [(1.0, 5.0), (2.0, 5.0), (2.0, 3.0)]);
    }
}

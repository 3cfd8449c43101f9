//! What a flow reaches against what it costs: parameters, and rows a second.

use anyhow::Result;
use plotters::prelude::{ChartBuilder, Color, PathElement};

use super::axis::Axis;
use super::legend::{self, Key, Look};
use super::{Canvas, Figure, palette, text, text_width};

/// One flow of a problem, as means over its finished runs.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    pub(crate) look: Look,
    /// KL divergence, or excess of the negative log-likelihood over the lowest.
    pub(crate) nats: f64,
    pub(crate) error: f64,
    pub(crate) parameters: Option<f64>,
    pub(crate) rows_per_second: Option<f64>,
}

/// The quantity on the vertical axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// Kullback-Leibler divergence, on a logarithmic axis where all are positive.
    Divergence,
    /// Negative log-likelihood above the lowest, on a linear axis.
    Excess,
}

const WIDTH: u32 = 1240;
const PLOT: u32 = 620;
/// Between the two plots.
const GAP: u32 = 40;

/// Draws two plots with one vertical axis: against parameters, and against rows a second.
pub(crate) fn draw(costs: &[Cost], quantity: Quantity, description: String) -> Result<Figure> {
    let ends = costs.iter().flat_map(|c| [c.nats - c.error, c.nats, c.nats + c.error]);
    let positive = costs.iter().all(|cost| cost.nats > 0.0);
    let y = match quantity {
        Quantity::Divergence if positive => logarithmic(costs),
        Quantity::Divergence | Quantity::Excess => Axis::around(ends.chain([0.0]), 0.08, 5),
    };
    let name = match quantity {
        Quantity::Divergence => "KL divergence (nats)",
        Quantity::Excess => "NLL above the lowest (nats)",
    };
    let looks: Vec<Look> = costs.iter().map(|cost| cost.look.clone()).collect();
    let size = (WIDTH, PLOT + legend::height(&looks));
    Figure::paint(size, description, |canvas| {
        let (plot, key) = canvas.split_vertically(PLOT);
        legend::draw(&key, &looks, Key::Marker)?;
        let labels = label_area(&y);
        // Both plots are equally wide: beside the left one stand labels, beside the right one a gap.
        let (left, right) = plot.split_horizontally((WIDTH + labels - GAP) / 2);
        points(&left, costs, |cost| cost.parameters, (&y, Some(name), "parameters"))?;
        let speed = "log-densities per second";
        points(&right, costs, |cost| cost.rows_per_second, (&y, None, speed))
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
    54 + text_width(y.widest(), legend::LETTERS)
}

/// Draws the flows whose cost is known; without a name the vertical axis has no labels either.
fn points(
    canvas: &Canvas<'_>,
    costs: &[Cost],
    abscissa: impl Fn(&Cost) -> Option<f64>,
    (y, y_name, x_name): (&Axis, Option<&str>, &str),
) -> Result<()> {
    let positive = |cost| abscissa(cost).filter(|x| *x > 0.0);
    let known = || costs.iter().filter_map(|cost| Some((cost, positive(cost)?)));
    let x = Axis::log(known().flat_map(|(_, x)| [x / 1.5, x * 1.5]));
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(20)
        .margin_left(14)
        .margin_right(36)
        .x_label_area_size(104)
        .y_label_area_size(if y_name.is_some() { label_area(y) } else { GAP })
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .bold_line_style(palette::GRID.stroke_width(2))
        .max_light_lines(0)
        .axis_style(palette::INK.stroke_width(2))
        .label_style(text(legend::LETTERS))
        .axis_desc_style(text(legend::LETTERS))
        .y_label_formatter(&|tick| y_name.map_or_else(String::new, |_| y.label(*tick)))
        .x_desc(x_name)
        .y_desc(y_name.unwrap_or_default())
        .draw()?;
    for (cost, abscissa) in known() {
        let bar = [-cost.error, cost.error].map(|error| (abscissa, cost.nats + error));
        let style = palette::flow(cost.look.index).stroke_width(4);
        chart.plotting_area().draw(&PathElement::new(bar, style))?;
        let (x, y) = chart.plotting_area().map_coordinate(&(abscissa, cost.nats));
        let (left, top) = canvas.get_base_pixel();
        legend::marker(canvas, &cost.look, (x - left, y - top))?;
    }
    Ok(())
}

//! Pictures of a problem: where its density is looked at on a grid.

use flows_bench::conditional::ConditionalToy;
use flows_bench::toys::Toy;
use flows_report::grid::{IMAGE_CELLS, centres};

use super::row;
use crate::rows::Rows;

/// The cells of an image with the true log-density at their centres: two features, two features given
/// a context, or one feature (upwards) along its context (to the right).
#[derive(Clone, Debug)]
pub struct Picture {
    /// `[x0, x1, y0, y1]`
    pub window: [f64; 4],
    /// What it is given, in words; empty without a context.
    pub given: String,
    /// The centres, lowest row first.
    pub points: Rows,
    /// True log-density at these, nats.
    pub truth: Vec<f64>,
}

impl Picture {
    /// The plane.
    pub(super) fn of_toy(toy: Toy) -> Self {
        let points = centres(toy.window(), IMAGE_CELLS);
        let truth = points.chunks_exact(2).map(|x| toy.log_density(row(x))).collect();
        let (window, given) = (toy.window(), String::new());
        Self { window, given, points: Rows::new(points, 2), truth }
    }

    /// The plane given each of some contexts, or the line along its context; none in more dimensions.
    pub(super) fn of_conditional(toy: ConditionalToy) -> Vec<Self> {
        let Some(window) = toy.window() else { return Vec::new() };
        let points = centres(window, IMAGE_CELLS);
        if toy.dim() == 1 {
            let (context, values): (Vec<f64>, Vec<f64>) =
                points.chunks_exact(2).map(|point| (point[0], point[1])).unzip();
            let given = format!("along {}", toy.context_columns().join(", "));
            return vec![Self::conditional(toy, window, given, (values, context))];
        }
        let slice = |context: Vec<f64>| {
            let names = toy.context_columns().into_iter().zip(&context);
            let given: Vec<String> = names.map(|(name, value)| format!("{name} {value}")).collect();
            let cells = points.len() / toy.dim();
            let contexts = context.repeat(cells);
            Self::conditional(toy, window, given.join(", "), (points.clone(), contexts))
        };
        toy.slices().into_iter().map(slice).collect()
    }

    fn conditional(
        toy: ConditionalToy,
        window: [f64; 4],
        given: String,
        (values, contexts): (Vec<f64>, Vec<f64>),
    ) -> Self {
        let pairs = values.chunks_exact(toy.dim()).zip(contexts.chunks_exact(toy.context_dim()));
        let truth = pairs.map(|(x, c)| toy.log_density(x, c)).collect();
        let points = Rows::new(values, toy.dim()).given(contexts, toy.context_dim());
        Self { window, given, points, truth }
    }
}

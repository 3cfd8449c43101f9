//! Pictures of a conditional density of a table: along the context that tells most.

use flows_report::grid::{IMAGE_CELLS, centres};

use super::{Picture, limits};
use crate::data::{ContextColumn, TableData};
use crate::rows::Rows;

/// Quantiles of the context at which the plane is shown.
const QUANTILES: [f64; 3] = [0.1, 0.5, 0.9];

/// A context of numbers, with its first conditioning feature.
struct Number<'a> {
    column: usize,
    feature: usize,
    name: &'a str,
    /// Mean and standard deviation.
    unit: [f64; 2],
}

impl Picture {
    /// One feature of a table along its context, or two given low, middle and high values of it. Of
    /// several contexts it is the one of numbers that the features are most correlated with; the others
    /// are those of the training row that is nearest in it, because contexts belong together. None in
    /// more dimensions, or where all contexts are words.
    pub(super) fn of_conditional_table(data: &TableData) -> Option<Vec<Self>> {
        let (training, columns) = (&data.training, &data.record.context);
        let dim = training.dim();
        let numbers = numbers(columns);
        let chosen = numbers.iter().max_by(|a, b| {
            strength(training, a.feature).total_cmp(&strength(training, b.feature))
        })?;
        let name = chosen.name;
        let given = |words: String| match columns.len() {
            1 => words,
            _ => format!("{words} and the other contexts of the rows nearest in it"),
        };
        let sorted = Sorted::new(training, chosen);
        let mut values = training.values().to_vec();
        data.record.units.undo(&mut values).ok()?;
        let [x0, x1] = limits(values.iter().step_by(dim))?;
        let points = |window, along, given, values: Vec<f64>, context: &dyn Fn(usize) -> f64| {
            let contexts = (0..values.len() / dim)
                .flat_map(|point| sorted.context(columns, training, chosen, context(point)));
            let points = Rows::new(values, dim).given(contexts.collect(), columns.len());
            Self { window, along, given, points }
        };
        if dim == 1 {
            let [c0, c1] = limits(sorted.values.iter())?;
            let window = [c0, c1, x0, x1];
            let cells = centres(window, IMAGE_CELLS);
            let values = cells.chunks_exact(2).map(|cell| cell[1]).collect();
            let (along, given) = (Some(name.to_owned()), given(format!("along {name}")));
            return Some(vec![points(window, along, given, values, &|point| cells[2 * point])]);
        }
        let [y0, y1] = limits(values.iter().skip(1).step_by(2))?;
        let window = [x0, x1, y0, y1];
        let slice = |share: f64| {
            let value = sorted.values[(share * (sorted.values.len() - 1) as f64).round() as usize];
            let given = given(format!("{name} {value:.4}"));
            points(window, None, given, centres(window, IMAGE_CELLS), &|_| value)
        };
        Some(QUANTILES.into_iter().map(slice).collect())
    }
}

/// The training rows in the order of a context.
struct Sorted {
    values: Vec<f64>,
    rows: Vec<usize>,
}

impl Sorted {
    fn new(training: &Rows, Number { feature, unit: [mean, scale], .. }: &Number<'_>) -> Self {
        let value = |(row, (_, c)): (usize, (&[f64], &[f64]))| (mean + scale * c[*feature], row);
        let mut pairs: Vec<(f64, usize)> = training.iter().enumerate().map(value).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (values, rows) = pairs.into_iter().unzip();
        Self { values, rows }
    }

    /// The contexts of the row nearest to `value`, as they stand in a file, with `value` in its place.
    fn context(
        &self,
        columns: &[ContextColumn],
        training: &Rows,
        chosen: &Number<'_>,
        value: f64,
    ) -> Vec<f64> {
        let above = self.values.partition_point(|&other| other < value);
        let below = above.saturating_sub(1);
        let distance = |index: usize| {
            self.values.get(index).map_or(f64::INFINITY, |other| (other - value).abs())
        };
        let nearest = if distance(above) < distance(below) { above } else { below };
        let row = self.rows[nearest] * training.context_dim();
        let mut context = in_file(columns, &training.context_values()[row..]);
        context[chosen.column] = value;
        context
    }
}

fn numbers(columns: &[ContextColumn]) -> Vec<Number<'_>> {
    let mut feature = 0;
    let mut numbers = Vec::new();
    for (column, context) in columns.iter().enumerate() {
        if let ContextColumn::Number { name, mean, scale } = context {
            numbers.push(Number { column, feature, name, unit: [*mean, *scale] });
        }
        feature += context.width();
    }
    numbers
}

/// Sum over the features of their squared correlation with a conditioning feature, which is
/// standardised as they are.
fn strength(training: &Rows, feature: usize) -> f64 {
    let mut products = vec![0.0; training.dim()];
    for (x, c) in training.iter() {
        for (product, x) in products.iter_mut().zip(x) {
            *product += x * c[feature];
        }
    }
    products.into_iter().map(|product| (product / training.count() as f64).powi(2)).sum()
}

/// Contexts as they stand in a file, words as their indices, from the conditioning features of a row.
fn in_file(columns: &[ContextColumn], mut features: &[f64]) -> Vec<f64> {
    let mut context = Vec::with_capacity(columns.len());
    for column in columns {
        let (own, others) = features.split_at(column.width());
        features = others;
        context.push(match column {
            ContextColumn::Number { mean, scale, .. } => mean + scale * own[0],
            ContextColumn::Classes { .. } => {
                own.iter().position(|&one| one == 1.0).unwrap_or_default() as f64
            }
        });
    }
    context
}

//! Pictures of a problem: where its density is looked at on a grid.

mod slices;

use flows_bench::conditional::ConditionalToy;
use flows_bench::toys::Toy;
use flows_report::grid::{IMAGE_CELLS, centres};

use crate::data::TableData;
use crate::rows::Rows;

/// The cells of an image of a density: two features, two features given a context, or one feature
/// (upwards) along a context (to the right).
#[derive(Clone, Debug)]
pub struct Picture {
    /// `[x0, x1, y0, y1]`
    pub window: [f64; 4],
    /// The context to the right, where one feature is shown along it.
    pub along: Option<String>,
    /// What it is given, in words; empty without a context.
    pub given: String,
    /// The centres, lowest row first, with contexts as they stand in a file.
    pub points: Rows,
}

impl Picture {
    /// The plane.
    pub(super) fn of_toy(toy: Toy) -> Self {
        let (window, along, given) = (toy.window(), None, String::new());
        Self { window, along, given, points: Rows::new(centres(window, IMAGE_CELLS), 2) }
    }

    /// Of a table of one feature or two, in the table's own units: the central 99.8 % of the training
    /// rows and a tenth of that on either side. None in more dimensions.
    pub(super) fn of_table(data: &TableData) -> Vec<Self> {
        let pictures = match (data.training.dim(), data.training.context_dim()) {
            (1 | 2, 0) => Self::of_features(data).map(|picture| vec![picture]),
            (1 | 2, _) => Self::of_conditional_table(data),
            _ => None,
        };
        pictures.unwrap_or_default()
    }

    /// The plane of two features, or the line of one.
    fn of_features(data: &TableData) -> Option<Self> {
        let dim = data.training.dim();
        let mut rows = data.training.values().to_vec();
        data.record.units.undo(&mut rows).ok()?;
        let [x0, x1] = limits(rows.iter().step_by(dim))?;
        let [y0, y1] = if dim == 2 { limits(rows.iter().skip(1).step_by(2))? } else { [0.0, 1.0] };
        let window = [x0, x1, y0, y1];
        let mut points = centres(window, IMAGE_CELLS);
        if dim == 1 {
            points = points.into_iter().step_by(2).take(IMAGE_CELLS).collect();
        }
        let (along, given) = (None, String::new());
        Some(Self { window, along, given, points: Rows::new(points, dim) })
    }

    /// The plane given each of some contexts, or the line along its context; none in more dimensions.
    pub(super) fn of_conditional(toy: ConditionalToy) -> Vec<Self> {
        let Some(window) = toy.window() else { return Vec::new() };
        let points = centres(window, IMAGE_CELLS);
        if toy.dim() == 1 {
            let (context, values): (Vec<f64>, Vec<f64>) =
                points.chunks_exact(2).map(|point| (point[0], point[1])).unzip();
            let along = toy.context_columns().join(", ");
            let given = format!("along {along}");
            let picture = Self::conditional(toy, window, given, (values, context));
            return vec![Self { along: Some(along), ..picture }];
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
        let points = Rows::new(values, toy.dim()).given(contexts, toy.context_dim());
        Self { window, along: None, given, points }
    }
}

/// Share of the rows that a window leaves out at either end.
const TAIL: f64 = 0.001;

/// The central 99.8 % of values and a tenth of their range on either side; none without a finite value.
pub fn limits<'a>(values: impl Iterator<Item = &'a f64>) -> Option<[f64; 2]> {
    let mut values: Vec<f64> = values.copied().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)? as f64;
    let quantile = |share: f64| values.get((share * last).round() as usize).copied();
    let (low, high) = (quantile(TAIL)?, quantile(1.0 - TAIL)?);
    let room = 0.1 * (high - low);
    Some([low - room, high + room])
}

#[cfg(test)]
mod tests {
    use super::limits;

    #[test]
    fn a_window_holds_the_centre_and_a_tenth_more() {
        // Of 2001 values, two lie outside at either end.
        let values: Vec<f64> = (0..=2000).map(f64::from).chain([1e9, f64::NAN]).collect();
        let [low, high] = limits(values[..2001].iter()).unwrap();
        assert!((low - (2.0 - 199.6)).abs() < 1e-9 && (high - (1998.0 + 199.6)).abs() < 1e-9);
        assert!(limits(values.iter()).unwrap()[1] < 3000.0, "an outlier does not stretch it");
        assert_eq!(limits([f64::NAN].iter()), None);
    }
}

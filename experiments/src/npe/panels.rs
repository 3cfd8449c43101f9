//! Draws of posteriors by a pair of parameters, side by side.

use flows_report::finding::{Content, Panel, Panels};

use crate::problem::limits;

/// Points of a panel.
const POINTS: usize = 2_000;

/// A panel for each sample of rows, by two of their columns, in the window of the first; none without a
/// finite value.
pub(crate) fn panels(
    title: &str,
    (names, [i, j]): (&[String], [usize; 2]),
    samples: &[(&str, &[f64])],
) -> Option<Panels> {
    let dim = names.len();
    let (_, first) = samples.first()?;
    let column = |index: usize| first.iter().skip(index).step_by(dim);
    let ([x0, x1], [y0, y1]) = (limits(column(i))?, limits(column(j))?);
    let panel = |(title, rows): &(&str, &[f64])| {
        let points = rows.chunks_exact(dim).take(POINTS).flat_map(|row| [row[i], row[j]]);
        let content = Content::points(&points.collect::<Vec<_>>());
        Panel { title: (*title).to_owned(), content }
    };
    Some(Panels {
        title: title.to_owned(),
        window: [x0, x1, y0, y1],
        axes: [names[i].clone(), names[j].clone()],
        panels: samples.iter().map(panel).collect(),
    })
}

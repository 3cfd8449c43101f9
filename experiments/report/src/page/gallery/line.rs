//! Densities of one feature: curves over the rows that they should describe.

use anyhow::Result;

use super::super::gallery_source::Source;
use super::{Gallery, missing};
use crate::figure::{escape, plot};
use crate::finding::{Plot, Scale, Stroke};
use crate::record::Matrix;

/// Bins of the rows across the window.
const BINS: usize = 40;

impl Gallery<'_> {
    /// The density of each source as a curve, and the share of the data in bins over their width.
    pub(super) fn line(&mut self, [low, high, ..]: [f64; 4], sources: &[Source]) -> Result<String> {
        let (problem, mut lost) = (self.problem, String::new());
        let title = format!("{}: density of {}", problem.title, problem.column(0));
        let mut plot =
            Plot::new(&title, Scale::linear(&problem.column(0)), Scale::linear("density"));
        for source in sources {
            match (&source.density, &source.table) {
                (Ok(grid), _) => {
                    let width = (high - low) / grid.values.len().max(1) as f64;
                    let at =
                        |(i, nats): (usize, &f64)| [low + width * (i as f64 + 0.5), nats.exp()];
                    let points = grid.values.iter().enumerate().map(at);
                    plot.series(source.title.clone(), Stroke::Line, points);
                }
                (_, Ok(table)) if !source.has_density => {
                    let name = format!("{}, {}", source.title, source.subtitle);
                    plot.series_with_errors(name, Stroke::Markers, binned(table, [low, high]));
                }
                (_, Err(reason)) if !source.has_density => {
                    lost += &missing(&format!("points of {}", source.title), reason);
                }
                (Err(reason), _) => lost += &missing(&format!("curve of {}", source.title), reason),
            }
        }
        let name = format!("{}-density", problem.name);
        let element = self.figures.add_chart(&name, |width| plot::draw(&plot, width))?;
        self.names.push(name);
        Ok(format!(
            "{lost}<figure class=\"chart single\"><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
             aria-label=\"Density: {}\">{element}</div>\n<figcaption>Density of {}. Points: the share of \
             rows in each of {BINS} bins over its width, ± one standard error.</figcaption></figure>\n",
            escape(&problem.title),
            escape(&problem.column(0))
        ))
    }
}

/// Centre, density and its standard error sqrt(count) / (rows × width) for each bin that is not empty.
fn binned(table: &Matrix, [low, high]: [f64; 2]) -> Vec<[f64; 3]> {
    let width = (high - low) / BINS as f64;
    let mut counts = [0_u32; BINS];
    for value in table.column(0) {
        let bin = (value - low) / width;
        if bin >= 0.0
            && let Some(count) = counts.get_mut(bin as usize)
        {
            *count += 1;
        }
    }
    let scale = 1.0 / (table.rows.max(1) as f64 * width);
    let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    filled
        .map(|(i, &count)| {
            let count = f64::from(count);
            [low + width * (i as f64 + 0.5), scale * count, scale * count.sqrt()]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_shares_over_their_width() {
        let table = Matrix { rows: 4, columns: 1, values: vec![0.05, 0.05, 3.95, 9.0] };
        // Bins of 0.1: two of four rows in the first, one in the last, one outside.
        let found = binned(&table, [0.0, 4.0]);
        assert_eq!(found.len(), 2);
        for (found, expected) in found.iter().zip([[0.05, 5.0, 12.5_f64.sqrt()], [3.95, 2.5, 2.5]])
        {
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() < 1e-12, "{found:?}");
            }
        }
    }
}

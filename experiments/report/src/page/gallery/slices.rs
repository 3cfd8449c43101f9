//! Conditional densities: a row for each source, a picture for each context.

use anyhow::Result;

use super::super::gallery_source::{Source, largest_density, sentence};
use super::{Gallery, card, gallery, missing};
use crate::figure::{Frame, escape};
use crate::record::{Matrix, ProblemKind};

impl Gallery<'_> {
    /// The density p(x | c) of each source, on one window: of two features given each of some
    /// contexts, or of one feature upwards along its context.
    pub(super) fn slices(&mut self, window: [f64; 4], sources: &[Source]) -> Result<String> {
        let given = match &self.problem.pictures[..] {
            [] => vec![String::new()],
            pictures => pictures.to_vec(),
        };
        let sources: Vec<&Source> = sources.iter().filter(|source| source.has_density).collect();
        let truth = if sources.len() > 1 { "largest true density" } else { "largest density" };
        let grids: Vec<Result<Vec<Matrix>, String>> = sources
            .iter()
            .map(|source| {
                sentence(
                    source
                        .density
                        .clone()
                        .map_err(anyhow::Error::msg)
                        .and_then(|grid| grid.parts(given.len())),
                )
            })
            .collect();
        let frame = self.frame_given(window);
        let mut rows: Vec<Vec<String>> = vec![Vec::new(); sources.len()];
        for (index, words) in given.iter().enumerate() {
            let at = |grids: &'_ Result<Vec<Matrix>, String>| {
                let grid = grids.as_ref().ok()?.get(index).cloned()?;
                Some(if self.by_column() { grid.less_largest_of_columns() } else { grid })
            };
            let pictures: Vec<Option<Matrix>> = grids.iter().map(at).collect();
            let maximum = largest_density(pictures.iter().map(Option::as_ref));
            let part = if given.len() > 1 { format!("-{}", index + 1) } else { String::new() };
            for (((row, source), grid), all) in
                rows.iter_mut().zip(&sources).zip(&pictures).zip(&grids)
            {
                let reason = all.as_ref().err().map_or("", String::as_str);
                let grid = grid.as_ref().ok_or(reason);
                let element = self.density((&frame, &part), (grid, maximum), source)?;
                row.push(format!(
                    "<figure class=\"card\"><figcaption>{}</figcaption>{element}</figure>\n",
                    escape(words)
                ));
            }
        }
        let caption = self.caption(&given, truth)?;
        Ok(match given.len() {
            1 => {
                let cards =
                    sources.iter().zip(&rows).map(|(source, row)| card(source, &row.concat()));
                gallery(sources.len(), &cards.collect::<String>(), &caption)
            }
            columns => by_source(columns, sources.iter().copied().zip(&rows), &caption),
        })
    }

    /// Two features, or a context to the right and a feature upwards.
    fn frame_given(&self, window: [f64; 4]) -> Frame {
        let problem = self.problem;
        if problem.dim > 1 {
            return self.frame(window);
        }
        let [x0, x1, y0, y1] = window;
        let context = problem.along.clone().or_else(|| problem.context.first().cloned());
        let context = context.unwrap_or_default();
        Frame::square([x0, x1], [y0, y1], [context, problem.column(0)])
    }

    fn caption(&mut self, given: &[String], truth: &str) -> Result<String> {
        let problem = self.problem;
        let largest = match self.by_column() {
            true => "largest one of its column".to_owned(),
            false => format!("{truth} of that picture"),
        };
        let context = escape(&problem.context.join(", "));
        let shown = match given {
            [_] => {
                let along =
                    problem.along.as_ref().map_or_else(|| context.clone(), |name| escape(name));
                format!("p({} | {context}), {along} to the right", escape(&problem.column(0)))
            }
            _ => format!("p(x | {context}), in each column given what stands over it"),
        };
        Ok(format!(
            "{}Density {shown}, divided by the {largest}, and cut off at \
             one; of each flow, its first finished seed. The same limits everywhere.",
            self.colour_bar()?
        ))
    }

    /// Whether each column of a picture has a scale of its own. Along a context of a table densities are
    /// narrow here and wide there, and one scale would show the narrowest alone; a known density sets the
    /// scale for the flows.
    fn by_column(&self) -> bool {
        self.problem.along.is_some() && self.problem.kind == ProblemKind::Table
    }
}

/// A row of pictures for each source, after its title.
fn by_source<'a>(
    columns: usize,
    rows: impl Iterator<Item = (&'a Source, &'a Vec<String>)>,
    caption: &str,
) -> String {
    let row = |(source, cards): (&Source, &Vec<String>)| {
        let (title, subtitle) = (escape(&source.title), escape(&source.subtitle));
        let cards = match &source.density {
            Ok(_) => cards.concat(),
            Err(reason) => missing("density", reason),
        };
        format!("<p class=\"title\">{title}<span class=\"sub\">{subtitle}</span></p>\n{cards}")
    };
    format!(
        "<div class=\"slices\" style=\"--columns: {columns}\">\n{}</div>\n<p class=\"caption\">{caption}</p>\n",
        rows.map(row).collect::<String>()
    )
}

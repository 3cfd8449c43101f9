//! Truth and flows side by side: densities and samples, or pairs of features.

mod images;
mod line;
mod slices;

use anyhow::Result;

use super::figures::Figures;
use super::format;
use super::gallery_source::{Source, common_rows, largest_density};
use super::gather::ProblemResults;
use crate::figure::samples::{self, Points};
use crate::figure::{self, Figure, Frame, density, escape, pairs};
use crate::record::{Folder, Matrix, Problem, ProblemKind};

/// Most points in one scatter plot.
const POINTS: usize = 3000;
/// Pairs of features shown of a table.
const PAIRS: usize = 3;
/// Cards beside each other on a wide page.
const MOST_COLUMNS: usize = 6;
/// Share of points outside the limits above which a panel mentions them.
const MENTIONED: f64 = 0.01;

/// The panels of one problem, a card for each source, and their caption.
pub(super) fn section(
    folder: &Folder,
    results: &ProblemResults,
    figures: &mut Figures,
) -> Result<String> {
    let problem = &results.problem;
    let mut sources = vec![Source::truth(folder, problem)];
    sources.extend(results.flows.iter().map(|flow| Source::flow(folder, problem, flow)));
    let seed = results.flows.iter().find_map(|flow| Some(flow.finished().next()?.seed));
    let (html, names) = panels(problem, &sources, figures)?;
    if names.is_empty() {
        return Ok(html);
    }
    Ok(html + &figures.command(problem, seed, &names))
}

/// The panels of some sources, the truth or the data first, with their caption, and the names of
/// their figures.
pub(super) fn panels(
    problem: &Problem,
    sources: &[Source],
    figures: &mut Figures,
) -> Result<(String, Vec<String>)> {
    let sources = seen(problem, sources);
    let rows = common_rows(sources, POINTS);
    let mut gallery = Gallery { problem, rows, figures, names: Vec::new() };
    if let Some(shape) = problem.shown_images() {
        let html = gallery.images(shape, sources)?;
        return Ok((html, gallery.names));
    }
    let html = match (problem.window, problem.context.is_empty(), problem.dim) {
        (Some(window), true, 2) => gallery.plane(window, sources)?,
        (Some(window), true, 1) => gallery.line(window, sources)?,
        (Some(window), false, _) => gallery.slices(window, sources)?,
        (None, _, 0 | 1) => "<p>A problem in one dimension has no panels.</p>\n".into(),
        _ => gallery.features(sources)?,
    };
    Ok((html, gallery.names))
}

/// Of a density without exact draws the flows alone: there is nothing missing.
fn seen<'a>(problem: &Problem, sources: &'a [Source]) -> &'a [Source] {
    match sources {
        [truth, flows @ ..]
            if problem.kind == ProblemKind::Target
                && truth.table.is_err()
                && truth.density.is_err()
                && flows.iter().any(|flow| flow.table.is_ok()) =>
        {
            flows
        }
        all => all,
    }
}

/// Cards beside each other over their caption.
fn gallery(count: usize, cards: &str, caption: &str) -> String {
    let columns = columns(count);
    format!(
        "<div class=\"gallery\" style=\"--columns: {columns}\">\n{cards}</div>\n\
         <p class=\"caption\">{caption}</p>\n"
    )
}

/// Columns of a wide page that `cards` fill evenly.
fn columns(cards: usize) -> usize {
    cards.div_ceil(cards.div_ceil(MOST_COLUMNS).max(1))
}

/// What all panels of a problem share.
struct Gallery<'a> {
    problem: &'a Problem,
    /// Points in each scatter plot.
    rows: usize,
    figures: &'a mut Figures,
    /// Files of the figures so far.
    names: Vec<String>,
}

impl Gallery<'_> {
    /// A density and a scatter plot for each source, all on one window.
    fn plane(&mut self, window: [f64; 4], sources: &[Source]) -> Result<String> {
        let frame = self.frame(window);
        let maximum = largest_density(sources.iter().map(|source| source.density.as_ref().ok()));
        let mut cards = String::new();
        for source in sources {
            let panels = match (&source.density, &source.table) {
                (Err(density), Err(table)) if density == table => missing("result", density),
                (_, table) if !source.has_density => {
                    self.scatters(&[([0, 1], frame.clone())], table, source)?
                }
                (density, table) => {
                    let grid = density.as_ref().map_err(String::as_str);
                    let above = self.density((&frame, ""), (grid, maximum), source)?;
                    above + &self.scatters(&[([0, 1], frame.clone())], table, source)?
                }
            };
            cards.push_str(&card(source, &panels));
        }
        let unit = match sources.first() {
            Some(Source { has_density: false, .. }) => "the largest learned one on the window",
            Some(Source { density: Ok(_), .. }) => "the largest true density on the window",
            _ => "the largest density of all flows on the window, as the true one is missing",
        };
        let caption = format!(
            "{}Above: density, divided by {unit}, and cut off at one; \
             one colour scale for all. Below: {} samples each. The same limits everywhere.",
            self.colour_bar()?,
            self.rows
        );
        Ok(gallery(sources.len(), &cards, &caption))
    }

    /// The window of two features; columns of a table have units of their own, so that its sides are
    /// alike.
    fn frame(&self, window: [f64; 4]) -> Frame {
        let names = [0, 1].map(|index| self.problem.column(index));
        let [x0, x1, y0, y1] = window;
        match self.problem.kind {
            ProblemKind::Table => Frame::square([x0, x1], [y0, y1], names),
            _ => Frame::window(window, names),
        }
    }

    /// The key to the colours, in front of a caption.
    pub(super) fn colour_bar(&mut self) -> Result<String> {
        let bar = self.figures.add("colour-scale", &figure::colour_bar()?)?;
        Ok(format!("<span class=\"scale\">{bar}</span>"))
    }

    /// Scatter plots of strongly correlated pairs of features for each source.
    fn features(&mut self, sources: &[Source]) -> Result<String> {
        let data = match sources.first().map(|source| &source.table) {
            Some(Ok(data)) => data,
            Some(Err(reason)) => return Ok(missing("panels", reason)),
            None => return Ok(String::new()),
        };
        let frame = |columns: [usize; 2]| {
            let [x, y] = columns.map(|column| pairs::limits(data, column));
            Frame::square(x, y, columns.map(|column| self.problem.column(column)))
        };
        let chosen: Vec<_> = pairs::choose(data, PAIRS)
            .into_iter()
            .map(|columns| (columns, frame(columns)))
            .collect();
        let mut cards = String::new();
        for source in sources {
            let panels = self.scatters(&chosen, &source.table, source)?;
            cards.push_str(&card(source, &panels));
        }
        let names = chosen.iter().map(|(columns, frame)| {
            let correlation = format::hundredths(pairs::correlation(data, *columns));
            format!("{} ({correlation})", escape(&names(frame)))
        });
        let given = match self.problem.context.is_empty() {
            true => "",
            false => " Draws are given the contexts of these rows.",
        };
        let caption = format!(
            "{} rows each, at the same limits: the central 99 % of the first and a tenth of that on \
             either side. Shown are the most correlated pairs of features, no feature twice while \
             others are left; correlations in the first: {}.{given}",
            self.rows,
            names.collect::<Vec<_>>().join(", ")
        );
        Ok(gallery(sources.len(), &cards, &caption))
    }

    /// The density of a source; `part` tells its pictures apart where there are several.
    fn density(
        &mut self,
        (frame, part): (&Frame, &str),
        (grid, maximum): (Result<&Matrix, &str>, Option<f64>),
        source: &Source,
    ) -> Result<String> {
        let (grid, maximum) = match (grid, maximum) {
            (Ok(grid), Some(maximum)) => (grid, maximum),
            (Err(reason), _) => return Ok(missing("density", reason)),
            (Ok(_), None) => return Ok(missing("density", "no cell holds a positive number")),
        };
        let words = format!("{}: density of {}", self.problem.title, source.title);
        let figure = density::draw(frame, grid, maximum, words)?;
        self.add(format!("{}-{}-density{part}", self.problem.name, source.name), &figure)
    }

    /// A scatter plot for each pair of columns, and below them how much lies outside.
    fn scatters(
        &mut self,
        pairs: &[([usize; 2], Frame)],
        table: &Result<Matrix, String>,
        source: &Source,
    ) -> Result<String> {
        let table = match table {
            Ok(table) => table,
            Err(reason) => return Ok(missing("samples", reason)),
        };
        let (mut panels, mut outside) = (String::new(), Vec::new());
        for (columns, frame) in pairs {
            let points = Points { table, columns: *columns, rows: self.rows };
            let (share, names) = (points.outside(frame), names(frame));
            let percent = format::percent(share);
            let words = format!("samples of {}, {names}, {percent} outside", source.title);
            panels += &self.scatter(frame, points, words, source)?;
            if share > MENTIONED {
                let names = if pairs.len() > 1 { format!(" ({names})") } else { String::new() };
                outside.push(percent + &names);
            }
        }
        if !outside.is_empty() {
            let outside = escape(&outside.join(", "));
            panels += &format!("<p class=\"note\">Outside the limits: {outside}</p>\n");
        }
        Ok(panels)
    }

    fn scatter(
        &mut self,
        frame: &Frame,
        points: Points<'_>,
        words: String,
        source: &Source,
    ) -> Result<String> {
        let [i, j] = points.columns.map(|column| column + 1);
        let words = format!("{}: {words}", self.problem.title);
        let figure = samples::draw(frame, points, words)?;
        self.add(format!("{}-{}-samples-{i}-{j}", self.problem.name, source.name), &figure)
    }

    fn add(&mut self, name: String, figure: &Figure) -> Result<String> {
        let element = self.figures.add(&name, figure)?;
        self.names.push(name);
        Ok(element)
    }
}

fn names(frame: &Frame) -> String {
    format!("{} and {}", frame.x_name, frame.y_name)
}

fn card(source: &Source, panels: &str) -> String {
    format!(
        "<figure class=\"card\"><figcaption>{}<span class=\"sub\">{}</span></figcaption>\n{panels}\
         </figure>\n",
        escape(&source.title),
        escape(&source.subtitle),
    )
}

fn missing(what: &str, reason: &str) -> String {
    let reason = escape(reason.trim_end_matches('.'));
    format!("<p class=\"missing\">No {what}: {reason}.</p>\n")
}

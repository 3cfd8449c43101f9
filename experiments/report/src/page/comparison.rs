//! The page of a comparison: introduction and sections in order.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flows_core::train::write_atomically;

use super::figures::Figures;
use super::gather::{ProblemResults, Results, gather};
use super::{baseline, guide, page, paper, problem, table, verdict};
use crate::figure::escape;
use crate::record::{Folder, write_csv};

/// Writes the page of the comparison in `dir` and its figures.
///
/// # Errors
/// When `comparison.json` cannot be read, a name in it is not fit for a file name, or a file cannot
/// be written.
pub(crate) fn write(dir: &Path) -> Result<PathBuf> {
    let folder = Folder::new(dir);
    let results = gather(&folder)?;
    let mut figures = Figures::of(dir, &results.comparison)?;
    let html = render(&folder, &results, &mut figures)?;
    figures.write_list()?;
    write_pairs(dir, &results)?;
    paper::write(dir, &results)?;
    let path = dir.join("report.html");
    write_atomically(&path, html.as_bytes())
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// Writes the differences between flows whose test rows can be paired, if there are any.
fn write_pairs(dir: &Path, results: &Results) -> Result<()> {
    let rows: Vec<_> = results.problems.iter().flat_map(ProblemResults::pairs).collect();
    if rows.is_empty() { Ok(()) } else { write_csv(&dir.join("pairs.csv"), &rows) }
}

fn render(folder: &Folder, results: &Results, figures: &mut Figures) -> Result<String> {
    let mut sections = verdict::section(results);
    for results in &results.problems {
        let section = problem::section(folder, results, figures);
        sections += &section.with_context(|| format!("problem {}", results.problem.name))?;
    }
    let title = title(results);
    let changes = folder.changes();
    let unread = changes.as_ref().err().map(|error| format!("{error:#}"));
    let since = baseline::section::section(&changes.ok().flatten().unwrap_or_default());
    let notes = notes(results.notes.iter().chain(&unread));
    let header = about(results) + &introduction(results) + &notes;
    let main = format!(
        "{}<main>\n{sections}{since}{}{}{}{}</main>\n",
        contents(results, !since.is_empty()),
        runs(results),
        flows(results),
        guide::section(results),
        guide::reproduce(results),
    );
    Ok(page(&title, "verdict", &header, &main))
}

/// What the comparison is for, where it is one of the paper's experiments.
fn about(results: &Results) -> String {
    let Some(about) = &results.comparison.about else { return String::new() };
    format!(
        "<p>{}</p>\n<p><em>Measured:</em> {}</p>\n",
        escape(&about.review),
        escape(&about.method)
    )
}

fn title(results: &Results) -> String {
    if let Some(about) = &results.comparison.about {
        return escape(&about.title);
    }
    let flows = results.comparison.flows.iter().map(|flow| &flow.title[..]);
    let problems = results.comparison.problems.iter().map(|problem| &problem.title[..]);
    escape(&format!("{} on {}", few(flows.collect(), "flows"), few(problems.collect(), "problems")))
}

/// Names that a title has room for, or how many there are.
fn few(names: Vec<&str>, noun: &str) -> String {
    const MOST: usize = 3;
    match names[..] {
        [] => format!("no {noun}"),
        [one] => one.to_owned(),
        [ref first @ .., last] if names.len() <= MOST => format!("{} and {last}", first.join(", ")),
        _ => format!("{} {noun}", names.len()),
    }
}

fn introduction(results: &Results) -> String {
    let comparison = &results.comparison;
    format!(
        "<p>Finite and continuous normalizing flows on the same data, with seed{} {}, matched by {}.</p>\n",
        if comparison.seeds.len() == 1 { "" } else { "s" },
        guide::seeds(&comparison.seeds),
        guide::matched(comparison),
    )
}

/// The flows with their descriptions.
fn flows(results: &Results) -> String {
    let flows = results.comparison.flows.iter().map(|flow| {
        format!(
            "<dt>{} ({})</dt><dd>{}</dd>\n",
            escape(&flow.title),
            flow.family,
            escape(&flow.description)
        )
    });
    format!(
        "<section id=\"flows\" aria-labelledby=\"flows-title\">\n<h2 id=\"flows-title\">Flows</h2>\n\
         <dl>\n{}</dl>\n</section>\n",
        flows.collect::<String>()
    )
}

fn notes<'a>(notes: impl Iterator<Item = &'a String>) -> String {
    let note = |note: &String| format!("<p class=\"missing\">{}.</p>\n", escape(note));
    notes.map(note).collect()
}

fn contents(results: &Results, since: bool) -> String {
    let problems = results.problems.iter().map(|results| {
        let problem = &results.problem;
        (format!("problem-{}", problem.name), escape(&problem.title))
    });
    let before = [("verdict".to_owned(), "Verdict".to_owned())];
    let since = since.then_some(("baseline", "Against the earlier comparison"));
    let after = [
        ("runs", "All runs"),
        ("flows", "Flows"),
        ("reading", "How to read this"),
        ("reproduce", "Reproduce"),
    ]
    .into_iter();
    let after = since.into_iter().chain(after).map(|(id, title)| (id.to_owned(), title.to_owned()));
    let links: String = before
        .into_iter()
        .chain(problems)
        .chain(after)
        .map(|(id, title)| format!("<li><a href=\"#{id}\">{title}</a></li>\n"))
        .collect();
    format!("<nav aria-label=\"Contents\">\n<ul>\n{links}</ul>\n</nav>\n")
}

fn runs(results: &Results) -> String {
    format!(
        "<section id=\"runs\" aria-labelledby=\"runs-title\">\n<h2 id=\"runs-title\">All runs</h2>\n{}\
         </section>\n",
        table::of_runs(results)
    )
}

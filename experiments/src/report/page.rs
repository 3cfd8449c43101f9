//! The page: head, introduction, sections in order.

use anyhow::{Context, Result};

use super::album::Album;
use super::gather::Results;
use super::{date, problem, reading, table, verdict};
use crate::figure::escape;
use crate::record::{Family, Folder};

pub(super) const STYLE: &str = include_str!("style.css");
pub(super) const SCRIPT: &str = concat!(include_str!("sort.js"), include_str!("film.js"));

/// The whole report as HTML.
pub(super) fn render(folder: &Folder, results: &Results, album: &mut Album) -> Result<String> {
    let mut sections = verdict::section(results);
    for results in &results.problems {
        let section = problem::section(folder, results, album);
        sections += &section.with_context(|| format!("problem {}", results.problem.name))?;
    }
    let title = title(results);
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#verdict\">Skip to the verdict</a>\n\
         <header>\n<h1>{title}</h1>\n{}{}</header>\n{}<main>\n{sections}{}{}{}{}</main>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        about(results) + &introduction(results),
        notes(results),
        contents(results),
        runs(results),
        flows(results),
        reading::section(results),
        reading::reproduce(results, album),
    ))
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
    let plural =
        |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let problems = plural(results.comparison.problems.len(), "problem");
    format!("{} on {problems}", plural(results.comparison.flows.len(), "normalizing flow"))
}

fn introduction(results: &Results) -> String {
    let comparison = &results.comparison;
    let family = |family| comparison.flows.iter().filter(|flow| flow.family == family).count();
    let seeds = comparison.seeds.len();
    format!(
        "<p>{} finite and {} continuous normalizing flows, trained on the same data with the same {seeds} \
         seed{} ({}), matched by {}, {}, {}. All likelihoods are in nats. The comparison began {} and took {} on {} ({} cores), with version {} \
         of the program:</p>\n<pre tabindex=\"0\"><code>{}</code></pre>\n",
        family(Family::Finite),
        family(Family::Continuous),
        if seeds == 1 { "" } else { "s" },
        reading::seeds(&comparison.seeds),
        reading::matched(comparison),
        reading::threads(comparison.threads),
        escape(&comparison.precision),
        escape(&date::started(&comparison.started)),
        date::duration(comparison.wall_seconds),
        escape(&comparison.host.cpu),
        comparison.host.cores,
        escape(&comparison.version),
        escape(&comparison.command),
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

fn notes(results: &Results) -> String {
    let note = |note: &String| format!("<p class=\"missing\">{}.</p>\n", escape(note));
    results.notes.iter().map(note).collect()
}

fn contents(results: &Results) -> String {
    let problems = results.problems.iter().map(|results| {
        let problem = &results.problem;
        (format!("problem-{}", problem.name), escape(&problem.title))
    });
    let before = [("verdict".to_owned(), "Verdict".to_owned())];
    let after = [
        ("runs", "All runs"),
        ("flows", "Flows"),
        ("reading", "How to read this"),
        ("reproduce", "Reproduce"),
    ]
    .map(|(id, title)| (id.to_owned(), title.to_owned()));
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

//! The page of a single run: what was trained, its numbers, its curve, its draws.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flows_core::train::write_atomically;

use super::figures::Figures;
use super::gallery::panels;
use super::gallery_source::{Source, sentence, with_columns};
use super::number::{AUDITS, NUMERICS, Number, ON_TARGET, RESULTS};
use super::{calibration, distances, format, guide, learning, page, table};
use crate::figure::escape;
use crate::record::{Problem, ProblemKind, RunFiles, RunSummary, Status};

/// Writes the page of the run in `dir` and its figures.
///
/// # Errors
/// When `summary.json` or `data.json` cannot be read, or a file cannot be written.
pub(crate) fn write(dir: &Path) -> Result<PathBuf> {
    let files = RunFiles::new(dir);
    let run = files.summary()?;
    let problem = problem(&files, &run)?;
    let mut figures = Figures::create(dir)?;
    let html = render(&files, (&run, &problem), &mut figures)?;
    figures.write_list()?;
    let path = dir.join("report.html");
    write_atomically(&path, html.as_bytes())
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// The problem of a run, as far as its own files tell.
fn problem(files: &RunFiles, run: &RunSummary) -> Result<Problem> {
    let data = files.data()?;
    let kind = match (run.on_target, run.kl_nats) {
        (Some(_), _) => ProblemKind::Target,
        (None, None) => ProblemKind::Table,
        (None, Some(_)) if data.context.is_empty() => ProblemKind::Toy,
        (None, Some(_)) => ProblemKind::Conditional,
    };
    Ok(Problem {
        // The folder of the run tells runs apart; its figures need no name of their own.
        name: "run".into(),
        title: if run.problem.is_empty() { "a table".into() } else { run.problem.clone() },
        kind,
        table: None,
        published: None,
        dim: data.columns.len(),
        image: data.image,
        columns: data.columns,
        context: data.context,
        pictures: run.pictures.clone(),
        along: run.along.clone(),
        window: run.window,
        entropy_nats: None,
        entropy_error: None,
        test_rows: data.rows[2],
        training_rows: Some(data.rows[0]).filter(|rows| *rows > 0),
        warnings: Vec::new(),
        unbounded: false,
    })
}

fn render(
    files: &RunFiles,
    (run, problem): (&RunSummary, &Problem),
    figures: &mut Figures,
) -> Result<String> {
    let title = escape(&format!("{} on {}", run.flow, problem.title));
    let header = introduction(run, problem) + &config(files) + &warnings(run);
    let curve = learning::of_run(files, (run, problem), figures)?;
    let (panels, _) = match run.status {
        Status::Finished => panels(problem, &sources(files, run, problem), figures)?,
        _ => (String::new(), Vec::new()),
    };
    let calibration = calibration::of_run(files, (run, problem), figures)?;
    let main = format!(
        "<main>\n<section id=\"numbers\" aria-labelledby=\"numbers-title\">\n\
         <h2 id=\"numbers-title\">Numbers</h2>\n{}</section>\n\
         <section id=\"learning\" aria-labelledby=\"learning-title\">\n\
         <h2 id=\"learning-title\">Learning curve</h2>\n{curve}</section>\n\
         <section id=\"draws\" aria-labelledby=\"draws-title\">\n\
         <h2 id=\"draws-title\">Data and draws</h2>\n{panels}{calibration}{}</section>\n\
         <section id=\"reading\" aria-labelledby=\"reading-title\">\n\
         <h2 id=\"reading-title\">How to read this</h2>\n\
         <p>± is a standard error over held-out rows, or over draws.</p>\n<dl>\n{}</dl>\n</section>\n\
         </main>\n",
        numbers(run),
        distances::table_of_run(run),
        guide::terms(run.on_target.is_some()),
    );
    Ok(page(&title, "numbers", &header, &main))
}

fn introduction(run: &RunSummary, problem: &Problem) -> String {
    let features = match problem.dim {
        1 => "1 feature".to_owned(),
        count => format!("{count} features"),
    };
    let given = match problem.context.is_empty() {
        true => String::new(),
        false => format!(" given {}", problem.context.join(", ")),
    };
    let rows = match (problem.kind, problem.training_rows) {
        (ProblemKind::Target, _) => "on draws of its own, without rows".to_owned(),
        (_, Some(rows)) => {
            let [train, test] = [rows, problem.test_rows].map(|rows| format::count(rows as f64));
            format!("on {train} rows, tested on {test}")
        }
        (_, None) => "on fresh draws for every batch".into(),
    };
    let end = match run.stopped_early() {
        Some(early) => early,
        None => run.status.to_string(),
    };
    let reason = run.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
    format!(
        "<p>{}</p>\n",
        escape(&format!(
            "A {} flow of {features}{given}, trained {rows}, seed {}; {end}{reason}.",
            run.family, run.seed
        ))
    )
}

fn config(files: &RunFiles) -> String {
    match files.config() {
        Ok(text) => format!(
            "<details><summary>Config of the run</summary>\n<pre tabindex=\"0\"><code>{}</code></pre>\
             </details>\n",
            escape(&text)
        ),
        Err(error) => format!("<p class=\"missing\">{}.</p>\n", escape(&format!("{error:#}"))),
    }
}

/// What gives reason to doubt the numbers.
fn warnings(run: &RunSummary) -> String {
    let item = |text: &String| format!("<li>{}.</li>\n", escape(text.trim_end_matches('.')));
    let doubt = run.doubt().map(|doubt| format!("The effective sample size and log Z {doubt}"));
    let items: String = run.warnings.iter().chain(&doubt).map(item).collect();
    match items.is_empty() {
        true => items,
        false => format!(
            "<p class=\"caption\" id=\"warnings\">Warnings</p>\n\
             <ul class=\"warnings\" aria-labelledby=\"warnings\">\n{items}</ul>\n"
        ),
    }
}

/// A row for each number that was measured.
fn numbers(run: &RunSummary) -> String {
    let doubt = run.doubt();
    let targets: &[&Number] = if run.on_target.is_some() { &ON_TARGET } else { &[] };
    let row = |number: &&Number| {
        let value = (number.of)(run)?;
        let mark = doubt.as_ref().filter(|_| number.of_weights);
        let mark = mark.map_or_else(String::new, |doubt| {
            format!("<td class=\"words none\">{}</td>", escape(doubt))
        });
        let (head, cell) = (number.head, table::cell(number, Some(value)));
        Some(format!("<tr><th scope=\"row\">{head}</th>{cell}{mark}</tr>\n"))
    };
    // A target has its KL under the name of its direction.
    let known = RESULTS.iter().filter(|number| targets.is_empty() || number.head != "KL (nats)");
    let rows: String =
        targets.iter().chain(known).chain(&NUMERICS).chain(&AUDITS).filter_map(row).collect();
    if rows.is_empty() {
        return "<p class=\"missing\">Nothing was measured.</p>\n".into();
    }
    let words = [run.log_det.map(|kind| format!("log-det {kind}")), run.precision.clone()];
    let words: Vec<String> = words.into_iter().flatten().collect();
    let caption = format!("Numbers of the run ({}).", escape(&words.join(", ")));
    let table = format!(
        "<table aria-labelledby=\"numbers-table\">\n<thead><tr><th scope=\"col\">Number</th>\
         <th scope=\"col\">Value</th></tr></thead>\n<tbody>\n{rows}</tbody></table>"
    );
    table::scrolling("numbers-table", &caption, &table)
}

/// The rows or exact draws, and the flow.
fn sources(files: &RunFiles, run: &RunSummary, problem: &Problem) -> Vec<Source> {
    // Beside the run of a comparison the truth is kept once for all.
    let truth = sentence(files.matrix("truth.npy"));
    let data = match problem.kind {
        ProblemKind::Target => ["Target", "exact draws"],
        _ if truth.is_ok() => ["Truth", "held-out rows"],
        _ => ["Data", "held-out rows"],
    };
    let flow = [run.flow.clone(), format!("{}, seed {}", run.family, run.seed)];
    let source =
        |name: &str, [title, subtitle]: [String; 2], table, density: Result<_, _>| Source {
            name: name.into(),
            title,
            subtitle,
            has_density: name == "flow" || density.is_ok(),
            density,
            table: sentence(with_columns(table, problem.dim)),
            images: problem.shown_images().filter(|_| name == "flow").map(|_| {
                ["nearest.npy", "interpolations.npy"].map(|file| sentence(files.matrix(file)))
            }),
        };
    vec![
        source("data", data.map(str::to_owned), files.matrix("data_samples.npy"), truth),
        source("flow", flow, files.matrix("samples.npy"), sentence(files.matrix("density.npy"))),
    ]
}

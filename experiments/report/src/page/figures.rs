//! The figures of a report: each is a file of its own and an element of the page.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::figure::{Figure, Width, escape};
use crate::record::{Comparison, Problem};
use flows_core::train::write_atomically;

/// The folder that figures are written to.
#[derive(Debug)]
pub(super) struct Figures {
    folder: PathBuf,
    /// What each shows, by its name without an ending.
    entries: Vec<Entry>,
    /// Arguments of `compare` for the same flows, seeds and budget.
    arguments: String,
    /// The command of the whole comparison, where no arguments name its flows and problems alone.
    whole: Option<String>,
}

/// A figure in the list of figures.
#[derive(Debug)]
struct Entry {
    name: String,
    shows: String,
    /// The ends of the names of its files.
    files: &'static [&'static str],
}

/// Files of a figure whose size follows from what it shows.
const FILES: [&str; 2] = [".svg", ".pdf"];

/// Files of a chart.
const CHART_FILES: [&str; 5] = [".svg", "-single.svg", "-single.pdf", "-double.svg", "-double.pdf"];

impl Figures {
    /// The figures of a study. Makes `dir/figures` if there is none.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let folder = dir.join("figures");
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Self { folder, entries: Vec::new(), arguments: String::new(), whole: None })
    }

    /// The figures of a comparison, each of which [`command`](Self::command) makes again.
    pub(super) fn of(dir: &Path, comparison: &Comparison) -> Result<Self> {
        // The flows of a grid have names that only its settings make, and no argument of `compare` names
        // a standard table.
        let grid = comparison.flows.iter().any(|flow| flow.group.is_some());
        let published = comparison.problems.iter().any(|problem| problem.published.is_some());
        let whole = (grid || published).then(|| comparison.command.clone());
        Ok(Self { arguments: arguments(comparison), whole, ..Self::create(dir)? })
    }

    /// Writes `figure` as `name.svg` and, for paper, as `name.pdf`; returns it as an element.
    pub(super) fn add(&mut self, name: &str, figure: &Figure) -> Result<String> {
        self.write(&format!("{name}.svg"), figure.document().as_bytes())?;
        self.write(&format!("{name}.pdf"), &figure.pdf()?)?;
        self.note(name, figure, &FILES);
        Ok(figure.inline())
    }

    /// Writes a chart as `name.svg` and, for paper, in the widths of one and of two columns as SVG and PDF;
    /// returns it as an element.
    pub(super) fn add_chart(
        &mut self,
        name: &str,
        draw: impl Fn(Width) -> Result<Figure>,
    ) -> Result<String> {
        let figure = draw(Width::Page)?;
        self.write(&format!("{name}.svg"), figure.document().as_bytes())?;
        for (width, suffix) in Width::PAPER {
            let figure = draw(width)?;
            self.write(&format!("{name}-{suffix}.svg"), figure.on_paper().as_bytes())?;
            self.write(&format!("{name}-{suffix}.pdf"), &figure.pdf()?)?;
        }
        self.note(name, &figure, &CHART_FILES);
        Ok(figure.inline())
    }

    fn note(&mut self, name: &str, figure: &Figure, files: &'static [&'static str]) {
        if self.entries.iter().all(|entry| entry.name != name) {
            let (name, shows) = (name.to_owned(), figure.description().to_owned());
            self.entries.push(Entry { name, shows, files });
        }
    }

    /// Writes `README.md`, which says what each figure shows.
    pub(super) fn write_list(&self) -> Result<()> {
        let row = |Entry { name, shows, files }: &Entry| {
            let files: Vec<String> = files.iter().map(|end| format!("`{name}{end}`")).collect();
            format!("| {} | {} |\n", files.join(" "), shows.replace('|', "\\|"))
        };
        let rows: String = self.entries.iter().map(row).collect();
        let text = format!(
            "# Figures\n\nLetters have 8 points in PDF files and in `-single` (3.25 inches wide, one column of \
             two) and `-double` (6.75 inches, both columns): include them without scaling. Other SVG files are \
             those of the page.\n\n| files | shows |\n|---|---|\n{rows}"
        );
        self.write("README.md", text.as_bytes())
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(file);
        write_atomically(&path, bytes).with_context(|| format!("writing {}", path.display()))
    }

    /// How to get figures of a problem again: the command, folded away. `seed` is that of the run that
    /// is shown; without one, all are.
    pub(super) fn command(&self, problem: &Problem, seed: Option<u64>, files: &[String]) -> String {
        let name = escape(&problem.name);
        let source = match &problem.table {
            Some(table) => escape(table),
            None => format!("--problems {name}"),
        };
        let command = match &self.whole {
            Some(command) => escape(command),
            None => format!(
                "cargo run --release -p experiments -- compare {source} {} --out results/{name}",
                escape(&self.arguments)
            ),
        };
        let shown = seed.map_or_else(|| "All seeds".into(), |seed| format!("Seed {seed}"));
        let files: Vec<String> =
            files.iter().map(|file| format!("<code>figures/{}.svg</code>", escape(file))).collect();
        format!(
            "<details class=\"again\"><summary>Reproduce</summary><pre tabindex=\"0\"><code>{command}\
             </code></pre><p>{shown}; the command writes {}.</p></details>\n",
            files.join(", "),
        )
    }
}

fn arguments(comparison: &Comparison) -> String {
    let flows: Vec<&str> = comparison.flows.iter().map(|flow| flow.name.as_str()).collect();
    // Seeds are counted from 0.
    let seeds = comparison.seeds.iter().max().map_or(1, |last| last + 1);
    let matched = match &comparison.matched {
        Some(matching) => matching.arguments(),
        None => format!("--seconds {}", comparison.seconds_per_run),
    };
    format!("--flows {} --seeds {seeds} {matched}", flows.join(","))
}

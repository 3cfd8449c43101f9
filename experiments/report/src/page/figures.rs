//! The figures of a report: each is a file of its own and an element of the page.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::figure::{Figure, escape};
use crate::record::{Comparison, Problem};
use flows_core::train::write_atomically;

/// The folder that figures are written to.
#[derive(Debug)]
pub(super) struct Figures {
    folder: PathBuf,
    names: Vec<String>,
    /// Arguments of `compare` for the same flows, seeds and budget.
    arguments: String,
    /// The command of the whole comparison, where no arguments name its flows alone.
    whole: Option<String>,
}

impl Figures {
    /// The figures of a study. Makes `dir/figures` if there is none.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let folder = dir.join("figures");
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Self { folder, names: Vec::new(), arguments: String::new(), whole: None })
    }

    /// The figures of a comparison, each of which [`command`](Self::command) makes again.
    pub(super) fn of(dir: &Path, comparison: &Comparison) -> Result<Self> {
        // The flows of a grid have names that only its settings make.
        let grid = comparison.flows.iter().any(|flow| flow.group.is_some());
        let whole = grid.then(|| comparison.command.clone());
        Ok(Self { arguments: arguments(comparison), whole, ..Self::create(dir)? })
    }

    /// Writes `figure` as `name.svg` and returns it as an element.
    pub(super) fn add(&mut self, name: &str, figure: &Figure) -> Result<String> {
        let path = self.folder.join(format!("{name}.svg"));
        write_atomically(&path, figure.document().as_bytes())
            .with_context(|| format!("writing {}", path.display()))?;
        let name = format!("figures/{name}.svg");
        if !self.names.contains(&name) {
            self.names.push(name);
        }
        Ok(figure.inline())
    }

    /// The files written so far, relative to the report.
    pub(super) fn names(&self) -> &[String] {
        &self.names
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

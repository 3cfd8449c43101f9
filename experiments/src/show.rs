//! `show`: what a run is and what came out of it.

use anyhow::{Context, Result};

use crate::cli::Show;
use crate::data::ContextColumn;
use crate::fit::print;
use crate::run::RunFolder;
use crate::say;

/// Prints columns, numbers and config of a run.
///
/// # Errors
/// If there is no run, or standard output cannot be written.
pub fn run(arguments: &Show) -> Result<()> {
    let folder = RunFolder::new(&arguments.run);
    let (config, data) = (folder.config()?, folder.data()?);
    let [training, validation, test] = data.rows;
    say(&format!("features: {}", data.columns.join(", ")))?;
    if !data.context.is_empty() {
        let words = |column: &ContextColumn| match column {
            ContextColumn::Number { name, .. } => name.clone(),
            ContextColumn::Classes { name, classes } => format!("{name} ({})", classes.join(", ")),
        };
        let contexts: Vec<String> = data.context.iter().map(words).collect();
        say(&format!("given: {}", contexts.join(", ")))?;
    }
    if training > 0 {
        say(&format!("rows: {training} train, {validation} validate, {test} test"))?;
    }
    match folder.summary() {
        None => say("no numbers yet: the run has not ended")?,
        Some(summary) => {
            say(&format!("{} on {}: {}", summary.flow, summary.problem, summary.status))?;
            if let Some(message) = &summary.message {
                say(message)?;
            }
            print(&summary)?;
            summary.warnings.iter().try_for_each(|warning| say(&format!("warning: {warning}")))?;
        }
    }
    let text = toml::to_string(&config).context("writing the config as TOML")?;
    say(&format!("\n{}", text.trim_end()))
}

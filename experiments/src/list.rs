//! `list`: flow presets, problems and experiments.

use anyhow::Result;

use crate::experiment;
use crate::preset;
use crate::problem::Problem;
use crate::say;

/// Prints all lists.
///
/// # Errors
/// If standard output cannot be written.
pub fn run() -> Result<()> {
    say("flow presets (compare --flows, fit --flow)")?;
    for preset in preset::ALL.iter() {
        let (name, family) = (preset.name, preset.family.to_string());
        say(&format!("  {name:<18} {family:<11} {}", preset.description))?;
    }
    say("\nproblems (compare --problems)")?;
    for problem in Problem::all() {
        say(&format!("  {:<18} {}", problem.name(), problem.description()))?;
    }
    say("\nexperiments (run NAME)")?;
    for experiment in experiment::ALL {
        say(&format!("  {:<18} {}", experiment.name, experiment.title))?;
    }
    Ok(())
}

//! `list`: problems and flow presets.

use anyhow::Result;

use crate::preset;
use crate::problem::Problem;
use crate::say;

/// Prints both lists.
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
    Ok(())
}

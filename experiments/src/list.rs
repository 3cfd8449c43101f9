//! `list`: problems and flow presets.

use anyhow::Result;

use crate::preset;
use crate::problem::Problem;

/// Prints both lists.
///
/// # Errors
/// None at present.
#[expect(clippy::print_stdout, reason = "the lists are the command's result")]
pub fn run() -> Result<()> {
    println!("flow presets (compare --flows, fit --flow)");
    for preset in preset::ALL.iter() {
        println!("  {:<14} {:<11} {}", preset.name, preset.family.to_string(), preset.description);
    }
    println!("\nproblems (compare --problems)");
    for problem in Problem::all() {
        println!("  {:<14} {}", problem.name(), problem.description());
    }
    Ok(())
}

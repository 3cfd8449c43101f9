//! `list`: flow presets, problems, targets and experiments.

use anyhow::Result;
use flows_bench::targets::KnownTarget;
use flows_core::Target;

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
    say("\ntargets (fit --objective reverse-kl --target)")?;
    for target in KnownTarget::ALL {
        let (name, dim, form) = (target.name(), target.dim(), target.description());
        let normaliser = target.log_normaliser().nats;
        say(&format!("  {name:<18} {dim:>2}-D, {form}; log Z {normaliser:.6}"))?;
    }
    say("\nexperiments (run NAME)")?;
    for experiment in experiment::ALL {
        say(&format!("  {:<18} {}", experiment.name, experiment.title))?;
    }
    Ok(())
}

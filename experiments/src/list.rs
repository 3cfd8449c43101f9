//! `list`: flow presets, problems, targets and experiments.

use anyhow::Result;
use flows_bench::posteriors::Posterior;
use flows_bench::simulators::Simulator;

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
    for preset in preset::every() {
        let (name, family) = (preset.name, preset.family.to_string());
        say(&format!("  {name:<22} {family:<11} {}", preset.description))?;
    }
    say("\nproblems (compare --problems, fit --problem)")?;
    for problem in Problem::all().filter(|problem| problem.target().is_none()) {
        say(&format!("  {:<24} {}", problem.name(), problem.description()))?;
    }
    say("\ntargets, fitted by reverse KL (compare --problems, fit --target)")?;
    for target in Problem::all().filter(|problem| problem.target().is_some()) {
        say(&format!("  {:<18} {}", target.name(), target.description()))?;
    }
    say("\nposteriors (fit --posterior; all but the first two need --posterior-data DIR)")?;
    for name in Posterior::NAMES {
        say(&format!("  {name}"))?;
    }
    say("\nsimulators (npe --simulator)")?;
    for simulator in Simulator::ALL {
        say(&format!("  {:<24} {}", simulator.name(), simulator.description()))?;
    }
    say("\nexperiments (run NAME)")?;
    for experiment in experiment::ALL {
        say(&format!("  {:<18} {}", experiment.name, experiment.title))?;
    }
    Ok(())
}

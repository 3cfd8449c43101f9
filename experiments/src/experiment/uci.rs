//! Flows with their published settings on POWER, GAS, HEPMASS, MINIBOONE and BSDS300.

use std::path::{Path, PathBuf};

use anyhow::Result;
use flows_bench::table::PublishedTable;
use flows_report::record::About;

use super::Experiment;
use super::side_by_side::counts_seeds;
use crate::cli::Run;
use crate::compare::plan_file::{EVERY, MatchPlan, PlanFile, PublishedPlan};
use crate::{Usage, compare};

/// The plan without its tables: what each flow has on which table, and for how long it trains.
const FULL: &str = include_str!("uci/full.toml");

/// The same for small flows.
const QUICK: &str = include_str!("uci/quick.toml");

/// Trains the presets of the standard tables on those that are in the folder, and writes the report.
///
/// # Errors
/// [`Usage`] for arguments that mean nothing here, or a folder without any of the tables; as
/// [`compare::run`].
pub(super) fn run(experiment: &Experiment, arguments: &Run, out: PathBuf) -> Result<()> {
    counts_seeds(experiment.name, arguments)?;
    let folder = folder(experiment.name, &arguments.data)?;
    let (found, left_out) = look(folder)?;
    if let Some(left_out) = &left_out {
        eprintln!("note: {left_out}");
    }
    let (text, budget) = if arguments.quick { (QUICK, "quick") } else { (FULL, "full") };
    let mut plan = plan(text, folder, &found)?;
    if let (Some(seconds), Some(matching)) = (arguments.seconds, &mut plan.matching) {
        *matching = MatchPlan { seconds: Some(seconds), ..MatchPlan::default() };
    }
    let place = (budget, Some(out.as_path()), arguments.resume);
    compare::run(&plan, place, Some(about(experiment, arguments.quick, left_out)), None)
}

/// The one folder.
fn folder<'a>(name: &str, data: &'a [PathBuf]) -> Result<&'a Path, Usage> {
    let expected = format!("{name}: expected --data with the folder of the standard tables");
    match data {
        [folder] if folder.is_dir() => Ok(folder),
        [other] => Err(Usage(format!("{expected}, got {}, which is none", other.display()))),
        [] => Err(Usage(format!("{expected}, got none; the documentation says what it has"))),
        several => Err(Usage(format!("{expected}, got {} paths; give one", several.len()))),
    }
}

/// The tables of a folder, and a sentence on those that it does not have.
fn look(folder: &Path) -> Result<(Vec<PublishedTable>, Option<String>), Usage> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for table in PublishedTable::ALL {
        match table.locate(folder) {
            Ok(_) => found.push(table),
            Err(files) => missing.push(format!("{} ({})", table.title(), files.join(" and "))),
        }
    }
    let (folder, missing) = (folder.display(), missing.join("; "));
    if found.is_empty() {
        return Err(Usage(format!(
            "{folder}: expected the files of at least one standard table, got none of {missing}; name \
             the folder that has their folders"
        )));
    }
    let left_out = (!missing.is_empty())
        .then(|| format!("{folder} lacks these tables, which are left out: {missing}"));
    Ok((found, left_out))
}

/// The plan for the tables that are there.
fn plan(text: &str, folder: &Path, found: &[PublishedTable]) -> Result<PlanFile> {
    let mut plan = PlanFile::of(text, "uci")?;
    let published =
        |&table: &PublishedTable| PublishedPlan { table, folder: folder.to_owned(), sha256: None };
    plan.problems = Some(Vec::new());
    plan.published = found.iter().map(published).collect();
    for flow in plan.flows.iter_mut().flatten() {
        flow.on.retain(|name, _| name == EVERY || found.iter().any(|table| table.name() == name));
    }
    Ok(plan)
}

fn about(experiment: &Experiment, quick: bool, left_out: Option<String>) -> About {
    let settings = if quick {
        "Small flows for a look at data and page, which say nothing about the published settings"
    } else {
        "Flows with the settings of their papers, as far as the library has them"
    };
    let method = format!(
        "{settings}, on the published preparation and split of each table, with the same budget of \
         training and the same seeds: the log-likelihood of the test rows, beside published ones."
    );
    let left_out = left_out.map_or_else(String::new, |sentence| format!(" {sentence}."));
    About {
        title: experiment.title.to_owned(),
        review: "Density estimation on tables is the usual yardstick of flows (Section 6.1): five of them, \
                 which publications prepare and split alike."
            .to_owned(),
        method: method + &left_out,
    }
}

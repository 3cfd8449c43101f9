//! `verify`: the claims of the review, one by one.

use std::path::PathBuf;

use anyhow::{Result, bail};
use flows_claims::{Claim, Effort, Setting};

use crate::cli::Verify;
use crate::preset;
use crate::study::{begin, examine};
use crate::{Usage, say};

/// Checks claims and writes their page.
///
/// # Errors
/// [`Usage`] for a claim that does not exist; if a file cannot be written, or a claim fails.
pub fn run(arguments: &Verify) -> Result<()> {
    let except = chosen(&arguments.except)?;
    let mut claims = match arguments.claims.as_slice() {
        [] => flows_claims::ALL.iter().collect(),
        ids => chosen(ids)?,
    };
    claims.retain(|claim| except.iter().all(|other| other.id != claim.id));
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    let flows = preset::named_flows();
    let setting = Setting { effort, seed: arguments.seed, flows: &flows, seconds: None };
    let mut study = begin("The claims of the review", &setting);
    let folder = arguments.out.clone().unwrap_or_else(|| PathBuf::from("results/verify"));
    examine(&mut study, claims, &setting, &folder)?;
    let page = flows_report::write(&folder)?;
    let [pass, fail, error, missing] =
        ["pass", "fail", "error", "not built"].map(|verdict| study.count(verdict));
    say(&format!("{pass} pass, {fail} fail, {error} could not be measured, {missing} not built"))?;
    say(&page.display().to_string())?;
    if fail + error > 0 {
        bail!("{} of {} claims did not pass", fail + error, study.sections.len());
    }
    Ok(())
}

fn chosen(ids: &[String]) -> Result<Vec<&'static Claim>> {
    let named = |id: &String| {
        let found = flows_claims::ALL.iter().find(|claim| claim.id.eq_ignore_ascii_case(id));
        let last = flows_claims::ALL.last().map_or("", |claim| claim.id);
        found.ok_or_else(|| Usage(format!("unknown claim {id:?}; there are C1 to {last}")).into())
    };
    ids.iter().map(named).collect()
}

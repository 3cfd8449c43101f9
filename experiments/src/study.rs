//! Examining claims one after another, with the result file written after each.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use flows_claims::{Check, Claim, Setting};
use flows_report::record::{Host, Started};
use flows_report::study::{Outcome, Section, Study};

use crate::run::write_json;
use crate::{progress, say};

/// A study without sections, begun now.
#[must_use]
pub fn begin(title: &str, setting: &Setting) -> Study {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    Study {
        title: title.to_owned(),
        version: env!("CARGO_PKG_VERSION").into(),
        command: format!("cargo run --release -p experiments -- {}", arguments.join(" ")),
        seed: setting.seed,
        threads: rayon::current_num_threads(),
        host: Host::here(),
        started: Started::now(),
        sections: Vec::new(),
    }
}

/// Examines every claim; `study.json` in `folder` is written after each.
///
/// # Errors
/// If a file cannot be written. A check that fails is a section of the study.
pub fn examine<'a>(
    study: &mut Study,
    claims: impl IntoIterator<Item = &'a Claim>,
    setting: &Setting,
    folder: &Path,
) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{}: the folder cannot be made", folder.display()))?;
    for claim in claims {
        let section = section(claim, setting);
        print(&section)?;
        study.sections.push(section);
        write_json(&folder.join("study.json"), study)?;
    }
    Ok(())
}

fn section(claim: &Claim, setting: &Setting) -> Section {
    let working = progress::working(&format!("{} {}", claim.id, claim.title));
    let clock = Instant::now();
    let outcome = match claim.check {
        Check::NotBuilt(reason) => Outcome::NotBuilt(reason.to_owned()),
        Check::Run(check) => match check(setting) {
            Ok(findings) => Outcome::Found(findings),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        },
    };
    working.finish_and_clear();
    Section {
        id: claim.id.into(),
        title: claim.title.into(),
        review: claim.review.into(),
        method: claim.method.into(),
        seconds: clock.elapsed().as_secs_f64(),
        outcome,
    }
}

/// One line for the claim and one for each number.
fn print(section: &Section) -> Result<()> {
    let (id, title, verdict) = (&section.id, &section.title, section.outcome.verdict());
    say(&format!("{id:<4} {verdict:<9} {:>7.1} s  {title}", section.seconds))?;
    match &section.outcome {
        Outcome::Failed(reason) | Outcome::NotBuilt(reason) => say(&format!("     {reason}")),
        Outcome::Found(findings) => {
            findings.measures.iter().try_for_each(|m| say(&format!("     {}", m.sentence())))
        }
    }
}

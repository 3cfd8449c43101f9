//! A comparison against an earlier one: what must be there before, and what is said after.

use std::path::Path;

use anyhow::Result;
use flows_report::record::{Change, Folder, Verdict};

use crate::Usage;
use crate::cli::Compare;
use crate::say;

/// The earlier comparison that a new one is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Baseline<'a> {
    dir: &'a Path,
    /// Standard errors beyond which something is worse.
    tolerance: f64,
}

/// Something is worse than it was: the work is done, and its result is not what was hoped for.
#[derive(Debug)]
pub struct Worse(String);

impl Worse {
    /// Exit code of a comparison in which something is worse.
    pub const EXIT_CODE: u8 = 3;
}

impl std::fmt::Display for Worse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Worse {}

impl<'a> Baseline<'a> {
    /// The one that the arguments name, if they do.
    ///
    /// # Errors
    /// [`Usage`] where the folder holds no comparison, or the one that is to be written.
    pub(super) fn of_arguments(arguments: &'a Compare) -> Result<Option<Self>, Usage> {
        let Some(dir) = arguments.baseline.as_deref() else { return Ok(None) };
        let name = dir.display();
        Folder::new(dir).comparison().map_err(|error| {
            Usage(format!(
                "{name}: expected the folder of a comparison, got {error:#}; name one that compare has \
                 written"
            ))
        })?;
        let real = |path: &Path| path.canonicalize().ok();
        if arguments.out.as_deref().and_then(real).is_some_and(|out| Some(out) == real(dir)) {
            return Err(Usage(format!(
                "{name} is --baseline and --out; name the folder of an earlier comparison"
            )));
        }
        Ok(Some(Self { dir, tolerance: arguments.tolerance }))
    }

    /// Compares the comparison in `out` with the earlier one and writes `baseline.csv` there.
    pub(super) fn changes(&self, out: &Path) -> Result<Vec<Change>> {
        flows_report::against(out, self.dir, self.tolerance)
    }

    /// That something is worse, if it is.
    pub(super) fn judge(&self, changes: &[Change]) -> Result<(), Worse> {
        let worse: Vec<String> = changes.iter().filter_map(complaint).collect();
        if worse.is_empty() {
            return Ok(());
        }
        Err(Worse(format!("worse than {}: {}", self.dir.display(), worse.join("; "))))
    }
}

/// What is worse, and by how much.
fn complaint(change: &Change) -> Option<String> {
    let Change { problem, flow, quantity, note, .. } = change;
    let how = match change.worse_by.zip(change.change) {
        _ if change.verdict != Verdict::Worse => return None,
        Some((errors, ratio)) if quantity.is_rate() => {
            format!("{ratio:.3} times, {errors:.1} standard errors")
        }
        Some((errors, nats)) => format!("{nats:+.4}, {errors:.1} standard errors"),
        None => note.clone(),
    };
    Some(format!("{flow} on {problem}, {quantity}: {how}"))
}

/// Prints a table of changes, and below it why some are not judged.
pub(super) fn print(changes: &[Change]) -> Result<()> {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
    };
    let Some(Change { tolerance, baseline, .. }) = changes.first() else { return Ok(()) };
    say(&format!("\nagainst {baseline}; nats as differences, rates as ratios"))?;
    say(&format!(
        "{:<14} {:<14} {:<17} {:>11} {:>11} {:>9} {:>9} {:>9}  verdict",
        "problem", "flow", "quantity", "earlier", "now", "change", "s.e.", "worse by"
    ))?;
    for change in changes {
        let digits = if change.quantity.is_rate() { 0 } else { 4 };
        say(&format!(
            "{:<14} {:<14} {:<17} {:>11} {:>11} {:>9} {:>9} {:>9}  {}",
            change.problem,
            change.flow,
            change.quantity.to_string(),
            number(change.old, digits),
            number(change.new, digits),
            number(change.change, 4),
            number(change.standard_error, 4),
            number(change.worse_by, 1),
            change.verdict
        ))?;
    }
    say(&format!("worse by: in standard errors; more than {tolerance} is worse"))?;
    notes(changes)
}

/// Each note once, with what it is about.
fn notes(changes: &[Change]) -> Result<()> {
    let mut notes: Vec<(&str, Vec<String>)> = Vec::new();
    for change in changes.iter().filter(|change| !change.note.is_empty()) {
        let about = format!("{} on {}", change.flow, change.problem);
        match notes.iter_mut().find(|(note, _)| *note == change.note) {
            Some((_, known)) if known.contains(&about) => {}
            Some((_, known)) => known.push(about),
            None => notes.push((&change.note, vec![about])),
        }
    }
    for (note, about) in notes {
        say(&format!("{note}: {}", about.join(", ")))?;
    }
    let judged = |change: &&Change| change.verdict != Verdict::NotJudged;
    if changes.iter().filter(judged).any(|change| change.seeds == 1) {
        say("one seed has no error for other initial weights; take three seeds or more")?;
    }
    Ok(())
}

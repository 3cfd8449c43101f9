//! Runs that finished in one of two comparisons only.

use super::{Side, is_finished};
use crate::record::{Change, Verdict};

/// How many runs finished, of the seeds of both comparisons, where that or the seeds have changed.
pub(super) fn change(new: &Side<'_>, old: &Side<'_>, blank: &Change) -> Option<Change> {
    let seeds = |side: &Side<'_>| side.flow.runs.iter().map(|run| run.seed).collect::<Vec<_>>();
    let (of_new, of_old) = (seeds(new), seeds(old));
    let both: Vec<u64> = of_new.iter().copied().filter(|seed| of_old.contains(seed)).collect();
    let ended = |one: &Side<'_>, other: &Side<'_>| -> Vec<u64> {
        both.iter().copied().filter(|&s| one.finished(s) && !other.finished(s)).collect()
    };
    let (lost, gained) = (ended(old, new), ended(new, old));
    let mut notes = new.flow.with_seeds(|seed| lost.contains(&seed)).losses();
    notes.extend(gained.iter().map(|seed| format!("seed {seed} finished for the first time")));
    if both.len() < of_new.len().max(of_old.len()) {
        notes.push(match &both[..] {
            [] => "no seed is in both comparisons".into(),
            some => format!(
                "{} of {} seeds here and {} there are in both comparisons",
                some.len(),
                of_new.len(),
                of_old.len()
            ),
        });
    }
    if notes.is_empty() {
        return None;
    }
    let count = |side: &Side<'_>| {
        let runs = side.flow.runs.iter().filter(|run| both.contains(&run.seed));
        runs.filter(|run| is_finished(run)).count() as f64
    };
    Some(Change {
        old: Some(count(old)),
        new: Some(count(new)),
        change: Some(count(new) - count(old)),
        seeds: both.iter().filter(|&&seed| new.finished(seed) && old.finished(seed)).count() as u64,
        verdict: match (&lost[..], &gained[..]) {
            ([], []) => Verdict::NotJudged,
            ([], _) => Verdict::Better,
            _ => Verdict::Worse,
        },
        note: notes.join("; "),
        ..blank.clone()
    })
}

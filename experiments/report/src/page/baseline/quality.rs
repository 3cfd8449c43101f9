//! The change of what flows are ranked by, in nats.

use super::{Side, verdict};
use crate::page::differences::{difference, scores};
use crate::page::flow_results::Measure;
use crate::paired::Paired;
use crate::record::{Change, ProblemKind, Quantity};

/// New less old: paired by rows and seeds where the test rows are the same, else with the error of
/// independent means. Nothing where no seed finished in both.
pub(super) fn change(new: &Side<'_>, old: &Side<'_>, blank: &Change) -> Option<Change> {
    let measure = Measure::of(new.flow.finished().chain(old.flow.finished()));
    let [of_new, of_old] = [new, old].map(|side| side.flow.mean(measure));
    let (pair, mut notes) = paired(new, old);
    let found = difference(pair, of_new, of_old)?;
    let in_errors = found.in_errors();
    let incomparable = incomparable(new, old);
    if incomparable.is_none() && in_errors.is_none() {
        notes.push("the test rows are too few for a standard error".into());
    }
    let worse_by = in_errors.filter(|_| incomparable.is_none());
    notes.extend(incomparable.map(str::to_owned));
    Some(Change {
        quantity: match measure {
            Measure::Divergence => Quantity::KlNats,
            Measure::ReverseDivergence => Quantity::ReverseKlNats,
            Measure::NegativeBound => Quantity::NegativeBoundNats,
            Measure::NegativeLogLikelihood => Quantity::NllNats,
        },
        old: of_old.map(|mean| mean.value),
        new: of_new.map(|mean| mean.value),
        change: Some(found.value),
        standard_error: found.error,
        worse_by,
        paired_rows: pair.map(|pair| pair.rows as u64),
        seeds: pair.map_or(blank.seeds, |pair| pair.seeds as u64),
        verdict: verdict(worse_by, blank.tolerance),
        note: notes.join("; "),
        ..blank.clone()
    })
}

/// The difference on the same rows, or why there is none.
fn paired(new: &Side<'_>, old: &Side<'_>) -> (Option<Paired>, Vec<String>) {
    if new.problem.kind == ProblemKind::Target {
        // There are no test rows to pair.
        return (None, Vec::new());
    }
    if !new.folder.has_same_test_rows(new.problem, old.folder, old.problem) {
        return (
            None,
            vec!["test rows are not known to be the same, so they are not paired".into()],
        );
    }
    let mut obstacles = Vec::new();
    let [of_new, of_old] =
        [new, old].map(|side| scores(side.folder, side.problem, &side.flow, &mut obstacles));
    let pair = Paired::of(&of_new, &of_old);
    if pair.is_none() && obstacles.is_empty() {
        obstacles.push("log-densities of the same rows are not finite or differ in number".into());
    }
    (pair, obstacles)
}

/// Why the two numbers must not be held against each other.
fn incomparable(new: &Side<'_>, old: &Side<'_>) -> Option<&'static str> {
    let [of_new, of_old] = [new.problem, old.problem];
    if of_new.dim != of_old.dim
        || of_new.columns != of_old.columns
        || of_new.context != of_old.context
    {
        return Some("the columns differ");
    }
    (of_new.unbounded || of_old.unbounded).then_some("the likelihood has no upper bound")
}

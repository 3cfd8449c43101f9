//! A comparison against an earlier one, from the files of both.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{change_comparison, change_runs, fixture};
use crate::record::{Change, Folder, Quantity, RunKey, RunSummary, Status, Verdict};

/// The fixture against itself as `change` makes it, and the page.
fn against(change: impl FnOnce(&Path)) -> (Vec<Change>, String) {
    compare(|_| (), change)
}

/// The same with both sides as `prepare` makes them.
fn compare(prepare: impl Fn(&Path), change: impl FnOnce(&Path)) -> (Vec<Change>, String) {
    let [new, old] = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    for dir in [&new, &old] {
        fixture::write(dir.path(), 3);
        prepare(dir.path());
    }
    change(new.path());
    let changes = crate::against(new.path(), old.path(), 3.0).unwrap();
    assert_eq!(Folder::new(new.path()).changes().unwrap().unwrap(), changes);
    let html = fs::read_to_string(crate::write(new.path()).unwrap()).unwrap();
    (changes, html)
}

fn find<'a>(changes: &'a [Change], names: [&str; 2], quantity: Quantity) -> &'a Change {
    let of = |c: &&Change| [&c.problem[..], &c.flow[..]] == names && c.quantity == quantity;
    changes.iter().find(of).unwrap()
}

#[test]
fn the_same_files_have_no_difference() {
    let (changes, html) = against(|_| ());
    // Four problems, three flows, quality and three speeds; all runs ended as they did.
    assert_eq!(changes.len(), 4 * 3 * 4);
    for change in &changes {
        let same = if change.quantity.is_rate() { 1.0 } else { 0.0 };
        assert_eq!(change.change, Some(same), "{change:?}");
        assert!(change.quantity.is_rate() || change.paired_rows.is_some(), "{change:?}");
        assert!(matches!(change.verdict, Verdict::Same | Verdict::NotJudged));
    }
    let nsf = find(&changes, ["checkerboard", "nsf"], Quantity::KlNats);
    assert_eq!(nsf.seeds, 1, "its second seed diverged in both");
    assert!(html.find("id=\"baseline\"").unwrap() < html.find("id=\"runs\"").unwrap());
    assert!(html.contains("Worse: 0; better: 0; the same: 12; not judged: 36."));
}

#[test]
fn other_rows_have_the_error_of_independent_means() {
    let (changes, _) = against(|dir| {
        fs::write(dir.join("problems/wine/samples.npy"), "other").unwrap();
        change_runs(dir, "wine", |run| run.nll_nats = run.nll_nats.map(|nll| nll + 1.0));
    });
    let change = find(&changes, ["wine", "ffjord"], Quantity::NllNats);
    // Both have the error of their rows, 0.083, which is above the spread of two seeds.
    let error = 0.083 * 2f64.sqrt();
    assert!((change.standard_error.unwrap() - error).abs() < 1e-12, "{change:?}");
    assert!((change.worse_by.unwrap() - 1.0 / error).abs() < 1e-9, "{change:?}");
    assert_eq!((change.paired_rows, change.verdict), (None, Verdict::Worse));
    assert!(change.note.contains("not known to be the same"));
}

#[test]
fn a_run_that_no_longer_finishes_is_worse_and_what_is_missing_is_named() {
    let (changes, html) = against(|dir| {
        change_runs(dir, "ring", |run| {
            if run.flow == "ffjord" && run.seed == 2 {
                (run.status, run.message) = (Status::Failed, Some("out of memory".into()));
            }
        });
        change_comparison(dir, |comparison| {
            comparison.flows.retain(|flow| flow.name != "nsf");
            comparison.problems.retain(|problem| problem.name != "wine");
        });
    });
    let lost = find(&changes, ["ring", "ffjord"], Quantity::FinishedRuns);
    assert_eq!((lost.old, lost.new, lost.verdict), (Some(2.0), Some(1.0), Verdict::Worse));
    assert_eq!(lost.note, "seed 2 failed: out of memory");
    assert_eq!(find(&changes, ["ring", "ffjord"], Quantity::KlNats).seeds, 1);
    for names in [["ring", "nsf"], ["wine", "real-nvp"]] {
        let missing = find(&changes, names, Quantity::FinishedRuns);
        assert_eq!(missing.note, "only in the earlier comparison");
        assert_eq!(missing.verdict, Verdict::NotJudged);
    }
    assert!(html.contains("seed 2 failed: out of memory"));
}

#[test]
fn speed_is_judged_on_the_same_host_and_from_three_seeds_on() {
    let slower = |dir: &Path| change_runs(dir, "ring", halve);
    let rate = |changes: &[Change]| {
        let found = find(changes, ["ring", "nsf"], Quantity::SampleRowsPerSecond);
        assert!((found.change.unwrap() - 0.5).abs() < 1e-12, "{found:?}");
        (found.verdict, found.note.clone())
    };
    let (verdict, note) = rate(&against(slower).0);
    assert_eq!(verdict, Verdict::NotJudged);
    assert!(note.contains("fewer than three seeds"));
    let (_, note) = rate(
        &against(|dir| {
            slower(dir);
            change_comparison(dir, |comparison| comparison.threads = 64);
        })
        .0,
    );
    assert!(note.contains("another host"));
    let slower = |dir: &Path| {
        slower(dir);
        third_seed(dir);
    };
    let (verdict, note) = rate(&compare(third_seed, slower).0);
    assert_eq!((verdict, &note[..]), (Verdict::Worse, ""));
}

fn halve(run: &mut RunSummary) {
    run.sample_rows_per_second = run.sample_rows_per_second.map(|rate| rate / 2.0);
}

/// Adds a third seed to the spline flow on the ring, alike to the second.
fn third_seed(dir: &Path) {
    change_comparison(dir, |comparison| comparison.seeds = vec![1, 2, 3]);
    let key = RunKey { problem: "ring", flow: "nsf", seed: 2 };
    let mut run = Folder::new(dir).run(key).unwrap();
    run.seed = 3;
    let folder = dir.join("runs/ring/nsf/seed-3");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("summary.json"), serde_json::to_string(&run).unwrap()).unwrap();
}

//! What runs are matched by, and that numbers repeat.

use crate::compare::untimed;
use crate::{Place, assert_says};

/// A column of a summary.
fn column(rows: &[Vec<(String, String)>], name: &str) -> Vec<f64> {
    let cell = |row: &Vec<(String, String)>| {
        let (_, value) = row.iter().find(|(column, _)| column == name).unwrap();
        value.parse().unwrap()
    };
    rows.iter().map(cell).collect()
}

#[test]
fn the_number_of_threads_changes_no_number() {
    let place = Place::new();
    let line = "compare --steps 12 --problems pinwheel,red-wine --out";
    for threads in ["1", "2"] {
        let mut command = place.command(&format!("{line} t{threads}"));
        let output = command.env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let rows = untimed(&place, "t1/summary.csv");
    assert_eq!(rows.len(), 6, "all default flows on two problems");
    assert_eq!(rows, untimed(&place, "t2/summary.csv"));
}

#[test]
fn runs_matched_by_work_end_at_the_same_work() {
    const WORK: u64 = 400_000;
    let place = Place::new();
    let line =
        format!("compare --match work --work {WORK} --problems moons --flows real-nvp,ffjord");
    place.succeeds(&format!("{line} --out a"));
    let rows = untimed(&place, "a/summary.csv");
    // The last step may go beyond by its own work: ten passes, or some hundred evaluations, of a batch.
    for (work, step) in column(&rows, "train_work").into_iter().zip([10 * 512, 200 * 256]) {
        assert!((WORK..WORK + step).contains(&(work as u64)), "{work}");
    }
    let record = place.json("a/comparison.json");
    assert_eq!(record["matched"]["budget"]["work"], WORK);
    assert_says(&place.text("a/report.html"), &["matched by work", "--match work --work 400000"]);
    place.succeeds(&format!("{line} --out b"));
    assert_eq!(rows, untimed(&place, "b/summary.csv"), "work is counted, not timed");
}

#[test]
fn a_flow_without_networks_has_no_work_to_match() {
    let place = Place::new();
    let output = place
        .command("compare --match work --work 1000 --problems moons --flows planar --out a")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = place.json("a/runs/moons/planar/seed-0/summary.json")["message"].to_string();
    assert_says(&message, &["budget of work", "no passes to count"]);
}

#[test]
fn runs_matched_by_parameters_have_about_as_many() {
    let place = Place::new();
    let line = "compare --match parameters --parameters 9000 --steps 3 --problems moons";
    place.succeeds(&format!("{line} --flows real-nvp,nsf-coupling,ffjord --out a"));
    for count in column(&untimed(&place, "a/summary.csv"), "parameters") {
        assert!((count / 9000.0 - 1.0).abs() <= 0.1, "{count}");
    }
    assert_says(&place.text("a/report.html"), &["matched by parameters", "scaled to about 9000"]);
    let message = place.fails(
        2,
        "compare --match parameters --parameters 7 --problems moons --flows ffjord --out b",
    );
    assert_says(&message, &["ffjord", "within 10 % of 7 parameters", "the nearest is"]);
    for (flags, words) in [
        ("--parameters 9000", "--parameters needs --match parameters"),
        ("--work 10", "--work needs --match work"),
        ("--match parameters --parameters 0", "--parameters must be at least 1"),
        ("--match work --work 0", "work"),
    ] {
        assert_says(&place.fails(2, &format!("compare {flags} --out b")), &[words]);
    }
    assert!(!place.path("b").exists(), "wrong usage leaves nothing behind");
}

#[test]
fn a_budget_of_work_is_resumed_where_it_was_left() {
    // Ten passes over 64 rows a step: ten steps, then ten more.
    let config = |steps: u64| {
        format!(
            "name = \"work\"\npreset = \"real-nvp\"\nbudget = {{ kind = \"work\", work = {} }}\n[train]\nbatch_rows = 64\n\
             schedule = \"constant\"\nvalidate_every = 1\n",
            steps * 640
        )
    };
    let place = Place::new();
    place.gaussian("g.csv", 600);
    place.write("half.toml", config(10));
    place.write("whole.toml", config(20));
    place.succeeds("fit half.toml --data g.csv --out run");
    assert_eq!(place.json("run/summary.json")["steps"], 10);
    let resolved = place.text("run/config.toml");
    assert_says(&resolved, &["work = 6400"]);
    place.write("run/config.toml", resolved.replace("work = 6400", "work = 12800"));
    place.succeeds("fit --resume --data g.csv --out run");
    place.succeeds("fit whole.toml --data g.csv --out whole");
    assert_eq!(place.json("run/summary.json")["train_work"], 12_800);
    assert!(place.bytes("run/model.safetensors") == place.bytes("whole/model.safetensors"));
}

//! Grids of settings, plans in a file, targets and config files as parts of a comparison.

use crate::compare::untimed;
use crate::{Place, assert_says};

/// A small flow, so that a comparison of many takes seconds.
const SMALL: &str = "preset = \"nsf-coupling\"\n[flow]\nlayers = 1\nconditioner = { kind = \"perceptron\", \
                     hidden = [4] }\n";

fn column(place: &Place, name: &str) -> Vec<String> {
    let rows = untimed(place, "grid/summary.csv");
    let cell = |row: &Vec<(String, String)>| {
        row.iter().find(|(column, _)| column == name).unwrap().1.clone()
    };
    rows.iter().map(cell).collect()
}

#[test]
fn a_grid_over_presets_files_and_targets_is_one_comparison_that_a_plan_repeats() {
    let place = Place::new();
    place.write("small.toml", SMALL);
    let line = "compare --problems pinwheel,cross --flows small.toml --set flow.bins=3,5 \
                --set train.batch_rows=32,64 --steps 2 --seeds 2 --out grid";
    place.succeeds(line);
    let names: Vec<String> = [3, 3, 5, 5]
        .iter()
        .zip([32, 64, 32, 64])
        .map(|(bins, rows)| format!("small_bins-{bins}_batch_rows-{rows}"))
        .collect();
    let flows = column(&place, "flow");
    assert_eq!(flows.len(), 2 * 4 * 2);
    for (index, name) in names.iter().enumerate() {
        assert_eq!((&flows[2 * index], &flows[2 * index + 8]), (name, name));
    }
    // Three numbers for each of more bins, for each of one transformed feature and one unit less.
    let parameters: Vec<i64> =
        column(&place, "parameters").iter().map(|count| count.parse().unwrap()).collect();
    assert!(parameters[4] > parameters[0] && parameters[0] == parameters[2]);
    assert!(column(&place, "kl_nats").iter().all(|nats| nats.parse::<f64>().is_ok()));
    let record = place.json("grid/comparison.json");
    assert_eq!(record["flows"][2]["settings"][0], serde_json::json!(["flow.bins", "5"]));
    place.succeeds("compare grid/plan.toml --out again");
    assert_eq!(untimed(&place, "grid/summary.csv"), untimed(&place, "again/summary.csv"));
    runs_of_a_comparison_are_runs(&place, &names[0]);
    a_comparison_goes_on_as_it_began(&place);
}

fn runs_of_a_comparison_are_runs(place: &Place, flow: &str) {
    for problem in ["pinwheel", "cross"] {
        let run = format!("grid/runs/{problem}/{flow}/seed-1");
        place.succeeds(&format!("sample {run} --rows 4 --out s.csv"));
        place.succeeds(&format!("log-prob {run} --data s.csv --out l.csv"));
        place.succeeds(&format!("transform {run} --direction inverse --data s.csv --out z.npz"));
        let shown = place.succeeds(&format!("show {run}"));
        assert_says(&shown, &["features: ", problem, "bins = 3", "2 steps"]);
    }
}

fn a_comparison_goes_on_as_it_began(place: &Place) {
    let before = place.text("grid/plan.toml");
    let run = "grid/runs/cross/small_bins-5_batch_rows-64/seed-1";
    std::fs::remove_dir_all(place.path(run)).unwrap();
    place.succeeds("compare --resume --out grid");
    assert!(place.path(run).join("summary.json").exists());
    assert_eq!(place.text("grid/plan.toml"), before);
    for (flags, words) in [
        ("--steps 3", ["match.steps is 2", "3 is asked for"]),
        ("--seeds 1", ["seeds is 2", "1 is asked for"]),
        ("--problems moons", ["problems is", "moons"]),
    ] {
        assert_says(&place.fails(2, &format!("compare {flags} --resume --out grid")), &words);
    }
}

#[test]
fn a_comparison_knows_its_table_by_its_bytes() {
    let place = Place::new();
    place.gaussian("g.csv", 200);
    place.write("small.toml", SMALL);
    place.succeeds("compare --data g.csv --flows small.toml --steps 2 --out out");
    let run = "out/runs/g/small/seed-0";
    let config: toml::Table = place.text(&format!("{run}/config.toml")).parse().unwrap();
    let hash = config["data"]["table"]["sha256"].as_str().unwrap();
    assert!(hash.len() == 64 && place.text("out/plan.toml").contains(hash));
    // Elsewhere it is the same table, and the run is done.
    let summary = place.bytes(&format!("{run}/summary.json"));
    let (table, plan) = (place.text("g.csv"), place.text("out/plan.toml"));
    std::fs::create_dir(place.path("moved")).unwrap();
    place.write("moved/g.csv", &table);
    std::fs::remove_file(place.path("g.csv")).unwrap();
    place.write("out/plan.toml", plan.replace("g.csv", "moved/g.csv"));
    place.succeeds("compare --resume --out out");
    assert!(place.bytes(&format!("{run}/summary.json")) == summary);
    place.write("moved/g.csv", table.replacen('1', "2", 1));
    let message = place.fails(1, "compare --resume --out out");
    assert_says(&message, &["moved/g.csv", "expected the table that the run began with"]);
    assert!(place.bytes(&format!("{run}/summary.json")) == summary);
}

#[test]
fn keys_values_and_plans_that_do_not_fit_are_named_before_anything_trains() {
    let place = Place::new();
    place.write("typo.toml", "problem = [\"pinwheel\"]\n");
    place.write("two.toml", "match = { steps = 1, seconds = 2 }\n");
    place.write("key.toml", "[[flows]]\nflow = \"maf\"\ngrid = { \"flow.depth\" = [1] }\n");
    for (line, words) in [
        ("compare --flows maf --set flow.depth=1,2", vec!["flow.depth=1", "depth"]),
        ("compare --flows maf --set flow.layers=1,many", vec!["flow.layers=many", "many"]),
        ("compare --flows maf --set train.batch_rows=0", vec!["maf", "batch_rows", "got 0"]),
        ("compare --flows maf --set seed=1,2", vec!["seed", "--seeds"]),
        ("compare --flows maf --set train", vec!["--set", "key=value"]),
        ("compare --flows nowhere.toml", vec!["nowhere.toml", "cannot be read"]),
        ("compare typo.toml", vec!["typo.toml, line 1", "unknown field `problem`"]),
        ("compare two.toml --steps 3", vec!["--steps", "cannot be used with"]),
        ("compare two.toml", vec!["match", "one of seconds, steps and work"]),
        ("compare key.toml", vec!["flow.depth=1", "depth"]),
        ("fit --flow maf --set flow.layers=1,2 --problem moons", vec!["flow.layers", "one value"]),
        ("fit --flow maf --problem moon", vec!["unknown problem \"moon\""]),
    ] {
        let output = place.command(&format!("{line} --out out")).output().unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{line}");
        assert_says(&String::from_utf8(output.stderr).unwrap(), &words);
        assert!(!place.path("out").exists(), "{line}");
    }
}

#[test]
fn the_plan_in_the_book_is_a_plan() {
    let book = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/08-sweeps.md");
    let text = std::fs::read_to_string(book).unwrap();
    let plan = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let place = Place::new();
    place.write("plan.toml", plan.replace("2000", "1").replace("seeds = 3", "seeds = 0"));
    place.write("table.csv", "id,a,b\n".to_owned() + &"1,2,3.5\n2,3,4.25\n3,1,9.5\n".repeat(9));
    // It is read to its end: only then are the seeds looked at.
    assert_says(&place.fails(2, "compare plan.toml --out out"), &["--seeds", "got 0"]);
}

#[test]
fn a_problem_that_comes_along_can_be_fitted() {
    let place = Place::new();
    place.write("small.toml", SMALL);
    place.succeeds("fit small.toml --problem heteroscedastic-mixture --steps 2 --out run");
    let summary = place.json("run/summary.json");
    assert!(summary["kl_nats"].as_f64().is_some(), "{summary}");
    place.write("c.csv", "c\n0.5\n");
    place.succeeds("sample run --context c.csv --repeat 3 --out s.csv");
    assert_eq!(place.table("s.csv").names(), ["c", "x1"]);
    place.succeeds("fit --resume --out run --steps 3");
    assert_eq!(place.json("run/summary.json")["steps"], 3);
}

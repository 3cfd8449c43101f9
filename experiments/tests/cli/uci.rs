//! Standard tables with their published split, on small files in the layout of the archive.

use std::path::Path;

use experiments::compare::plan_file::PlanFile;
use experiments::config::Set;
use experiments::problem::{Problem, Published};
use experiments::stated::Stated;
use flows_bench::table::{self, Benchmark, PublishedTable, Table};
use flows_core::{normals, stream};

use crate::{Place, assert_says};

/// Rows of correlated columns.
fn rows(rows: usize, columns: usize) -> Vec<f64> {
    let mut values: Vec<f64> = normals(rows * columns, &mut stream(1, "table"));
    for row in values.chunks_exact_mut(columns) {
        (1..columns).for_each(|column| row[column] += 0.5 * row[column - 1]);
    }
    values
}

/// A folder `data` with MINIBOONE of `count` rows.
fn with_miniboone(count: usize) -> Place {
    let place = Place::new();
    std::fs::create_dir_all(place.path("data/miniboone")).unwrap();
    save(&place.path("data/miniboone/data.npy"), count, 43);
    place
}

fn save(path: &Path, count: usize, columns: usize) {
    let table = Table::new(Vec::new(), columns, rows(count, columns)).unwrap();
    table::write(path, &table).unwrap();
}

#[test]
fn the_experiment_trains_on_what_is_found_beside_what_is_published() {
    let place = with_miniboone(400);
    let output = place.command("run uci --data data --quick --out out").output().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{notes}");
    let sentence = "data lacks these tables, which are left out: POWER (power/data.npy); GAS \
                    (gas/ethylene_CO.csv, .csv.gz or .npy); HEPMASS (hepmass/1000_train.csv or .csv.gz and \
                    hepmass/1000_test.csv or .csv.gz); BSDS300 (";
    assert_says(&notes, &[&format!("note: {sentence}")]);
    let page = place.text("out/report.html");
    assert_says(
        &page,
        &["Published test log-likelihoods", "run uci --data data --quick", sentence],
    );
    // A value and an error as printed, on this table and no other.
    assert_says(&page, &["\u{2212}11.75 ± 0.44", "\u{2212}10.55<", "this comparison"]);
    assert!(!page.contains("155.69 ± 0.28"), "a value of BSDS300");
    let csv = place.text("out/tables/miniboone-published.csv");
    assert_eq!(csv.lines().count(), 1 + 6 + 22, "{csv}");
    assert_says(&csv, &["MAF (5 layers),", "-11.75,0.44", "taken from secondary sources"]);
    assert_says(&place.text("out/tables/miniboone-published.tex"), &["-11.75 +- 0.44", "$\\pm$"]);
    // Ours is minus the negative log-likelihood.
    let run = "out/runs/miniboone/uci-maf/seed-0";
    let nll = place.json(&format!("{run}/summary.json"))["nll_nats"].as_f64().unwrap();
    assert_says(&csv, &[&format!("this comparison; standard error,{},", -nll)]);
    the_split_is_the_published_one(&place, run);
    // What is done stays, and nothing trains again.
    let before = place.text("out/summary.csv");
    place.succeeds("compare --resume --out out");
    assert_eq!(place.text("out/summary.csv"), before);
}

/// The run has the rows of the three parts, in their units and order.
fn the_split_is_the_published_one(place: &Place, run: &str) {
    let data = place.json(&format!("{run}/data.json"));
    assert_eq!(data["rows"], serde_json::json!([324, 36, 40]));
    let test = table::miniboone(&place.path("data/miniboone/data.npy")).unwrap().test;
    let kept = place.table(&format!("{run}/data_samples.npy"));
    assert_eq!(kept.values(), test.values());
    // Files of the same columns go through the flow without a change of units.
    place.succeeds(&format!("log-prob {run} --data {run}/data_samples.npy --out again.npy"));
    let (again, first) =
        (place.table("again.npy"), place.path(&format!("{run}/test_log_prob.npy")));
    let bytes = std::fs::read(first).unwrap();
    let values = bytes[bytes.len() - 8 * test.rows()..].chunks_exact(8);
    for (again, first) in again.values().iter().zip(values) {
        let first = f64::from_le_bytes(first.try_into().unwrap());
        assert!((again - first).abs() < 1e-4 * first.abs(), "{again} {first}");
    }
}

#[test]
fn the_three_parts_reach_training_unchanged() {
    let place = with_miniboone(65);
    let folder = place.path("data");
    let published = Published::read(PublishedTable::Miniboone, &folder, None).unwrap();
    let Benchmark { training, validation, test } =
        table::miniboone(&folder.join("miniboone/data.npy")).unwrap();
    let data = published.data();
    assert_eq!(data.training.values(), training.values());
    assert_eq!(data.validation.values(), validation.values());
    assert_eq!(data.test.values(), test.values());
    let problem = Problem::Published(std::sync::Arc::new(published));
    let run = problem.data(7).unwrap().unwrap();
    assert_eq!((run.log_det, run.validation_offset), (0.0, 0.0));
    assert!(run.test_log_det.iter().all(|nats| *nats == 0.0));
    assert_eq!(run.rows_to_fit().values(), training.values());
    assert_eq!(run.record.rows, [54, 5, 6]);
}

#[test]
fn a_folder_without_tables_and_other_arguments_are_wrong_usage() {
    let place = Place::new();
    place.write("file.npy", "");
    std::fs::create_dir(place.path("empty")).unwrap();
    for (line, words) in [
        ("run uci", vec!["--data with the folder of the standard tables", "got none"]),
        ("run uci --data a,b", vec!["got 2 paths"]),
        ("run uci --data file.npy", vec!["file.npy, which is none"]),
        ("run uci --data nowhere", vec!["nowhere, which is none"]),
        ("run uci --data empty --seed 3", vec!["seeds from 0"]),
        (
            "run uci --data empty --quick",
            vec![
                "empty: expected the files of at least one",
                "POWER (power/data.npy)",
                "GAS (gas/ethylene_CO.csv, .csv.gz or .npy)",
                "HEPMASS (hepmass/1000_train.csv or .csv.gz and",
                "MINIBOONE (miniboone/data.npy)",
                "BSDS300/validation.npy, .csv or .csv.gz and",
            ],
        ),
        ("fit --flow maf --problem miniboone --out out", vec!["run uci --data FOLDER"]),
        ("compare --problems power --out out", vec!["[[published]]"]),
    ] {
        assert_says(&place.fails(2, line), &words);
    }
    assert_eq!(place.files("."), ["empty", "file.npy"]);
}

/// A plan of the same table for other flows, with settings on it.
#[test]
fn a_plan_names_published_tables_and_settings_on_single_problems() {
    let place = with_miniboone(65);
    let table = "[[published]]\ntable = \"miniboone\"\nfolder = \"data\"\n";
    let flow = "[[flows]]\nflow = \"real-nvp\"\n[flows.on.\"*\"]\nflow.conditioner.hidden = [8]\n\
                train.batch_rows = 9\n";
    let plan = |more: &str| format!("match = {{ steps = 2 }}\n{table}{flow}{more}");
    place.write("plan.toml", plan("[flows.on.miniboone]\nflow.layers = 1\ntrain.batch_rows = 8\n"));
    place.succeeds("compare plan.toml --out out");
    let config = place.text("out/runs/miniboone/real-nvp/seed-0/config.toml");
    assert_says(&config, &["layers = 1\n", "hidden = [8]", "batch_rows = 8\n"]);
    let page = place.text("out/report.html");
    assert_says(&page, &["; on every problem: hidden [8], batch_rows 9; on MINIBOONE: layers 1, "]);
    assert_says(&place.text("out/plan.toml"), &["sha256", "[flows.on.miniboone]"]);
    for (name, text, code, words) in [
        ("a.toml", plan("[flows.on.power]\nflow.layers = 1\n"), 2, ["got power", "miniboone"]),
        ("b.toml", plan("[flows.on.miniboone]\nseed = 1\n"), 2, ["seed=1", "--seeds"]),
        ("c.toml", plan("[flows.on.miniboone]\nflow.depth = 1\n"), 2, ["flow.depth", "unknown"]),
        ("d.toml", table.repeat(2), 2, ["miniboone is named twice", ""]),
        (
            "e.toml",
            table.replace("miniboone", "gas"),
            1,
            ["data: expected gas/ethylene_CO.csv, .csv.gz or .npy for GAS", "check the path"],
        ),
    ] {
        place.write(name, text);
        assert_says(&place.fails(code, &format!("compare {name} --out other")), &words);
    }
    save(&place.path("data/miniboone/data.npy"), 66, 43);
    let message = place.fails(1, "compare --resume --out out");
    assert_says(&message, &["the files of MINIBOONE that the comparison began with, got others"]);
    save(&place.path("data/miniboone/data.npy"), 66, 42);
    let message = place.fails(1, "compare plan.toml --out other");
    assert_says(&message, &["data.npy: expected exactly 43 columns", "got 42"]);
}

/// Every flow of the experiment can be built with its settings on every table, each of which says
/// something that its preset does not.
#[test]
fn published_settings_are_those_of_flows_that_can_be_built() {
    for (text, count) in [
        (include_str!("../../src/experiment/uci/full.toml"), 6),
        (include_str!("../../src/experiment/uci/quick.toml"), 6),
    ] {
        let plan = PlanFile::of(text, "plan").unwrap();
        let flows = plan.flows.unwrap();
        assert_eq!(flows.len(), count);
        for flow in &flows {
            let preset = Some(flow.flow.as_str());
            let read =
                |sets: &[Set]| Stated { preset, sets, ..Stated::default() }.read().unwrap().config;
            for (table, dim) in PublishedTable::ALL.iter().zip([6, 8, 21, 43, 63]) {
                let sets = flow.on.get(table.name()).or_else(|| flow.on.get("*"));
                let sets = sets.map_or(&[][..], Vec::as_slice);
                read(sets).build::<f32>(dim, 0).unwrap();
                for index in 0..sets.len() {
                    let without: Vec<_> = [&sets[..index], &sets[index + 1..]].concat();
                    assert_ne!(read(sets), read(&without), "{preset:?} {}", sets[index]);
                }
            }
            let tables = PublishedTable::ALL.map(PublishedTable::name);
            assert!(flow.on.keys().all(|name| name == "*" || tables.contains(&name.as_str())));
        }
    }
}

#[test]
fn the_plan_in_the_book_is_a_plan() {
    let book = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/07-reproducing-the-paper.md");
    let text = std::fs::read_to_string(book).unwrap();
    let plan = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let place = with_miniboone(65);
    let short = plan.replace("seconds = 7200", "steps = 1").replace("FOLDER", "data");
    place.write("plan.toml", short);
    place.succeeds("compare plan.toml --out out");
    let config = place.text("out/runs/miniboone/uci-nsf-coupling/seed-0/config.toml");
    assert_says(&config, &["width = 32", "bins = 4", "batch_rows = 128", "learning_rate = 0.0003"]);
}

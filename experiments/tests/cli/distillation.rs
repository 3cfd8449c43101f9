//! `--target-run`: a run's flow as the density of another run.

use flows_bench::table;
use serde_json::Value;

use crate::{MEANS, Place, SCALES, assert_says};

const SMALL: &str = "preset = \"iaf\"\n[flow]\nlayers = 2\n\
                     conditioner = { kind = \"perceptron\", hidden = [16] }\n";

fn number(found: &Value, name: &str) -> f64 {
    found[name].as_f64().unwrap()
}

/// Mean and standard deviation of a column.
fn moments(place: &Place, name: &str, column: usize) -> [f64; 2] {
    let table = place.table(name);
    let values: Vec<f64> = (0..table.rows()).map(|row| table.row(row)[column]).collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    [mean, square.sqrt()]
}

#[test]
fn a_student_has_the_units_of_its_teacher_and_an_exact_divergence() {
    let place = Place::with_run("maf", 150);
    place.write("c.toml", SMALL);
    let shown = place.succeeds("fit c.toml --target-run run --steps 400 --out student");
    assert_says(&shown, &["reverse KL", "(exactly 0.00000)"]);
    assert!(!shown.contains("unknown"), "{shown}");
    let config: toml::Table = place.text("student/config.toml").parse().unwrap();
    assert_eq!(config["target"]["run"]["path"].as_str(), Some("run"));

    // Units of a table with columns about 3 and -50, in both.
    for name in ["run", "student"] {
        place.succeeds(&format!("sample {name} --rows 4000 --out {name}.csv"));
        assert_eq!(place.table(&format!("{name}.csv")).names(), ["length", "weight"]);
    }
    for column in 0..2 {
        let [teacher, student] =
            ["run.csv", "student.csv"].map(|name| moments(&place, name, column));
        let scale = SCALES[column];
        assert!((teacher[0] - MEANS[column]).abs() < 0.5 * scale, "{teacher:?}");
        assert!((student[0] - teacher[0]).abs() < 0.2 * scale, "{student:?} for {teacher:?}");
        assert!((student[1] - teacher[1]).abs() < 0.2 * scale, "{student:?} for {teacher:?}");
    }

    // Log-densities of both in the table's units differ by what the weights say in those of the flows.
    let line = "importance student --rows 2000 --json --out draws.csv";
    let found: Value = serde_json::from_str(&place.succeeds(line)).unwrap();
    assert_eq!((found["target"].as_str(), number(&found, "exact_log_z")), (Some("run"), 0.0));
    assert!(number(&found, "effective_share") > 0.5, "{found}");
    let draws = place.table("draws.csv");
    assert_eq!(draws.names(), ["length", "weight", "log_weight", "log_prob"]);
    let points = draws.select_columns(&[0, 1]).unwrap();
    table::write(&place.path("points.csv"), &points).unwrap();
    for name in ["run", "student"] {
        place.succeeds(&format!("log-prob {name} --data points.csv --out of-{name}.csv"));
    }
    let [of_run, of_student] = ["of-run.csv", "of-student.csv"].map(|name| place.table(name));
    for row in 0..draws.rows() {
        let difference = of_run.row(row)[0] - of_student.row(row)[0];
        // Single precision on numbers of a few nats, twice.
        assert!((difference - draws.row(row)[2]).abs() < 2e-3, "row {row}: {difference}");
    }

    let line =
        "chains student --method metropolis --chains 2 --warm-up 50 --draws 100 --out chains.csv";
    place.succeeds(line);
    assert_eq!(place.table("chains.csv").names()[2..4], ["length", "weight"]);
    let [mean, _] = moments(&place, "chains.csv", 3);
    assert!((mean - MEANS[1]).abs() < SCALES[1], "{mean}");
    assert_says(&place.text("student/report.html"), &["length", "weight", "reverse KL"]);
    place.succeeds("fit --resume --steps 410 --out student");
}

#[test]
fn a_teacher_on_counts_gives_its_student_counts() {
    let place = Place::new();
    let rows: Vec<String> = (0..300).map(|i| format!("{},{}", i % 7, (i * i) % 5)).collect();
    place.write("counts.csv", format!("a,b\n{}\n", rows.join("\n")));
    place.write("c.toml", SMALL);
    place.succeeds("fit --flow maf --data counts.csv --dequantise integers --steps 20 --out t");
    place.succeeds("fit c.toml --target-run t --steps 20 --out s");
    place.succeeds("sample s --rows 50 --out s.csv");
    let draws = place.table("s.csv");
    assert!(draws.values().iter().all(|value| value.fract() == 0.0), "{:?}", draws.values());
}

#[test]
fn a_student_of_a_student_and_of_a_target_ends_where_its_teacher_does() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    // Held to an interval.
    place.succeeds("fit c.toml --target u1 --steps 20 --out first");
    place.succeeds("fit c.toml --target-run first --steps 20 --out second");
    place.succeeds("fit c.toml --target-run second --steps 20 --out third");
    let support = |run: &str| {
        let config: toml::Table = place.text(&format!("{run}/config.toml")).parse().unwrap();
        config.get("support").cloned()
    };
    assert_eq!(support("first"), support("third"));
}

#[test]
fn runs_that_are_no_densities_are_named() {
    let place = Place::with_run("real-nvp", 5);
    place.write("c.toml", SMALL);
    std::fs::create_dir(place.path("empty")).unwrap();
    place.succeeds("fit --flow real-nvp --data g.csv --context length --steps 5 --out given");
    place.succeeds("fit --flow real-nvp --target funnel --steps 5 --out funnel");
    std::fs::create_dir(place.path("begun")).unwrap();
    for name in ["config.toml", "data.json"] {
        std::fs::copy(place.path(&format!("run/{name}")), place.path(&format!("begun/{name}")))
            .unwrap();
    }
    place.succeeds("fit c.toml --target-run run --steps 5 --out own");
    let config = place.text("own/config.toml").replace("path = \"run\"", "path = \"own\"");
    place.write("own/config.toml", config);
    for (code, line, words) in [
        (
            1,
            "fit c.toml --target-run empty --out a",
            &["empty/config.toml", "folder of a run?"][..],
        ),
        (1, "fit c.toml --target-run begun --out a", &["begun/model", "no model yet"]),
        (2, "fit c.toml --target-run given --out a", &["given", "conditional on length"]),
        (2, "fit c.toml --target-run ./own --out a", &["own", "its target is itself"]),
        (2, "importance own --out a.csv", &["own", "its target is itself"]),
        (2, "importance funnel --target-run run --out a.csv", &["funnel", "10 features", "of 2"]),
        (2, "fit c.toml --target-run run --target u1 --out a", &["--target-run", "--target"]),
        (2, "fit c.toml --target-run run --data g.csv --out a", &["--data", "leave one out"]),
    ] {
        let output = place.command(line).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {message}");
        assert_says(&message, words);
    }
    // Another split standardises by other moments.
    place.succeeds("fit --flow real-nvp --data g.csv --seed 7 --steps 5 --out other");
    let message = place.fails(2, "importance other --target-run run --out a.csv");
    assert_says(&message, &["other", "other units than run"]);
    assert!(!place.path("a").exists() && !place.path("a.csv").exists());
}

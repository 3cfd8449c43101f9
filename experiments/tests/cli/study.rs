//! `verify` and `run`.

use serde_json::Value;

use crate::{Place, assert_says};

/// A study but for what a clock measured and where it was written.
fn untimed(place: &Place, name: &str) -> Value {
    let mut study = place.json(name);
    for key in ["started", "command"] {
        study.as_object_mut().unwrap().remove(key).unwrap();
    }
    for section in study["sections"].as_array_mut().unwrap() {
        section.as_object_mut().unwrap().remove("seconds").unwrap();
    }
    study
}

#[test]
fn claims_are_checked_and_kept_and_repeat_exactly() {
    let place = Place::new();
    let shown = place.succeeds("verify C6 c20 C41 --quick --seed 3 --out a");
    assert_says(&shown, &["C6   pass", "C20  pass", "C41  not built", "2 pass, 0 fail"]);
    place.succeeds("verify C6 c20 C41 --quick --seed 3 --out b");
    let study = untimed(&place, "a/study.json");
    assert_eq!(study, untimed(&place, "b/study.json"));
    assert_eq!(study["sections"].as_array().unwrap().len(), 3);
    let page = place.text("a/report.html");
    assert_says(&page, &["KL duality", "verify C6 --seed 3 --quick", "Not built yet"]);
    std::fs::remove_file(place.path("a/report.html")).unwrap();
    place.succeeds("report a");
    assert_eq!(place.text("a/report.html"), page);
}

#[test]
fn an_experiment_is_a_page_with_the_figures_beside_it() {
    let place = Place::new();
    let shown = place.succeeds("run k-parts --quick --out out");
    assert_says(&shown, &["C15  pass", "k-parts pass", "out/report.html"]);
    assert!(place.files("out/figures").contains(&"k-parts-plot-1.svg".to_owned()));
    assert_says(&place.text("out/report.html"), &["Measured:", "run k-parts --quick", "nats"]);
}

#[test]
fn costs_have_exponents_beside_those_of_the_review() {
    let place = Place::new();
    let shown = place.succeeds("run cost --quick --out out");
    assert_says(&shown, &["cost pass", "exponent of multiplications over features D"]);
    let study = place.json("out/study.json");
    let found = &study["sections"][0]["outcome"]["found"];
    let table = &found["tables"][0];
    let rows = table["rows"].as_array().unwrap();
    let heads: Vec<&str> =
        table["columns"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let cell = |flow: &str, operation: &str, head: &str| {
        let named = |row: &&Value| row[0]["text"] == flow && row[1]["text"] == operation;
        let column = heads.iter().position(|h| *h == head).unwrap();
        rows.iter().find(named).unwrap()[column].clone()
    };
    let number = |flow, operation, head| cell(flow, operation, head)["number"].as_f64().unwrap();
    // Counts, which no clock disturbs.
    assert_eq!(number("MAF", "draw", "evaluations"), 1.0);
    assert_eq!(number("Real NVP", "draw", "evaluations"), 0.0);
    assert_eq!(number("continuous, exact trace", "density", "review: multiplications"), 2.0);
    let exact = number("continuous, exact trace", "density", "multiplications");
    assert!((1.9..2.1).contains(&exact), "{exact}");
    assert_eq!(number("continuous, Hutchinson", "density", "multiplications"), 1.0);
    assert!(number("MAF", "training step", "bytes") > 1.0);
    // A clock has an error.
    let seconds = cell("NSF (coupling)", "training step", "seconds");
    assert!(seconds["estimate"][1].as_f64().unwrap() > 0.0, "{seconds}");
    let points = &found["plots"][0]["series"][1];
    assert!(points["fitted"].as_array().unwrap().len() >= 3, "{points}");
    let page = place.text("out/report.html");
    assert_says(
        &page,
        &["review: multiplications", "Bytes of a training step", "(review 2)", "rows"],
    );
    assert!(place.files("out/figures").contains(&"cost-plot-1.svg".to_owned()));
}

#[test]
fn many_dimensions_are_fitted_by_both_families() {
    let place = Place::new();
    place.succeeds("run high-dim --quick --out out");
    let study = place.json("out/study.json");
    let table = &study["sections"][0]["outcome"]["found"]["tables"][0];
    let rows = table["rows"].as_array().unwrap();
    let flows: Vec<&str> = rows
        .iter()
        .filter(|row| row[0]["number"] == 16.0)
        .filter_map(|r| r[1]["text"].as_str())
        .collect();
    assert_eq!(flows.len(), 5, "{flows:?}");
    for row in rows {
        let [divergence, error] = [0, 1].map(|i| row[2]["estimate"][i].as_f64().unwrap());
        assert!(error > 0.0 && divergence > -4.0 * error, "{row}");
        // Five distances, each with what it is between samples of one distribution.
        let numbers: Vec<f64> = (4..14).map(|i| row[i]["number"].as_f64().unwrap()).collect();
        assert!(numbers.chunks(2).all(|pair| pair[0].is_finite() && pair[1] > 0.0), "{row}");
    }
    let page = place.text("out/report.html");
    assert_says(&page, &["best normal", "OT-Flow", "NSF (autoregressive)"]);
}

#[test]
fn both_families_side_by_side_are_a_comparison_that_says_what_it_is_for() {
    let place = Place::new();
    place.gaussian("g.csv", 300);
    let message = place.fails(2, "run toys --quick --seed 3 --out out");
    assert_says(&message, &["toys", "--seed"]);
    let message = place.fails(2, "run images --quick --data g.csv --out out");
    assert_says(&message, &["images", "--data", "run tables"]);
    assert!(!place.path("out").exists(), "wrong usage leaves nothing behind");
}

#[test]
fn unknown_claims_and_experiments_are_wrong_usage() {
    let place = Place::new();
    assert_says(&place.fails(2, "verify C51"), &["unknown claim \"C51\"", "C1 to C50"]);
    assert_says(&place.fails(2, "run figure-2"), &["unknown experiment", "figure-1", "images"]);
    let message = place.fails(2, "run bridge --data g.csv");
    assert_says(&message, &["bridge takes no tables"]);
    let message = place.fails(2, "run bridge --quick --seconds 5");
    assert_says(&message, &["bridge trains nothing for a given time; leave --seconds out"]);
    let message = place.fails(2, "run high-dim --quick --seconds 0");
    assert_says(&message, &["seconds", "positive"]);
    assert!(place.files(".").is_empty());
}

#[test]
fn a_damaged_study_is_named() {
    let place = Place::new();
    place.succeeds("verify C20 --quick --out v");
    place.write("v/study.json", "{\"title\": 3}");
    assert_says(&place.fails(1, "report v"), &["v/study.json", "damaged"]);
}

#[test]
fn a_comparison_takes_tables_of_the_users() {
    let place = Place::new();
    place.gaussian("g.csv", 300);
    std::fs::copy(place.path("g.csv"), place.path("red-wine.csv")).unwrap();
    place.succeeds("compare --data g.csv --steps 5 --flows real-nvp --out out");
    assert_says(&place.text("out/summary.csv"), &["g,real-nvp,finite,0"]);
    assert_says(&place.text("out/report.html"), &["compare --data g.csv", "weight"]);
    let message = place.fails(2, "compare --data red-wine.csv --steps 5 --out b");
    assert_says(&message, &["red-wine.csv", "rename"]);
    let message = place.fails(2, "compare --data g.csv,g.csv --steps 5 --out b");
    assert_says(&message, &["g.csv", "rename"]);
    assert_says(&place.fails(1, "compare --data none.csv --steps 5 --out b"), &["none.csv"]);
    let few = place.path("few.csv");
    std::fs::write(few, "a,b\n1,2\n").unwrap();
    assert_says(&place.fails(1, "compare --data few.csv --steps 5 --out b"), &["few.csv"]);
    assert!(!place.path("b").exists());
}

/// Parts of a page: their measures by quantity, and the tables.
fn found(place: &Place, section: usize) -> Value {
    place.json("out/study.json")["sections"][section]["outcome"]["found"].clone()
}

#[test]
fn digits_are_classified_and_given_a_density_by_one_network() {
    let place = Place::new();
    // Too short for the criteria, which is what the exit code says; the page is whole.
    let output = place.command("run hybrid --quick --seconds 0.3 --out out").output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let table = &found(&place, 1)["tables"][0];
    let rows = table["rows"].as_array().unwrap();
    // Two weights and the density alone, of either family.
    assert_eq!(rows.len(), 6, "{rows:?}");
    for row in rows {
        let [nats, error] = [0, 1].map(|i| row[4]["estimate"][i].as_f64().unwrap());
        assert!(nats.is_finite() && error > 0.0, "{row}");
        let bits = row[5]["number"].as_f64().unwrap();
        assert!((bits - nats / (64.0 * std::f64::consts::LN_2)).abs() < 1e-9, "{row}");
    }
    assert_says(&place.text("out/report.html"), &["C49", "NSF (coupling)", "RNODE", "accuracy"]);
}

#[test]
fn foreign_images_are_scored_by_likelihood_and_by_typicality() {
    let place = Place::new();
    // On a busy machine a second can be too short for the criterion.
    let line = "run out-of-distribution --quick --seconds 1 --out out";
    let output = place.command(line).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let rows = found(&place, 0)["tables"][0]["rows"].as_array().unwrap().clone();
    // Training and held-out digits and five kinds, by independent normals and two flows.
    assert_eq!(rows.len(), 3 * 7);
    for row in rows.iter().filter(|row| row[4]["estimate"].is_array()) {
        for column in [4, 5] {
            let area = row[column]["estimate"][0].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&area), "{row}");
        }
        // Ink at the rim, where digits have none, is told by any density and either score.
        if row[2]["text"] == "inverted digits" {
            assert!(row[4]["estimate"][0].as_f64().unwrap() > 0.9, "{row}");
        }
    }
    assert_says(&place.text("out/report.html"), &["inverted digits", "histograms", "typicality"]);
}

#[test]
fn a_student_is_compared_with_its_teacher() {
    let place = Place::new();
    let output = place.command("run distillation --quick --seconds 1 --out out").output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let row = found(&place, 0)["tables"][0]["rows"][0].clone();
    let [kl, error] = [0, 1].map(|i| row[2]["estimate"][i].as_f64().unwrap());
    assert!(error > 0.0 && kl > -4.0 * error, "{row}");
    let [teacher, student] = [8, 9].map(|i| row[i]["number"].as_f64().unwrap());
    assert!(teacher > 0.0 && student > 0.0, "{row}");
}

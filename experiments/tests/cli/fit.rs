//! `fit`: what a run leaves behind, and that it can be repeated.

use std::process::Output;

use crate::{Place, assert_says, failed};

/// A summary without what a clock measures.
fn repeatable(place: &Place, run: &str) -> serde_json::Value {
    let mut summary = place.json(&format!("{run}/summary.json"));
    let fields = summary.as_object_mut().unwrap();
    for name in crate::compare::TIMED {
        assert!(fields.remove(name).is_some_and(|v| v.as_f64().unwrap() > 0.0), "{name}");
    }
    summary
}

#[test]
fn a_run_holds_the_promised_files_and_its_numbers() {
    let place = Place::new();
    place.gaussian("g.csv", 600);
    place.write("small.toml", "preset = \"real-nvp\"\n[flow]\nlayers = 2\nconditioner = { kind = \"perceptron\", hidden = [8] }\n");
    let line = "fit small.toml --steps 40 --seed 7 --precision f64 --data g.csv --out a/run";
    let shown = place.succeeds(line);
    assert_says(&shown, &["negative log-likelihood", "40 steps", "a/run"]);
    let promised = [
        "checkpoint.safetensors",
        "config.toml",
        "data.json",
        "data_samples.npy",
        "density.npy",
        "figures",
        "metrics.csv",
        "model.safetensors",
        "report.html",
        "test_log_prob.npy",
    ];
    let files = place.files("a/run");
    assert!(promised.iter().all(|name| files.iter().any(|file| file == name)), "{files:?}");
    let config: toml::Table = place.text("a/run/config.toml").parse().unwrap();
    assert_eq!(config["seed"].as_integer(), Some(7));
    assert_eq!(config["precision"].as_str(), Some("f64"));
    assert_eq!(config["budget"]["steps"].as_integer(), Some(40));
    assert_eq!(config["flow"]["layers"].as_integer(), Some(2));
    assert!(config["train"]["optimiser"]["learning_rate"].is_float(), "{config}");
    let metrics = place.text("a/run/metrics.csv");
    assert!(metrics.starts_with("step,seconds,train_nats,validation_nats,"), "{metrics}");
    let steps: Vec<&str> =
        metrics.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!(steps, ["1", "20", "40"]);
    #[cfg(unix)]
    for file in files.iter().filter(|file| *file != "figures") {
        use std::os::unix::fs::PermissionsExt;
        let metadata = std::fs::metadata(place.path("a/run").join(file)).unwrap();
        let table = std::fs::metadata(place.path("g.csv")).unwrap();
        let (mode, usual) = (metadata.permissions().mode(), table.permissions().mode());
        assert_eq!(mode, usual, "{file} is as readable as any other file");
    }
    let summary = repeatable(&place, "a/run");
    assert_eq!((&summary["steps"], &summary["dim"]), (&40.into(), &2.into()));
    assert_eq!((&summary["status"], &summary["precision"]), (&"finished".into(), &"f64".into()));
    assert_eq!(summary["stop"], "budget");
    assert!(summary["nll_standard_error"].as_f64().unwrap() > 0.0, "{summary}");
    both_units_and_the_rows_agree(&place, &metrics, &summary);
    let columns = &place.json("a/run/data.json")["columns"];
    assert_eq!(*columns, serde_json::json!(["length", "weight"]));
    pictures_are_in_the_units_of_the_table(&place, &summary);
}

/// The page of a run shows its density and its test rows as the table has them.
fn pictures_are_in_the_units_of_the_table(place: &Place, summary: &serde_json::Value) {
    let array = |name: &str| -> Vec<f64> {
        npyz::NpyFile::new(&place.bytes(name)[..]).unwrap().into_vec().unwrap()
    };
    let window: [f64; 4] = serde_json::from_value(summary["window"].clone()).unwrap();
    let log_density = array("a/run/density.npy");
    assert_eq!(log_density.len(), 160 * 160);
    let mass = flows_report::grid::integral(&log_density, window, 160);
    // A density has at most the mass 1; the window holds 99.8 % of the training rows in each column,
    // and a flow that has hardly been trained a few percent less. In other units the mass would be
    // the product of the scales, which are not near 1.
    assert!((0.9..1.0 + 1e-3).contains(&mass), "{mass}");
    let (rows, test) = (place.table("g.csv"), array("a/run/data_samples.npy"));
    assert_eq!(test.len(), 60 * 2);
    for point in test.chunks_exact(2) {
        let close = |row: &[f64]| (row[0] - point[0]).abs() + (row[1] - point[1]).abs() < 1e-9;
        assert!((0..rows.rows()).any(|row| close(rows.row(row))), "{point:?} is in the table");
    }
    let page = place.text("a/run/report.html");
    assert_says(&page, &["small on g", "Config of the run", "learning_rate", "held-out rows"]);
    let shown = place.succeeds("report a/run");
    assert_eq!(shown.trim(), "a/run/report.html");
    assert!(place.text("a/run/report.html") == page);
}

/// Nats in the table's own units are those of standardised columns plus the logarithms of the scales.
fn both_units_and_the_rows_agree(place: &Place, metrics: &str, summary: &serde_json::Value) {
    let scales = &place.json("a/run/data.json")["units"]["standardiser"]["scale"];
    let scales = scales.as_array().unwrap().iter().map(|scale| scale.as_f64().unwrap().ln());
    let log_scale: f64 = scales.sum();
    let number = |name: &str| summary[name].as_f64().unwrap();
    let apart = number("nll_nats") - number("nll_standardised_nats") - log_scale;
    // A few roundings of numbers below 10.
    assert!(apart.abs() < 1e-13, "{apart:e}");
    let mut reader = csv::Reader::from_reader(metrics.as_bytes());
    let rows: Vec<flows_report::record::MetricsRow> =
        reader.deserialize().collect::<Result<_, _>>().unwrap();
    for row in &rows {
        let train = row.train_nats.unwrap() - row.train_standardised_nats.unwrap();
        assert!((train - log_scale).abs() < 1e-13, "{row:?}");
        let validation = row.validation_nats.zip(row.validation_standardised_nats);
        assert!(validation.is_none_or(|(a, b)| (a - b - log_scale).abs() < 1e-13), "{row:?}");
    }
    assert!(rows.iter().any(|row| row.validation_nats.is_some()));
    let bytes = place.bytes("a/run/test_log_prob.npy");
    let rows: Vec<f64> = npyz::NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap();
    assert_eq!(rows.len(), 60);
    let mean = rows.iter().sum::<f64>() / 60.0;
    assert!((mean + number("nll_nats")).abs() < 1e-12, "{mean}");
}

#[test]
fn a_run_that_runs_out_of_patience_is_finished_and_says_when_and_why() {
    let place = Place::new();
    place.gaussian("g.csv", 200);
    // Steps of this size make validation worse sooner or later.
    let wild = "preset = \"real-nvp\"\n[train]\npatience = 1\nvalidate_every = 1\n\
        [train.optimiser]\nlearning_rate = 0.1\n";
    place.write("wild.toml", wild);
    let shown = place.succeeds("fit wild.toml --steps 500 --data g.csv --out run");
    let summary = place.json("run/summary.json");
    assert_eq!((&summary["status"], &summary["stop"]), (&"finished".into(), &"early_stop".into()));
    let steps = summary["steps"].as_u64().unwrap();
    assert!(steps < 500, "{steps}");
    let said =
        format!("stopped early at step {steps}: validation had not improved for 1 validation");
    assert_says(&shown, &[&said]);
}

#[test]
fn the_error_of_one_test_row_is_unknown() {
    let place = Place::new();
    place.gaussian("nine.csv", 9);
    let shown = place.succeeds("fit --flow real-nvp --steps 3 --data nine.csv --out run");
    assert_says(&shown, &["+- unknown nats a row"]);
    assert!(place.json("run/summary.json")["nll_standard_error"].is_null());
    place.succeeds("compare --data nine.csv --flows real-nvp,maf --steps 3 --out out");
    let report = place.text("out/report.html");
    assert!(
        report.contains("± unknown") && report.contains("1 test row, which has no standard error")
    );
    assert!(!report.contains("class=\"mark"), "a flow is best or tied");
    let pairs = place.text("out/pairs.csv");
    let row: Vec<&str> = pairs.lines().nth(1).unwrap().split(',').collect();
    assert_eq!((row[..3].join(","), &row[4..]), ("nine,real-nvp,maf".into(), &["", "1", "1"][..]));
}

#[test]
fn the_same_steps_give_the_same_model_on_one_thread_and_on_two() {
    let place = Place::new();
    place.gaussian("g.csv", 600);
    for flow in ["real-nvp", "nsf-coupling", "ffjord"] {
        for threads in ["1", "2"] {
            let line = format!("fit --flow {flow} --steps 12 --data g.csv --out {flow}{threads}");
            let output = place.command(&line).env("RAYON_NUM_THREADS", threads).output().unwrap();
            crate::succeeded(&output, &line);
        }
        let model = |threads| place.bytes(&format!("{flow}{threads}/model.safetensors"));
        assert!(model(1) == model(2), "{flow}");
        assert_eq!(
            repeatable(&place, &format!("{flow}1")),
            repeatable(&place, &format!("{flow}2"))
        );
    }
}

#[test]
fn another_seed_gives_another_model() {
    let place = Place::with_run("real-nvp", 3);
    place.succeeds("fit --flow real-nvp --steps 3 --seed 1 --data g.csv --out other");
    assert!(place.bytes("run/model.safetensors") != place.bytes("other/model.safetensors"));
}

#[test]
fn a_second_fit_into_a_run_is_refused_and_leaves_it_untouched() {
    let place = Place::with_run("real-nvp", 3);
    let before = place.bytes("run/model.safetensors");
    let message = place.fails(2, "fit --flow real-nvp --steps 3 --data g.csv --out run");
    assert_says(&message, &["run holds a run", "--resume", "--out"]);
    assert!(place.bytes("run/model.safetensors") == before);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let place = Place::new();
    place.gaussian("g.csv", 100);
    place.write("file", "kept");
    for out in ["file", "file/run", "/dev/null/run"] {
        let line = format!("fit --flow real-nvp --steps 3 --data g.csv --out {out}");
        assert_says(&place.fails(1, &line), &[out, "the folder cannot be made"]);
    }
    assert_eq!(place.text("file"), "kept");
}

#[test]
fn a_budget_of_nothing_is_wrong_usage() {
    let place = Place::new();
    place.gaussian("g.csv", 100);
    for budget in ["--steps 0", "--seconds 0", "--seconds=-1", "--seconds nan", "--seconds inf"] {
        let message = place.fails(2, &format!("fit {budget} --data g.csv --out run"));
        assert_says(&message, &["must be positive and finite, got "]);
        let message = place.fails(2, &format!("compare {budget} --out out"));
        assert_says(&message, &["must be positive and finite, got "]);
    }
    assert_eq!(place.files("."), ["g.csv"]);
}

#[test]
fn a_loss_that_stops_being_finite_is_told_with_its_step_and_what_to_try() {
    let place = Place::new();
    place.gaussian("g.csv", 600);
    place.write(
        "wild.toml",
        "preset = \"real-nvp\"\n[train]\nclip_norm = 1e30\n[train.optimiser]\nlearning_rate = 1e9\n",
    );
    let message = place.fails(1, "fit wild.toml --steps 200 --data g.csv --out run");
    assert_says(&message, &["at step ", "lower learning_rate", "run"]);
    let metrics = place.text("run/metrics.csv");
    assert!(metrics.lines().nth(1).is_some_and(|row| row.starts_with("1,")), "{metrics}");
    let summary = place.json("run/summary.json");
    assert_eq!((&summary["status"], &summary["nll_nats"]), (&"diverged".into(), &().into()));
    // It would diverge again.
    let again = place.fails(1, "fit wild.toml --steps 200 --data g.csv --out run --resume");
    assert_eq!(again, message);
}

#[test]
fn an_outlier_in_any_part_of_the_table_is_an_error_or_a_finite_result_and_never_a_panic() {
    let place = Place::new();
    place.gaussian("g.csv", 200);
    let text = place.text("g.csv");
    // Lines 11, 12 and 13 of the file are rows 10, 11 and 12 less the header: test, validation, training.
    for (part, line) in [("test", 11), ("validation", 12), ("training", 13)] {
        for outlier in ["1e30", "1e300"] {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines[line] = format!("3.0,{outlier}");
            let (file, run) = (format!("{part}{outlier}.csv"), format!("{part}{outlier}"));
            place.write(&file, lines.join("\n"));
            let line = format!(
                "fit --flow real-nvp --split every-tenth --steps 60 --data {file} --out {run}"
            );
            let output: Output = place.command(&line).output().unwrap();
            if output.status.success() {
                let nats = place.json(&format!("{run}/summary.json"))["nll_nats"].as_f64();
                assert!(nats.is_some_and(f64::is_finite), "{line}");
            } else {
                failed(&output, 1, &line);
            }
        }
    }
}

#[test]
fn validation_rows_out_of_reach_do_not_end_training() {
    let place = Place::new();
    place.gaussian("g.csv", 200);
    let mut lines: Vec<String> = place.text("g.csv").lines().map(str::to_owned).collect();
    lines[12] = "3.0,1e30".into();
    place.write("outlier.csv", lines.join("\n"));
    let train = "[train]\nvalidate_every = 5\npatience = 2\n";
    place.write("c.toml", format!("preset = \"real-nvp\"\n{train}"));
    place.succeeds("fit c.toml --split every-tenth --steps 60 --data outlier.csv --out run");
    assert_eq!(place.json("run/summary.json")["steps"], 60);
}

#[test]
fn columns_of_integers_are_warned_about_and_dequantised_on_request() {
    let place = Place::new();
    let rows: String = (0..60).map(|i| format!("{},{}.5\n", i % 5, i * 7 % 11)).collect();
    place.write("n.csv", "count,size\n".to_owned() + &rows);
    let line = "fit --flow real-nvp --steps 3 --data n.csv --out plain";
    let output = place.command(line).output().unwrap();
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && warning.starts_with("warning: "), "{warning}");
    assert_says(&warning, &["\"count\" holds integers only", "dequantise"]);
    place.write("noise.toml", "preset = \"real-nvp\"\n[data]\ndequantise = \"integers\"\n");
    let line = "fit noise.toml --steps 3 --data n.csv --out noise";
    let output = place.command(line).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !told.contains("\"count\""), "{told}");
}

/// A density in own units is one over the product of the steps: bits are those of the probability of a cell.
#[test]
fn discrete_features_have_bits_per_dimension() {
    let place = Place::new();
    let rows: String =
        (0..200).map(|i| format!("{},{}\n", i * 7 % 5, 0.25 * f64::from(i * 5 % 8))).collect();
    place.write("n.csv", "count,quarters\n".to_owned() + &rows);
    place.succeeds("fit --flow real-nvp --steps 3 --data n.csv --dequantise grids --out run");
    let bits = |run: &str| {
        let summary = place.json(&format!("{run}/summary.json"));
        (summary["nll_nats"].as_f64().unwrap(), summary["bits_per_dimension"].as_f64())
    };
    let (nats, found) = bits("run");
    let expected = (nats - 0.25f64.ln()) / (2.0 * std::f64::consts::LN_2);
    assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?} for {expected}");
    assert_says(&place.text("run/report.html"), &["Bits per dimen"]);
    // A column without noise has a density and no probability.
    place.succeeds("fit --flow real-nvp --steps 3 --data n.csv --dequantise integers --out part");
    assert_eq!(bits("part").1, None);
    // The digits come with the noise of their 17 levels.
    place.succeeds("fit --flow real-nvp --steps 2 --problem digits --out digits");
    let (nats, found) = bits("digits");
    assert!((found.unwrap() - nats / (64.0 * std::f64::consts::LN_2)).abs() < 1e-12, "{found:?}");
}

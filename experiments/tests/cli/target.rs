//! `fit --objective reverse-kl`: a density instead of a table, and supports of both.

use flows_bench::table::{self, Table};

use crate::{Place, assert_says};

const SMALL: &str = "preset = \"nsf-coupling\"\n[flow]\nlayers = 2\n\
                     transformer.bins = 4\n\
                     conditioner = { kind = \"perceptron\", hidden = [8] }\n";

#[test]
fn a_density_is_fitted_and_the_run_is_used_like_any_other() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    for gradient in ["path", "reparameterised"] {
        let line = format!(
            "fit c.toml --objective reverse-kl --target u2 --gradient {gradient} --steps 40 \
             --out {gradient}"
        );
        let shown = place.succeeds(&line);
        assert_says(&shown, &["reverse KL", "forward KL", "effective sample size", "40 steps"]);
        let summary = place.json(&format!("{gradient}/summary.json"));
        let run: flows_report::record::RunSummary =
            serde_json::from_value(summary.clone()).unwrap();
        assert_eq!(shown.contains("cannot be trusted"), run.doubt().is_some(), "{shown}");
        let found = &summary["on_target"];
        let number = |name: &str| found[name].as_f64().unwrap();
        // A divergence is not negative, and log Z is known; by four standard errors.
        let error = number("reverse_kl_standard_error");
        assert!(error > 0.0 && number("reverse_kl_nats") > -4.0 * error, "{found}");
        assert!((number("exact_log_normaliser_nats") - 2.082_089).abs() < 1e-6);
        assert!(number("draws") >= 100_000.0);
        assert!((0.0..=1.0).contains(&number("effective_sample_size")));
        assert!(summary["kl_nats"].as_f64().unwrap() > 0.0 && summary["nll_nats"].is_null());
        let metrics = place.text(&format!("{gradient}/metrics.csv"));
        assert!(metrics.lines().next().unwrap().contains("reverse_nats"), "{metrics}");
    }
    let config: toml::Table = place.text("path/config.toml").parse().unwrap();
    assert_eq!(config["target"].as_str(), Some("u2"));
    assert_eq!(config["train"]["objective"]["estimator"].as_str(), Some("path"));
    place.succeeds("sample path --rows 500 --out s.csv");
    let draws = place.table("s.csv");
    assert!((0..500).all(|row| draws.row(row)[0].abs() < 4.0), "draws lie in the support");
    place.succeeds("log-prob path --data s.csv --out l.csv");
    place.succeeds("transform path --direction inverse --data s.csv --out t.npz");
    assert_eq!(place.table("l.csv").rows(), 500);
}

#[test]
fn a_fit_of_a_density_goes_on_as_if_it_had_not_been_cut_off() {
    let place = Place::new();
    let fit = "fit c.toml --objective reverse-kl --target u1";
    // Schedule and annealing are over the budget: constant ones make both halves the same run.
    let constant = "[train]\nschedule = \"constant\"\n\
                    [train.objective]\nannealing = { from = 1.0, until = 1.0 }\n";
    place.write("c.toml", format!("{SMALL}{constant}"));
    place.succeeds(&format!("{fit} --steps 30 --out whole"));
    place.succeeds(&format!("{fit} --steps 12 --out part"));
    place.succeeds("fit --resume --steps 30 --out part");
    assert!(place.bytes("part/model.safetensors") == place.bytes("whole/model.safetensors"));
    let found = |run: &str| place.json(&format!("{run}/summary.json"))["on_target"].clone();
    assert_eq!(found("part"), found("whole"));
    for (flags, words) in [
        ("--target u1", ["--target", "--resume"]),
        ("--objective reverse-kl", ["--objective", "--resume"]),
        ("--gradient path", ["--gradient", "--resume"]),
    ] {
        let line = format!("fit --resume {flags} --steps 40 --out part");
        assert_says(&place.fails(2, &line), &words);
    }
    place.gaussian("g.csv", 100);
    let line = "fit --resume --steps 40 --data g.csv --out part";
    assert_says(&place.fails(2, line), &["--data", "u1"]);
}

#[test]
fn flags_and_settings_that_do_not_go_together_are_wrong_usage() {
    let place = Place::new();
    place.gaussian("g.csv", 100);
    place.write("reverse.toml", "[train.objective]\nkind = \"reverse_kl\"\n");
    place.write(
        "likely.toml",
        "target = \"u1\"\n[train]\nobjective = { kind = \"maximum_likelihood\" }\n",
    );
    place.write(
        "support.toml",
        "target = \"u2\"\nsupport = [{ kind = \"real\" }, { kind = \"real\" }]\n",
    );
    let before = place.files(".");
    for (flags, words) in [
        ("--objective reverse-kl", vec!["--target", "u1", "many-well"]),
        ("--objective reverse-kl --data g.csv", vec!["--target", "u1"]),
        ("--objective reverse-kl --target u1 --data g.csv", vec!["--data", "u1"]),
        ("--objective maximum-likelihood --target u1", vec!["maximum-likelihood", "--data"]),
        ("--objective maximum-likelihood", vec!["--data"]),
        ("--gradient path --data g.csv", vec!["--gradient", "reverse-kl"]),
        ("--gradient path --objective maximum-likelihood --data g.csv", vec!["--gradient"]),
        ("reverse.toml --data g.csv", vec!["reverse.toml", "--target"]),
        ("likely.toml", vec!["likely.toml", "u1", "objective"]),
        ("support.toml", vec!["support.toml", "support", "u2"]),
        ("", vec!["--data", "--target"]),
    ] {
        let message = place.fails(2, &format!("fit {flags} --steps 3 --out run"));
        assert_says(&message, &words);
        assert_eq!(place.files("."), before, "{flags}");
    }
    let output = place.command("fit --target u5 --steps 3 --out run").output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_says(&message, &["u5", "u1, u2, u3, u4, cross, banana, funnel, many-well"]);
}

#[test]
fn a_table_with_bounded_columns_gets_a_flow_that_keeps_to_them() {
    let place = Place::new();
    let rows = 400;
    let value = |i: usize| (i as f64 + 0.5) / rows as f64;
    let values: Vec<f64> = (0..rows)
        .flat_map(|i| [value(i * 7 % rows), -value(i * 11 % rows).ln(), value(i * 13 % rows).ln()])
        .collect();
    let names = ["share", "age", "debt"].map(String::from).to_vec();
    table::write(&place.path("t.csv"), &Table::new(names, 3, values).unwrap()).unwrap();
    let support = "support = [{ kind = \"interval\", from = 0, to = 1 }, \
                   { kind = \"above\", from = 0 }, { kind = \"below\", to = 0 }]\n";
    place.write("c.toml", format!("{support}{SMALL}"));
    place.succeeds("fit c.toml --steps 30 --data t.csv --out run");
    let kept: toml::Table = place.text("run/config.toml").parse().unwrap();
    assert_eq!(kept["support"].as_array().map(Vec::len), Some(3));
    place.succeeds("sample run --rows 1000 --out s.csv");
    let draws = place.table("s.csv");
    for row in (0..1000).map(|row| draws.row(row)) {
        assert!((0.0..=1.0).contains(&row[0]) && row[1] >= 0.0 && row[2] <= 0.0, "{row:?}");
    }
    place.succeeds("log-prob run --data t.csv --out l.csv");
    let interval = |ends: &str| {
        let real = "{ kind = \"real\" }";
        format!("support = [{{ kind = \"interval\", {ends} }}, {real}, {real}]\n{SMALL}")
    };
    place.write("c.toml", interval("from = 0, to = 0.9"));
    let message = place.fails(1, "fit c.toml --steps 3 --data t.csv --out other");
    assert_says(&message, &["t.csv, row", "share", "0.9"]);
    place.write("c.toml", format!("support = [{{ kind = \"real\" }}]\n{SMALL}"));
    let message = place.fails(2, "fit c.toml --steps 3 --data t.csv --out other");
    assert_says(&message, &["support", "3 columns", "got 1"]);
    place.write("c.toml", interval("from = 1, to = 0"));
    let message = place.fails(2, "fit c.toml --steps 3 --data t.csv --out other");
    assert_says(&message, &["c.toml", "support of column 0"]);
}

#[test]
fn every_base_trains_on_a_table() {
    let place = Place::new();
    place.gaussian("g.csv", 300);
    for (name, base) in [
        ("full", "{ kind = \"full_normal\" }"),
        ("mixture", "{ kind = \"mixture\", components = 3 }"),
        ("student", "{ kind = \"student_t\", nu = 4.0 }"),
        ("laplace", "{ kind = \"laplace\" }"),
        ("logistic", "{ kind = \"logistic\" }"),
    ] {
        place.write("c.toml", format!("base = {base}\n{SMALL}"));
        place.succeeds(&format!("fit c.toml --steps 10 --data g.csv --out {name}"));
        place.succeeds(&format!("log-prob {name} --data g.csv --out {name}.csv"));
    }
    for (base, word) in [
        ("{ kind = \"mixture\", components = 0 }", "component"),
        ("{ kind = \"student_t\", nu = -1.0 }", "degrees of freedom"),
    ] {
        place.write("c.toml", format!("base = {base}\n{SMALL}"));
        let message = place.fails(2, "fit c.toml --steps 3 --data g.csv --out wrong");
        assert_says(&message, &["c.toml", word]);
    }
}

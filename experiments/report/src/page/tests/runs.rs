//! The pages of single runs.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{attributes, fixture};
use crate::record::{OnTarget, RunSummary, Status};

/// The page of the fixture's run of the spline flow on `problem`, changed by `change`.
fn report(
    problem: &str,
    (columns, context): (&[String], &[&str]),
    change: impl FnOnce(&Path, &mut RunSummary),
) -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    fixture::write(dir.path(), 3);
    let run = dir.path().join(format!("runs/{problem}/nsf/seed-1"));
    let context: Vec<_> =
        context.iter().map(|name| serde_json::json!({"kind": "number", "name": name})).collect();
    let data = serde_json::json!({"columns": columns, "context": context, "rows": [900, 50, 60]});
    fs::write(run.join("data.json"), data.to_string()).unwrap();
    fs::write(run.join("config.toml"), "seed = 1 # <kept>\n").unwrap();
    let truth = dir.path().join(format!("problems/{problem}/samples.npy"));
    fs::copy(truth, run.join("data_samples.npy")).unwrap();
    let mut summary: RunSummary =
        serde_json::from_str(&fs::read_to_string(run.join("summary.json")).unwrap()).unwrap();
    change(&run, &mut summary);
    fs::write(run.join("summary.json"), serde_json::to_string(&summary).unwrap()).unwrap();
    let page = crate::write(&run).unwrap();
    assert_eq!(page, run.join("report.html"));
    let html = fs::read_to_string(page).unwrap();
    assert!(!html.contains("://") && !html.contains("-- compare"));
    (dir, html)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("<x{i}>")).collect()
}

#[test]
fn a_run_on_a_table_has_its_config_numbers_curve_and_pairs() {
    let (dir, html) = report("wine", (&names(11), &[]), |_, run| {
        run.warnings = vec!["<x3> counts its rows.".into()];
    });
    assert!(html.contains("<title>nsf on wine</title>"));
    assert!(
        html.contains("A finite flow of 11 features, trained on 900 rows, tested on 60, seed 1")
    );
    assert!(html.contains("seed = 1 # &lt;kept&gt;"));
    assert!(html.contains("<li>&lt;x3&gt; counts its rows.</li>"));
    // The fixture's loss is 9.9 + 0.2 + 0.014 with an error of 0.083, and 4.2 less standardised.
    assert!(html.contains("NLL, own units (nats)</th><td class=\"number\" data-value=\"10.11"));
    assert!(html.contains("10.11 ± 0.08") && html.contains("5.91 ± 0.08"));
    assert!(html.contains("Learning curves: validation loss"));
    // Three pairs of features of the data and of the flow.
    let figures = dir.path().join("runs/wine/nsf/seed-1/figures");
    let drawn = fs::read_dir(figures).unwrap().count();
    // Two files of each panel, five of the curve, and their list.
    assert_eq!((drawn, html.matches("<svg ").count()), (6 * 2 + 5 + 1, 7));
    let ids = attributes(&html, "id");
    for target in attributes(&html, "aria-labelledby") {
        assert!(ids.contains(&target), "{target}");
    }
}

#[test]
fn two_features_have_an_image_and_one_has_a_curve() {
    let plane = |_: &Path, run: &mut RunSummary| {
        (run.window, run.kl_nats) = (Some([-4.0, 4.0, -4.0, 4.0]), None);
        run.pictures = vec![String::new()];
    };
    let (dir, html) = report("ring", (&names(2), &[]), plane);
    let figures = dir.path().join("runs/ring/nsf/seed-1/figures");
    assert!(figures.join("run-flow-density.svg").exists());
    assert!(!figures.join("run-data-density.svg").exists() && !html.contains("class=\"missing\""));
    assert!(html.contains("divided by the largest learned one on the window"));
    // The fixture has draws of two columns, which one feature does not.
    let (_dir, html) = report("ring", (&names(1), &[]), plane);
    assert!(html.contains("Density of &lt;x0&gt;. Points: the share of rows"));
    assert!(html.contains("No points of Data: samples: expected 1 columns, got 2."));
}

#[test]
fn a_conditional_run_shows_what_its_pictures_are_given() {
    let (_dir, html) = report("ring", (&names(2), &["c"]), |_, run| {
        run.window = Some([-4.0, 4.0, -4.0, 4.0]);
        run.pictures = vec!["c 0".into(), "c 1".into()];
    });
    assert!(html.contains("2 features given c, trained"));
    assert!(html.contains("<figcaption>c 0</figcaption>") && html.contains("c 1</figcaption>"));
    assert!(html.contains("the largest density of that picture") && !html.contains("missing\""));
}

#[test]
fn a_doubtful_number_is_marked_where_it_is_printed() {
    let (_dir, html) = report("ring", (&names(2), &[]), |_, run| {
        run.nll_nats = None;
        run.on_target = Some(OnTarget {
            reverse_kl_nats: Some(0.1),
            reverse_kl_standard_error: Some(0.001),
            effective_sample_size: 0.9,
            pareto_k: Some(0.2),
            zero_weights: 0,
            evidence_bound_nats: Some(1.99),
            evidence_bound_standard_error: Some(0.001),
            log_normaliser_nats: 1.5,
            log_normaliser_standard_error: Some(0.001),
            exact_log_normaliser_nats: Some(2.0),
            draws: 1000,
        });
    });
    let said = "cannot be trusted: log Z is 0.5000 nats below the exact one, 500 standard errors";
    let table = html.split("<table").nth(1).unwrap().split("</table>").next().unwrap();
    let marked: Vec<&str> = table.split("<tr>").filter(|row| row.contains(said)).collect();
    assert_eq!(marked.len(), 2);
    assert!(marked[0].contains("Effective sample size") && marked[1].contains("log Z (nats)"));
    assert!(html.contains(&format!("<li>The effective sample size and log Z {said}")));
    assert!(html.contains("Target") && !table.contains(">KL (nats)<"));
}

#[test]
fn a_run_that_diverged_has_a_page_without_draws() {
    let (_dir, html) = report("wine", (&names(11), &[]), |dir, run| {
        let (problem, flow) = (run.problem.clone(), run.flow.clone());
        *run = RunSummary::finished([&problem, &flow], run.family, run.seed);
        run.status = Status::Diverged;
        run.message = Some("the loss is <nan>".into());
        fs::remove_file(dir.join("metrics.csv")).unwrap();
    });
    assert!(html.contains("diverged: the loss is &lt;nan&gt;."));
    assert!(html.contains("Nothing was measured.") && html.contains("metrics.csv is missing"));
    let dir = TempDir::new().unwrap();
    assert!(crate::write(dir.path()).unwrap_err().to_string().contains("comparison.json"));
}

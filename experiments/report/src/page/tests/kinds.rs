//! Reports of conditional problems and of densities without data.

use std::fs;
use std::path::Path;

use super::{attributes, change_comparison, change_runs, report};
use crate::record::{Matrix, OnTarget, Problem, ProblemKind};

/// Changes the first problem of the comparison, `ring`, and leaves out the others.
fn only(dir: &Path, change: impl FnOnce(&mut Problem)) {
    change_comparison(dir, |comparison| {
        comparison.problems.truncate(1);
        change(comparison.problems.first_mut().unwrap());
    });
}

fn conditional(dir: &Path, dim: usize, context: &str, pictures: &[&str]) {
    only(dir, |problem| {
        problem.kind = ProblemKind::Conditional;
        problem.dim = dim;
        problem.context = vec![context.into()];
        problem.pictures = pictures.iter().map(|&words| words.to_owned()).collect();
    });
}

#[test]
fn a_conditional_density_has_a_row_for_each_source_and_a_column_for_each_context() {
    let (dir, html) = report(|dir| {
        conditional(dir, 2, "<a>", &["<a> -1", "<a> 1"]);
        fs::remove_dir_all(dir.join("runs/ring/ffjord")).unwrap();
    });
    let rows = html.split("class=\"slices\" style=\"--columns: 2\"").nth(1).unwrap();
    let rows = rows.split("<p class=\"caption\">").next().unwrap();
    let titles: Vec<&str> = rows.split("<p class=\"title\">").skip(1).collect();
    let pictures: Vec<usize> = titles.iter().map(|row| row.matches("<svg ").count()).collect();
    assert_eq!(pictures, [2, 2, 0, 2]);
    assert!(titles[0].starts_with("Truth") && titles[2].contains("seed-1/density.npy is missing"));
    assert_eq!(rows.matches("<figcaption>&lt;a&gt; -1</figcaption>").count(), 3);
    assert!(html.contains("p(x | &lt;a&gt;)") && html.contains("2 features given &lt;a&gt;"));
    assert!(html.contains("expected entropy of the truth"));
    // The halves of the image are pictures of their own: the ring is not the same in both.
    let image = |part: u32| {
        let path = dir.path().join(format!("figures/ring-nsf-density-{part}.svg"));
        fs::read_to_string(path).unwrap().split("base64,").nth(1).unwrap().to_owned()
    };
    assert_ne!(image(1), image(2));
    assert!(!dir.path().join("figures/ring-nsf-density.svg").exists());
    // Curves and tables are those of a toy.
    assert!(html.contains("Learning curves: validation loss minus the entropy"));
    assert!(html.contains("KL (nats)"));
}

#[test]
fn one_feature_along_its_context_is_a_single_picture() {
    let (dir, html) = report(|dir| conditional(dir, 1, "c", &["along c"]));
    assert!(html.contains("Density p(x1 | c), c to the right"));
    assert!(!html.contains("class=\"slices\""));
    let svg = fs::read_to_string(dir.path().join("figures/ring-real-nvp-density.svg")).unwrap();
    assert!(svg.contains("density of RealNVP") && svg.contains("<image "));
}

#[test]
fn along_a_context_of_a_table_each_column_has_its_own_scale() {
    let (_dir, html) = report(|dir| {
        conditional(dir, 1, "a", &["along b"]);
        only(dir, |problem| {
            problem.kind = ProblemKind::Table;
            problem.context = vec!["a".into(), "b".into()];
            problem.along = Some("b".into());
            problem.entropy_nats = None;
        });
    });
    let caption = "Density p(x1 | a, b), b to the right, divided by the largest one of its column";
    assert!(html.contains(caption), "{html}");
    let matrix = Matrix { rows: 2, columns: 2, values: vec![1.0, f64::NEG_INFINITY, 3.0, 2.0] };
    let scaled = matrix.less_largest_of_columns().values;
    assert_eq!(scaled, [-2.0, f64::NEG_INFINITY, 0.0, 0.0]);
}

#[test]
fn an_image_that_does_not_hold_all_pictures_is_named() {
    let (_dir, html) = report(|dir| conditional(dir, 2, "c", &["c 1", "c 2", "c 3"]));
    assert!(html.contains("No density: expected 3 parts of equally many rows, got 80 rows"));
}

#[test]
fn more_features_than_a_picture_holds_are_shown_in_pairs() {
    let (_dir, html) = report(|dir| {
        conditional(dir, 2, "c", &[]);
        change_comparison(dir, |comparison| comparison.problems[0].window = None);
    });
    assert!(html.contains("Draws are given the contexts of these rows."));
}

fn on_target(log_normaliser_nats: f64) -> Option<OnTarget> {
    Some(OnTarget {
        reverse_kl_nats: Some(0.0312),
        reverse_kl_standard_error: Some(0.0004),
        effective_sample_size: 0.81,
        pareto_k: Some(0.2),
        zero_weights: 0,
        evidence_bound_nats: Some(1.99),
        evidence_bound_standard_error: Some(0.001),
        log_normaliser_nats,
        log_normaliser_standard_error: Some(0.001),
        exact_log_normaliser_nats: Some(2.0),
        draws: 100_000,
    })
}

#[test]
fn numbers_on_a_target_stand_beside_the_exact_ones_and_are_marked_where_they_are_wrong() {
    let (_dir, html) = report(|dir| {
        only(dir, |problem| {
            problem.kind = ProblemKind::Target;
            (problem.entropy_nats, problem.window, problem.test_rows) = (None, None, 0);
        });
        change_runs(dir, "ring", |run| {
            (run.nll_nats, run.nll_standard_error) = (None, None);
            (run.normalisation, run.audit) = (None, None);
            let lost = run.flow == "nsf" && run.seed == 2;
            run.on_target = on_target(if lost { 1.657 } else { 2.001 });
        });
        for flow in ["real-nvp", "ffjord", "nsf"] {
            for seed in [1, 2] {
                let name = format!("runs/ring/{flow}/seed-{seed}/test_log_prob.npy");
                fs::remove_file(dir.join(name)).unwrap();
            }
        }
    });
    let table = html.split("id=\"target-ring\"").nth(1).unwrap().split("</table>").next().unwrap();
    let values = attributes(table, "data-value");
    for value in ["0.0312", "81", "1.657", "2.001", "2"] {
        assert!(values.contains(&value), "{value}: {values:?}");
    }
    assert!(table.contains("1.6570 ± 0.0010") && table.contains(">2.00000<"), "{table}");
    let said = "cannot be trusted: log Z is 0.3430 nats below the exact one, 343 standard errors";
    assert_eq!(table.matches(said).count(), 1);
    assert_eq!(table.matches("not contradicted").count(), 5);
    assert!(html.contains(&format!("Neural spline flow, seed 2: {said}")));
    assert!(html.contains("1 warning<"), "there are no rows to warn of, and none to pair");
    assert!(html.contains("Density without data with 2 features"));
    assert!(html.contains("Learning curves: reverse KL over draws of the flow"));
    assert!(html.contains("has the lowest KL divergence") && html.contains("<dt>log Z</dt>"));
}

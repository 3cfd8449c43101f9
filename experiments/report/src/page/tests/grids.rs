//! Reports of grids of settings.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{attributes, change_comparison, fixture};
use crate::record::Comparison;

/// A report on the first problem of six flows, the first four of them a grid of `settings`.
fn report(
    settings: [&[(&str, &str)]; 4],
    change: impl FnOnce(&mut Comparison),
) -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    fixture::write(dir.path(), 6);
    change_comparison(dir.path(), |comparison| {
        comparison.problems.truncate(1);
        for (flow, settings) in comparison.flows.iter_mut().zip(settings) {
            flow.group = Some("nsf-coupling".into());
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            flow.settings = settings.iter().map(owned).collect();
        }
        change(comparison);
    });
    let html = fs::read_to_string(crate::write(dir.path()).unwrap()).unwrap();
    (dir, html)
}

const LAYERS_AND_TAILS: [&[(&str, &str)]; 4] = [
    &[("flow.layers", "2"), ("flow.transformer.tails", "linear")],
    &[("flow.layers", "2"), ("flow.transformer.tails", "<cut>")],
    &[("flow.layers", "20"), ("flow.transformer.tails", "linear")],
    &[("flow.layers", "20"), ("flow.transformer.tails", "<cut>")],
];

fn svg(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(format!("figures/{name}.svg"))).unwrap()
}

#[test]
fn each_swept_key_has_plots_of_what_is_reached_and_what_it_costs() {
    let (dir, html) = report(LAYERS_AND_TAILS, |_| ());
    for key in ["layers", "tails"] {
        for what in ["KL", "parameters", "time"] {
            let svg = svg(dir.path(), &format!("ring-nsf-coupling-{key}-{what}"));
            assert!(svg.contains(&format!("{what} against {key}")), "{key} {what}");
            // Two curves of two points each, and the swatch of each: round and square.
            let marks = ["<circle ", "<polygon "].map(|mark| svg.matches(mark).count());
            assert_eq!(marks, [3, 3], "{key} {what}");
        }
    }
    let layers = svg(dir.path(), "ring-nsf-coupling-layers-KL");
    assert!(layers.contains("tails linear") && layers.contains("tails &lt;cut&gt;"));
    let tails = svg(dir.path(), "ring-nsf-coupling-tails-KL");
    assert!(tails.contains("layers 20") && tails.contains("&lt;cut&gt;"));
    assert!(html.contains("<h3>Settings of nsf-coupling</h3>"));
    assert!(html.contains("A curve for each setting of tails."));
    let table = html.split("id=\"grid-ring-nsf-coupling\"").nth(1).unwrap();
    let table = table.split("</table>").next().unwrap();
    // The fixture's flows have 38 432, 8 771, 61 204 and 47 110 parameters.
    let values = attributes(table, "data-value");
    for value in ["2", "20", "38432", "8771", "61204", "47110"] {
        assert!(values.contains(&value), "{value}: {values:?}");
    }
    assert_eq!(table.matches("<td>&lt;cut&gt;</td>").count(), 2);
    assert_eq!(table.matches("2 of 2 done").count(), 4);
    for head in ["layers", "tails", "KL (nats)", "Time (s)"] {
        assert!(table.contains(&format!("<th scope=\"col\">{head}</th>")), "{head}");
    }
    // No arguments name the flows of a grid alone.
    assert!(!html.contains("--flows") && html.contains("compare --budget quick"));
}

#[test]
fn a_key_with_one_value_is_not_swept_and_equal_last_parts_are_told_apart() {
    let (dir, html) = report(
        [
            &[("a.width", "8"), ("b.width", "1"), ("ema", "0.9")],
            &[("a.width", "16"), ("b.width", "1"), ("ema", "0.9")],
            &[("a.width", "8"), ("b.width", "2"), ("ema", "0.9")],
            &[("a.width", "16"), ("b.width", "2"), ("ema", "0.9")],
        ],
        |_| (),
    );
    assert!(svg(dir.path(), "ring-nsf-coupling-a-width-KL").contains("b.width 2"));
    assert!(html.contains("against b.width") && !html.contains("against ema"));
}

#[test]
fn without_a_grid_there_is_no_section_of_settings() {
    let (_dir, html) = report(LAYERS_AND_TAILS, |comparison| {
        comparison.flows.iter_mut().for_each(|flow| flow.settings.truncate(0));
    });
    assert!(!html.contains("Settings of"));
}

#[test]
fn a_point_that_did_not_finish_is_left_out_of_the_curves_and_kept_in_the_table() {
    let dir = TempDir::new().unwrap();
    fixture::write(dir.path(), 3);
    change_comparison(dir.path(), |comparison| {
        comparison.problems.truncate(1);
        for (flow, layers) in comparison.flows.iter_mut().zip(["1", "2", "3"]) {
            flow.group = Some("maf".into());
            flow.settings = vec![("layers".into(), layers.into())];
        }
    });
    for seed in [1, 2] {
        let path = dir.path().join(format!("runs/ring/ffjord/seed-{seed}/summary.json"));
        let text = fs::read_to_string(&path).unwrap().replace("\"finished\"", "\"diverged\"");
        fs::write(path, text).unwrap();
    }
    let html = fs::read_to_string(crate::write(dir.path()).unwrap()).unwrap();
    assert_eq!(svg(dir.path(), "ring-maf-layers-KL").matches("<circle ").count(), 3);
    let table =
        html.split("id=\"grid-ring-maf\"").nth(1).unwrap().split("</table>").next().unwrap();
    assert_eq!(table.matches("0 of 2 done").count(), 1);
}

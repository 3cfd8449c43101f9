//! Conditional densities p(x | c): contexts among the columns of a table.

use flows_bench::table::{self, Table};
use flows_core::{normals, stream};

use crate::{Place, assert_says};

/// Standard deviation of y given u and v.
const NOISE: f64 = 0.25;

/// Writes u, v and y = 2 u - v + 3 + noise, with the columns in this order.
fn linear(place: &Place, name: &str, rows: usize, order: [usize; 3]) -> Table {
    let z: Vec<f64> = normals(rows * 3, &mut stream(5, name));
    let row = |z: &[f64]| [z[0], 10.0 * z[1], 2.0 * z[0] - 10.0 * z[1] + 3.0 + NOISE * z[2]];
    let values = z.chunks_exact(3).flat_map(row).collect();
    let names = ["u", "v", "y"].map(String::from).to_vec();
    let table = Table::new(names, 3, values).unwrap();
    table::write(&place.path(name), &table.select_columns(&order).unwrap()).unwrap();
    table
}

/// log N(y; 2 u - v + 3, NOISE^2)
fn truth(row: &[f64]) -> f64 {
    let z = (row[2] - (2.0 * row[0] - row[1] + 3.0)) / NOISE;
    -0.5 * z * z - (NOISE * (2.0 * std::f64::consts::PI).sqrt()).ln()
}

/// The entropy of y given the contexts is 0.03 nats; without them it is above 3.7.
#[test]
fn a_conditional_density_is_learned_scored_and_drawn_from_whatever_the_order_of_columns() {
    let place = Place::new();
    linear(&place, "t.csv", 4_000, [0, 1, 2]);
    place.succeeds("fit --flow real-nvp --steps 600 --context u,v --data t.csv --out run");
    let fresh = linear(&place, "fresh.csv", 2_000, [2, 1, 0]);
    place.succeeds("log-prob run --data fresh.csv --out l.npy");
    let scored = place.table("l.npy");
    let excess =
        (0..2_000).map(|row| truth(fresh.row(row)) - scored.row(row)[0]).sum::<f64>() / 2_000.0;
    // Half a nat would be a density that sees one of the contexts only.
    assert!((-0.05..0.2).contains(&excess), "{excess}");
    let distances = &place.json("run/summary.json")["distances"];
    for name in
        ["sliced_wasserstein", "mmd", "c2st", "rank_histograms", "expected_coverage", "tarp"]
    {
        assert!(distances[name]["null_95"].as_f64().is_some(), "{name}: {distances}");
    }
    // A rank of the truth for y, by density, and by distance.
    assert_eq!(place.table("run/calibration.npy").columns(), 3);
    let page = place.text("run/report.html");
    assert!(page.contains("Expected coverage") && page.contains("TARP"));
    assert!(place.path("run/figures/run-rank-histograms.svg").exists(), "no figure");
    linear(&place, "again.csv", 2_000, [0, 1, 2]);
    place.write("c.csv", "v,u\n1,2\n-20,0.5\n");
    place.succeeds("sample run --context c.csv --repeat 500 --out s.csv");
    let draws = place.table("s.csv");
    assert_eq!((draws.names(), draws.rows()), (&["u", "v", "y"].map(String::from)[..], 1_000));
    for (first, [u, v]) in [(0, [2.0, 1.0]), (500, [0.5, -20.0])] {
        let rows = (first..first + 500).map(|row| draws.row(row));
        assert!(rows.clone().all(|row| row[..2] == [u, v]));
        let mean = rows.map(|row| row[2]).sum::<f64>() / 500.0;
        // The spread of a mean of 500 draws is NOISE / 22; the flow itself may be off by some NOISE.
        assert!((mean - (2.0 * u - v + 3.0)).abs() < 2.0 * NOISE, "{mean} at {u}, {v}");
    }
    place.succeeds("transform run --direction inverse --data fresh.csv --out z.npz");
    place
        .succeeds("transform run --direction forward --data z.npz --context fresh.csv --out x.npz");
    let back = place.table("x.npz");
    assert!((0..2_000).all(|row| (back.row(row)[0] - fresh.row(row)[2]).abs() < 1e-3 * 12.0));
}

/// y is twice the number in `g`, and shifted by 5 where the word is "b": pictures are taken along the
/// number, with the words of rows.
#[test]
fn the_density_of_a_table_is_shown_along_the_context_that_tells_most() {
    let place = Place::new();
    let z: Vec<f64> = normals(3 * 500, &mut stream(8, "rows"));
    let rows = z.chunks_exact(3).enumerate().map(|(i, z)| {
        let (word, shift) = if i % 2 == 0 { ("a", 0.0) } else { ("b", 5.0) };
        format!("{word},{},{},{}\n", z[0], z[1], 2.0 * z[1] + shift + 0.1 * z[2])
    });
    place.write("t.csv", "word,n,g,y\n".to_owned() + &rows.collect::<String>());
    place.succeeds("fit --flow real-nvp --context word,n,g --steps 5 --data t.csv --out line");
    let summary = place.json("line/summary.json");
    assert_eq!(summary["along"], "g");
    let given = "along g and the other contexts of the rows nearest in it";
    assert_eq!(summary["pictures"], serde_json::json!([given]));
    assert_eq!(place.table("line/density.npy").values().len(), 160 * 160);
    assert_says(&place.text("line/report.html"), &["g to the right", "largest one of its column"]);
    place.succeeds("fit --flow real-nvp --context word,g --steps 5 --data t.csv --out plane");
    let pictures = place.json("plane/summary.json")["pictures"].clone();
    let pictures: Vec<String> = serde_json::from_value(pictures).unwrap();
    // The tenth, the middle and the ninetieth hundredth of a standard normal, within 0.2.
    let values: Vec<f64> =
        pictures.iter().map(|given| given.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    for (value, expected) in values.iter().zip([-1.28, 0.0, 1.28]) {
        assert!((value - expected).abs() < 0.2, "{pictures:?}");
    }
    assert_eq!(place.table("plane/density.npy").values().len(), 3 * 160 * 160);
    // Words alone have no order to go along.
    place.succeeds(
        "fit --flow real-nvp --context word --columns y --steps 5 --data t.csv --out word",
    );
    assert!(!place.path("word/density.npy").exists());
}

#[test]
fn contexts_that_do_not_fit_are_named() {
    let place = Place::new();
    linear(&place, "t.csv", 200, [0, 1, 2]);
    for (options, words) in [
        ("--context w", vec!["t.csv", "context", "u, v, y", "\"w\""]),
        ("--context u --columns u,y", vec!["context", "u", "columns"]),
        ("--context u --drop u", vec!["context", "u", "drop"]),
        ("--context u,u", vec!["context", "u is named twice"]),
        ("--context u,v,y", vec!["at least one feature"]),
        ("--drop 3", vec!["drop", "\"3\""]),
    ] {
        let line = format!("fit --flow real-nvp {options} --steps 3 --data t.csv --out run");
        assert_says(&place.fails(2, &line), &words);
        assert!(!place.path("run").exists());
    }
    place.write("one.csv", "c,y\n".to_owned() + &"7,1\n7,2\n7,3.5\n".repeat(5));
    let message = place.fails(1, "fit --context c --steps 3 --data one.csv --out run");
    assert_says(&message, &["one.csv", "context c", "got 7 in every training row"]);
    place.succeeds("fit --flow real-nvp --context 0,v --steps 3 --data t.csv --out run");
    place.write("other.csv", "u,w\n1,2\n");
    let message = place.fails(1, "sample run --context other.csv --out s.csv");
    assert_says(&message, &["other.csv: expected the columns u, v, got u, w"]);
    let message = place.fails(2, "sample run --rows 5 --out s.csv");
    assert_says(&message, &["conditional on u, v", "--context FILE"]);
    place.write("y.csv", "y\n1\n");
    let message = place.fails(1, "log-prob run --data y.csv --out l.csv");
    assert_says(&message, &["y.csv: expected the columns y, u, v, got y, without u"]);
}

#[test]
fn flows_without_a_network_for_the_context_are_refused() {
    let place = Place::new();
    linear(&place, "t.csv", 200, [0, 1, 2]);
    for flow in ["planar", "radial", "sylvester"] {
        let line = format!("fit --flow {flow} --context u --steps 3 --data t.csv --out run");
        assert_says(&place.fails(2, &line), &["context"]);
    }
}

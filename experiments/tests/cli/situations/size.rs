//! One column, hundreds of columns, and numbers of rows that leave one over.

use std::time::{Duration, Instant};

use super::{Rows, exact_normal, excess, nll, small, told};
use crate::{Place, assert_says};

/// Situation 29. With one column an affine flow is a normal whatever its depth, and says so; others are not, and do not.
/// The exponential density has entropy 1, and the best normal (of variance 1) 0.419 nats more.
#[test]
fn affine_flows_of_one_column_are_normals_and_say_so() {
    let place = Place::new();
    let row = |_: usize, z: &[f64]| [0.5 * (z[0] * z[0] + z[1] * z[1])];
    Rows(3_000).write(&place, "t.npy", &["a"], row);
    Rows(3_000).write(&place, "fresh.npy", &["a"], row);
    let truth = |x: &[f64]| -x[0];
    let normal = 0.5 + 0.5 * std::f64::consts::TAU.ln() - 1.0;
    for (preset, affine) in
        [("real-nvp", true), ("maf", true), ("nsf-coupling", false), ("ffjord", false)]
    {
        small(&place, "c.toml", preset, "");
        let line = format!("fit c.toml --steps 100 --data t.npy --out {preset}");
        let stderr = told(&place, &line);
        let says = stderr.contains("is an affine map of its base");
        assert_eq!(says, affine, "{preset}: {stderr}");
        let [mean, error] = excess(&place, preset, "fresh.npy", truth);
        // The moments of 2,400 rows cost the normal about kurtosis / 4 / 2,400 nats.
        let bounds = if affine { [normal, normal + 0.02] } else { [0.0, normal] };
        let low = bounds[0] - 4.0 * error;
        assert!(mean > low && mean < bounds[1] + 4.0 * error, "{preset}: {mean} +- {error}");
    }
}

/// Situation 30. Peaks 20 deviations apart: the best normal is 1.12 nats off per ln 10 of distance.
#[test]
fn two_peaks_of_one_column_stay_finite_and_are_found_by_splines() {
    let place = Place::new();
    let side = |z: &[f64]| if z[1] > 0.0 { 1.0 } else { -1.0 };
    Rows(2_000).write(&place, "t.npy", &["a"], |_, z| [side(z) + 0.1 * z[0]]);
    let entropy = 0.5 + 0.5 * std::f64::consts::TAU.ln() + 0.1_f64.ln() + 2.0_f64.ln();
    let normal = 0.5 + 0.5 * std::f64::consts::TAU.ln() + 0.5 * 1.01_f64.ln();
    place.succeeds("fit --flow planar --steps 200 --data t.npy --out planar");
    let [nats, error] = nll(&place, "planar");
    assert!(nats > entropy - 4.0 * error && nats < normal + 4.0 * error, "{nats} +- {error}");
    small(&place, "c.toml", "nsf-coupling", "");
    place.succeeds("fit c.toml --steps 300 --data t.npy --out spline");
    let [nats, error] = nll(&place, "spline");
    let half = 0.5 * (entropy + normal);
    assert!(nats > entropy - 4.0 * error && nats < half, "{nats} +- {error}");
}

/// Situation 31. Many columns: minutes at most, and what is left out is said. There is nothing to learn.
#[test]
fn hundreds_of_columns_are_evaluated_in_seconds() {
    const COLUMNS: usize = 300;
    let place = Place::new();
    let draws = flows_core::normals(500 * COLUMNS, &mut flows_core::stream(12, "wide"));
    let table = flows_bench::table::Table::new(Vec::new(), COLUMNS, draws).unwrap();
    flows_bench::table::write(&place.path("t.npy"), &table).unwrap();
    small(&place, "c.toml", "nice", "");
    let clock = Instant::now();
    let stderr = told(&place, "fit c.toml --steps 2 --data t.npy --out run");
    // Two seconds of this when nothing else runs.
    assert!(clock.elapsed() < Duration::from_secs(60), "{:?}", clock.elapsed());
    assert_says(&stderr, &["400 training rows for 300 columns", "the audit of Jacobians took"]);
    let [nats, error] = nll(&place, "run");
    let entropy = COLUMNS as f64 * (0.5 + 0.5 * std::f64::consts::TAU.ln());
    assert!(nats > entropy - 4.0 * error, "{nats} +- {error}");
}

/// Situation 32, 37. 513 training rows in batches of 512 leave one row over. Batch norm takes running statistics when
/// it is evaluated, so that a row alone has the bits that it has in the table.
#[test]
fn batch_norm_has_no_trouble_with_one_row_left_over() {
    let place = Place::new();
    let row = |_: usize, z: &[f64]| [z[0], 2.0 * z[1] + z[0]];
    let truth = |x: &[f64]| exact_normal(x[0], 0.0, 1.0) + exact_normal(x[1], x[0], 2.0);
    Rows(1_000).write(&place, "fresh.npy", &["a", "b"], row);
    small(&place, "c.toml", "maf", "");
    let text = place.text("c.toml") + "batch_norm = true\n";
    place.write("c.toml", &text);
    for rows in [641, 643] {
        let table = Rows(rows).write(&place, &format!("{rows}.npy"), &["a", "b"], row);
        place.succeeds(&format!("fit c.toml --steps 100 --data {rows}.npy --out {rows}"));
        let training = place.json(&format!("{rows}/data.json"))["rows"][0].as_u64().unwrap();
        assert!((512..516).contains(&training), "{training}");
        let [mean, error] = excess(&place, &format!("{rows}"), "fresh.npy", truth);
        assert!(mean > -4.0 * error && mean < 4.0 * error + 0.2, "{mean} +- {error}");
        flows_bench::table::write(&place.path("one.npy"), &table.select_rows(&[3]).unwrap())
            .unwrap();
        place.succeeds(&format!("log-prob {rows} --data {rows}.npy --out all.npy"));
        place.succeeds(&format!("log-prob {rows} --data one.npy --out one.csv"));
        assert_eq!(place.table("one.csv").values(), [place.table("all.npy").values()[3]]);
    }
    place.write("one.toml", text + "[train]\nbatch_rows = 1\n");
    let message = place.fails(1, "fit one.toml --steps 5 --data 641.npy --out one");
    assert_says(&message, &["batch norm", "at least 2", "got 1"]);
    place.write("rows.toml", "preset = \"real-nvp\"\n[train]\nbatch_rows = 1\n");
    place.succeeds("fit rows.toml --steps 5 --data 641.npy --out rows");
    assert!(nll(&place, "rows")[0].is_finite());
}

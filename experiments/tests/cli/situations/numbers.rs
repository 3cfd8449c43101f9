//! Numbers that would be wrong without a sign: order, units and scales of columns, single rows.

use flows_bench::table;

use super::{Rows, exact_normal, excess, nll, small, told};
use crate::{Place, assert_says};

/// Situation 1. A model scores columns by their names, and refuses names that it does not know.
#[test]
fn columns_in_another_order_are_found_by_name() {
    let place = Place::new();
    let table = Rows(300).write(&place, "t.csv", &["a", "b"], |_, z| [z[0], 3.0 + 2.0 * z[1]]);
    let swapped = table.select_columns(&[1, 0]).unwrap();
    table::write(&place.path("swapped.csv"), &swapped).unwrap();
    Rows(300).write(&place, "other.csv", &["height", "weight"], |_, z| [z[0], z[1]]);
    Rows(300).write(&place, "extra.csv", &["a", "b", "c"], |_, z| [z[0], z[1], z[2]]);
    small(&place, "c.toml", "real-nvp", "");
    place.succeeds("fit c.toml --steps 20 --data t.csv --out run");
    for (command, out) in [("log-prob run", "npy"), ("transform run --direction inverse", "npz")] {
        for name in ["t", "swapped"] {
            place.succeeds(&format!("{command} --data {name}.csv --out {name}.{out}"));
        }
        assert!(place.bytes(&format!("t.{out}")) == place.bytes(&format!("swapped.{out}")));
        for (name, words) in [("other", ["a, b", "height, weight"]), ("extra", ["a, b", "a, b, c"])]
        {
            let line = format!("{command} --data {name}.csv --out wrong.{out}");
            assert_says(&place.fails(1, &line), &words);
        }
    }
}

/// Situation 5. Uniform on a box of side 1e-3: the density is 1e6, its entropy 2 ln 1e-3. The fitted normal, where
/// training starts, has ln(2 pi e / 12) nats more.
#[test]
fn densities_far_above_one_are_negative_entropies_and_are_drawn() {
    let place = Place::new();
    let uniform = |a: f64, b: f64| (-0.5 * (a * a + b * b)).exp();
    Rows(1_000).write(&place, "box.npy", &["a", "b"], |_, z| {
        [1e-3 * uniform(z[0], z[1]), 1e-3 * uniform(z[2], z[3])]
    });
    place.succeeds("compare --data box.npy --flows real-nvp,b-naf --steps 10 --out out");
    let entropy = 2.0 * 1e-3_f64.ln();
    let normal = entropy + (std::f64::consts::TAU * std::f64::consts::E / 12.0).ln();
    for flow in ["real-nvp", "b-naf"] {
        let [nats, error] = nll(&place, &format!("out/runs/box/{flow}/seed-0"));
        assert!(nats > entropy - 4.0 * error, "{flow}: {nats} +- {error}");
        assert!(nats < normal + 4.0 * error + 0.1, "{flow}: {nats} +- {error}");
    }
}

/// Situation 6, 9. Scales from 1e-300 to 1e150 cost their logarithms and nothing else, in one column and in three.
/// A normal flow is exact at its start but for the error of the moments.
#[test]
fn scales_cost_their_logarithms_and_come_back_in_draws() {
    let place = Place::new();
    small(&place, "c.toml", "real-nvp", "");
    for (index, scales) in [[1e-6, 1.0, 1e6], [1e-300, 1e150, 1.0]].into_iter().enumerate() {
        let (file, run) = (format!("{index}.npy"), format!("run{index}"));
        let row = move |_: usize, z: &[f64]| [scales[0] * z[0], scales[1] * z[1], scales[2] * z[2]];
        Rows(2_000).write(&place, &file, &["a", "b", "c"], row);
        place.succeeds(&format!("fit c.toml --steps 5 --data {file} --out {run}"));
        Rows(2_000).write(&place, "fresh.npy", &["a", "b", "c"], row);
        let truth = |x: &[f64]| (0..3).map(|j| exact_normal(x[j], 0.0, scales[j])).sum();
        let [mean, error] = excess(&place, &run, "fresh.npy", truth);
        assert!(mean > -4.0 * error && mean < 4.0 * error + 0.1, "{mean} +- {error}");
        place.succeeds(&format!("sample {run} --rows 2000 --out s.npy"));
        let draws = place.table("s.npy");
        for (j, scale) in scales.into_iter().enumerate() {
            let square = |row: usize| (draws.row(row)[j] / scale).powi(2);
            let variance = (0..2_000).map(square).sum::<f64>() / 2_000.0;
            // Of the draws and of the training rows, and of a flow that is 0.1 nats off.
            let bound = 8.0 * (2.0 / 2_000.0_f64).sqrt() + 0.2;
            assert!((variance - 1.0).abs() < bound, "column {j}: {variance}");
        }
    }
    for (name, scale) in [("narrow", 1e-6), ("wide", 1e6)] {
        // Not a power of two, so that roundings differ.
        Rows(1_000).write(&place, &format!("{name}.npy"), &["a"], |_, z| [scale * z[0]]);
        place.succeeds(&format!("fit c.toml --steps 5 --data {name}.npy --out {name}"));
        let [nats, error] = nll(&place, name);
        let entropy = exact_entropy(scale);
        // Test rows have the entropy to their error, and training moments cost 1 / 800 nats.
        assert!((nats - entropy).abs() < 4.0 * error + 0.01, "{nats} +- {error}, {entropy}");
    }
}

fn exact_entropy(scale: f64) -> f64 {
    0.5 + scale.ln() + 0.5 * std::f64::consts::TAU.ln()
}

/// Situation 7. A row has the same bits alone, and rows are not taken for columns.
#[test]
fn a_single_row_is_one_row() {
    let place = Place::new();
    let table = Rows(200).write(&place, "t.npy", &["a", "b", "c"], |_, z| [z[0], z[1], z[2]]);
    small(&place, "c.toml", "nsf-coupling", "");
    place.succeeds("fit c.toml --steps 10 --data t.npy --out run");
    place.succeeds("log-prob run --data t.npy --out all.npy");
    table::write(&place.path("one.npy"), &table.select_rows(&[17]).unwrap()).unwrap();
    place.succeeds("log-prob run --data one.npy --out one.csv");
    assert_eq!(place.table("one.csv").values(), [place.table("all.npy").values()[17]]);
    let flat = table::Values::F64(table.row(17));
    table::write_npy(&place.path("flat.npy"), &[3], flat).unwrap();
    table::write_npy(&place.path("column.npy"), &[3, 1], flat).unwrap();
    let message = place.fails(1, "log-prob run --data flat.npy --out l.csv");
    assert_says(&message, &["(3,)", "reshape(1, -1) for one row", "reshape(-1, 1) for one column"]);
    let message = place.fails(1, "log-prob run --data column.npy --out l.csv");
    assert_says(&message, &["3 columns", "got 1"]);
}

/// Situation 8. Times in seconds since 1970 keep their fractions: standardised in double precision, they go through a
/// flow in single precision and come back to some roundings of that.
#[test]
fn time_stamps_keep_fractions_of_a_second() {
    const START: f64 = 1.7e9;
    let place = Place::new();
    let row = |_: usize, z: &[f64]| [START + z[0]];
    Rows(2_000).write(&place, "t.npy", &["t"], row);
    small(&place, "c.toml", "real-nvp", "");
    place.succeeds("fit c.toml --steps 10 --data t.npy --out run");
    let fresh = Rows(2_000).write(&place, "fresh.npy", &["t"], row);
    let [mean, error] = excess(&place, "run", "fresh.npy", |x| exact_normal(x[0], START, 1.0));
    assert!(mean > -4.0 * error && mean < 4.0 * error + 0.01, "{mean} +- {error}");
    place.succeeds("sample run --rows 2000 --out s.npy");
    let mut draws = place.table("s.npy").into_values();
    draws.sort_unstable_by(f64::total_cmp);
    draws.dedup();
    // 2,000 values of 4 units times 2^24 steps in single precision meet a few times at most.
    assert!(draws.len() > 1_990, "{}", draws.len());
    place.succeeds("transform run --direction inverse --data fresh.npy --out z.npz");
    place.succeeds("transform run --direction forward --data z.npz --out x.npz");
    for (a, b) in fresh.values().iter().zip(place.table("x.npz").values()) {
        // Some fifty roundings of values below 4, and one of 1.7e9 in double precision.
        assert!((a - b).abs() < 50.0 * 4.0 * f64::from(f32::EPSILON) + 4e-7, "{a} {b}");
    }
}

/// Situation 10. Means and deviations are those of training rows, whatever stands in the others.
#[test]
fn held_out_rows_do_not_move_the_units() {
    let place = Place::new();
    let table = Rows(500)
        .write(&place, "t.npy", &["a"], |index, z| [if index % 10 == 1 { -1_000.0 } else { z[0] }]);
    small(&place, "c.toml", "real-nvp", "");
    let line = "fit c.toml --steps 60 --split every-tenth --data t.npy --out run";
    let stderr = told(&place, line);
    assert_says(&stderr, &["validation rows differ"]);
    let training: Vec<f64> =
        (0..500).filter(|row| row % 10 > 1).map(|row| table.row(row)[0]).collect();
    let count = training.len() as f64;
    let mean = training.iter().sum::<f64>() / count;
    let variance = training.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let units = place.json("run/data.json")["units"]["standardiser"].clone();
    let kept = |name: &str| units[name][0].as_f64().unwrap();
    // Sums of 400 terms of about one.
    let rounding = 400.0 * f64::EPSILON;
    assert!((kept("mean") - mean).abs() < rounding, "{units}");
    assert!((kept("scale") - variance.sqrt()).abs() < rounding, "{units}");
    assert_eq!(place.json("run/summary.json")["steps"], 60);
}

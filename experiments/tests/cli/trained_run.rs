//! `log-prob`, `sample` and `transform`: numbers of a trained flow, in the data's own units.

use std::f64::consts::PI;
use std::io::Read;

use flows_bench::table::{self, Table};
use flows_core::stream;
use flows_core::train::Checkpoint;

use crate::{CORRELATION, MEANS, Place, SCALES, assert_says, gaussian, log_density};

/// The array `log_det` of a file that `transform` wrote.
fn log_det(place: &Place, name: &str) -> Vec<f64> {
    let file = std::fs::File::open(place.path(name)).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into()).collect();
    assert_eq!(names, ["value.npy", "log_det.npy"]);
    let mut bytes = Vec::new();
    archive.by_name("log_det.npy").unwrap().read_to_end(&mut bytes).unwrap();
    npyz::NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap()
}

#[test]
fn a_fitted_gaussian_has_its_density_its_draws_and_its_transport_in_data_units() {
    let place = Place::new();
    place.gaussian("g.csv", 10_000);
    place.succeeds("fit --flow real-nvp --steps 300 --data g.csv --out run");
    densities_are_those_of_the_gaussian(&place);
    draws_are_those_of_the_gaussian(&place);
    transport_goes_there_and_back(&place);
}

/// The mean of ln p - ln q over n fresh rows is the divergence KL(p, q), which no model brings below
/// 0, with standard error s / sqrt(n). A product of the two margins has a divergence of
/// -ln(1 - r^2) / 2, what the columns tell of each other, and a wrong unit costs a further
/// ln(scale); the flow must have learned 95 % of the former.
fn densities_are_those_of_the_gaussian(place: &Place) {
    let rows = 20_000;
    let values = gaussian(rows, &mut stream(2, "fresh"));
    let fresh = Table::new(Vec::new(), 2, values.clone()).unwrap();
    table::write(&place.path("fresh.npy"), &fresh).unwrap();
    place.succeeds("log-prob run --data fresh.npy --out log_prob.npy");
    let log_prob = place.table("log_prob.npy");
    assert_eq!((log_prob.rows(), log_prob.columns()), (rows, 1));
    let excess: Vec<f64> =
        values.chunks_exact(2).zip(log_prob.values()).map(|(x, l)| log_density(x) - l).collect();
    let mean = excess.iter().sum::<f64>() / rows as f64;
    let variance = excess.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / rows as f64;
    let error = (variance / rows as f64).sqrt();
    let shared = -0.5 * (1.0 - CORRELATION * CORRELATION).ln();
    assert!(mean > -4.0 * error && mean < 0.05 * shared + 4.0 * error, "{mean} +- {error}");
}

/// Each draw's deviation from a mean of the 9,000 training rows or so: 4 standard errors of both.
fn draws_are_those_of_the_gaussian(place: &Place) {
    let rows = 20_000;
    let shown = place.succeeds(&format!("sample run --rows {rows} --seed 5 --out draws.csv"));
    assert!(shown.is_empty(), "{shown}");
    let draws = place.table("draws.csv");
    assert_eq!(draws.names(), ["length", "weight"]);
    assert_eq!(draws.rows(), rows);
    let n = rows as f64;
    // A flow at a divergence k is off by at most about sqrt(2 k) standard deviations in the mean.
    let bias = (2.0 * 0.05 * -0.5 * (1.0 - CORRELATION * CORRELATION).ln()).sqrt();
    let mut standard = Vec::new();
    for column in 0..2 {
        let values = (0..rows).map(|row| draws.row(row)[column]);
        let z: Vec<f64> = values.map(|v| (v - MEANS[column]) / SCALES[column]).collect();
        let mean = z.iter().sum::<f64>() / n;
        let variance = z.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < bias + 4.0 / n.sqrt(), "{column}: mean {mean}");
        assert!((variance - 1.0).abs() < 2.0 * bias + 4.0 * (2.0 / n).sqrt(), "{variance}");
        standard.push(z);
    }
    let product = standard[0].iter().zip(&standard[1]).map(|(a, b)| a * b).sum::<f64>() / n;
    let error = (1.0 + CORRELATION * CORRELATION).sqrt() / n.sqrt();
    assert!((product - CORRELATION).abs() < 2.0 * bias + 4.0 * error, "{product}");
    place.succeeds(&format!("sample run --rows {rows} --seed 5 --out again.csv"));
    assert!(place.bytes("draws.csv") == place.bytes("again.csv"), "one seed, one set of draws");
    place.succeeds(&format!("sample run --rows {rows} --seed 6 --out other.csv"));
    assert!(place.bytes("draws.csv") != place.bytes("other.csv"));
    place.succeeds("sample run --rows 10 --seed 5 --out few.csv");
    let few = place.table("few.csv");
    for (index, (a, b)) in few.values().iter().zip(draws.values()).enumerate() {
        assert_eq!(a, b, "value {index}: fewer rows are the first of more");
    }
}

/// All of it in single precision: a few ulp for each of some 20 layers, amplified by their slopes.
fn transport_goes_there_and_back(place: &Place) {
    place.succeeds("transform run --direction inverse --data fresh.npy --out z.npz");
    place.succeeds("transform run --direction forward --data z.npz --out x.npz");
    let (x, z, back) = (place.table("fresh.npy"), place.table("z.npz"), place.table("x.npz"));
    for row in 0..x.rows() {
        for (j, scale) in SCALES.iter().enumerate() {
            let difference = (x.row(row)[j] - back.row(row)[j]).abs();
            assert!(difference <= 1e-3 * scale, "row {row} column {j}: {difference}");
        }
    }
    let (inverse, forward) = (log_det(place, "z.npz"), log_det(place, "x.npz"));
    assert_eq!((inverse.len(), forward.len()), (x.rows(), x.rows()));
    let log_prob = place.table("log_prob.npy");
    for row in 0..x.rows() {
        let sum = inverse[row] + forward[row];
        assert!(sum.abs() < 1e-3, "row {row}: log-dets {} and {}", inverse[row], forward[row]);
        let base: f64 = z.row(row).iter().map(|z| -0.5 * (z * z + (2.0 * PI).ln())).sum();
        let difference = log_prob.row(row)[0] - (base + inverse[row]);
        // Rounding of sums of magnitude |base| + |log-det| in single precision.
        let bound = 16.0 * f64::from(f32::EPSILON) * (1.0 + base.abs() + inverse[row].abs());
        assert!(difference.abs() < bound, "row {row}: {difference} > {bound}");
    }
}

#[test]
fn a_change_of_units_shifts_the_log_density_by_its_logarithm_alone() {
    // A power of two keeps every rounding, so that both runs train on the same standardised rows.
    let place = Place::new();
    let values = gaussian(300, &mut stream(3, "units"));
    let scaled: Vec<f64> = values.iter().map(|v| v * 1024.0).collect();
    for (name, values) in [("metres", values), ("parts", scaled)] {
        let table = Table::new(Vec::new(), 2, values).unwrap();
        table::write(&place.path(&format!("{name}.npy")), &table).unwrap();
        let line = format!("fit --flow nsf-coupling --steps 5 --data {name}.npy --out {name}");
        place.succeeds(&line);
        place.succeeds(&format!("log-prob {name} --data {name}.npy --out {name}.csv"));
    }
    let tensors = |run: &str| {
        let mut model = Checkpoint::<f32>::read(&place.path(&format!("{run}/model.safetensors")));
        // It tells the units.
        let told = std::mem::take(&mut model.as_mut().unwrap().metadata);
        (model.unwrap(), told)
    };
    let ((metres, in_metres), (parts, in_parts)) = (tensors("metres"), tensors("parts"));
    assert!(metres == parts && in_metres != in_parts && in_metres.contains_key("flows-rs"));
    let (metres, parts) = (place.table("metres.csv"), place.table("parts.csv"));
    for (a, b) in metres.values().iter().zip(parts.values()) {
        assert!((a - b - 2.0 * 1024.0_f64.ln()).abs() < 1e-12 * (1.0 + a.abs()), "{a} {b}");
    }
}

#[test]
fn a_row_beyond_the_reach_of_the_flow_is_named_and_nothing_is_written() {
    let place = Place::with_run("real-nvp", 2);
    place.write("far.csv", "1,2\n1,1e300\n");
    for line in [
        "log-prob run --data far.csv --out out.npz",
        "transform run --direction inverse --data far.csv --out out.npz",
        "transform run --direction forward --data far.csv --out out.npz",
    ] {
        assert_says(&place.fails(1, line), &["far.csv, row 1 (from 0)", "outliers"]);
        assert!(!place.path("out.npz").exists());
    }
    let other = Place::with_run("ffjord", 1);
    other.write("far.csv", "1,2\n1,1e300\n");
    assert_says(&other.fails(1, "log-prob run --data far.csv --out out.csv"), &["far.csv"]);
}

#[test]
fn every_format_holds_the_same_numbers() {
    let place = Place::with_run("ffjord", 2);
    for ending in ["csv", "csv.gz", "npy", "npz"] {
        place.succeeds(&format!("sample run --rows 7 --out s.{ending}"));
        place.succeeds(&format!("log-prob run --data s.{ending} --out l.{ending}"));
        assert_eq!(place.table(&format!("s.{ending}")).values(), place.table("s.csv").values());
        assert_eq!(place.table(&format!("l.{ending}")).values(), place.table("l.csv").values());
    }
    assert_eq!(place.table("l.csv").names(), ["log_prob"]);
}

#[test]
fn a_number_of_draws_without_sense_is_wrong_usage() {
    let place = Place::with_run("real-nvp", 2);
    for rows in ["0", "18446744073709551615"] {
        let message = place.fails(2, &format!("sample run --rows {rows} --out s.csv"));
        assert_says(&message, &["--rows", rows]);
    }
    assert!(!place.path("s.csv").exists());
}

#[test]
fn an_output_of_no_known_format_is_refused_before_any_work() {
    let place = Place::new();
    for line in [
        "log-prob nowhere --data g.csv --out l.txt",
        "sample nowhere --rows 3 --out samples",
        "transform nowhere --direction inverse --data g.csv --out t.csv",
    ] {
        assert_says(&place.fails(2, line), &["expected a name that ends in ."]);
    }
}

#[test]
fn an_output_that_cannot_be_written_is_named_and_what_was_there_is_kept() {
    let place = Place::with_run("real-nvp", 2);
    std::fs::create_dir_all(place.path("full.npz/inside")).unwrap();
    for out in ["nowhere/out.npz", "g.csv/out.npz", "full.npz"] {
        for line in [
            format!("log-prob run --data g.csv --out {out}"),
            format!("sample run --rows 3 --out {out}"),
            format!("transform run --direction inverse --data g.csv --out {out}"),
        ] {
            assert_says(&place.fails(1, &line), &[out, "cannot be written"]);
        }
    }
    assert_eq!(place.files("."), ["full.npz", "g.csv", "run"]);
}

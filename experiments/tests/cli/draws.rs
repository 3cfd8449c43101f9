//! Draws of `chains` and `importance` as other programs read them, and beside a reference.

use std::io::Read;

use serde_json::Value;
use zip::ZipArchive;

use crate::{Place, assert_says};

const SMALL: &str = "preset = \"nsf-coupling\"\nprecision = \"f64\"\n[flow]\nlayers = 2\n\
                     conditioner = { kind = \"perceptron\", hidden = [16] }\n";

impl Place {
    fn with_schools() -> Self {
        let place = Self::new();
        place.write("c.toml", SMALL);
        place.succeeds("fit c.toml --posterior eight_schools_noncentered --steps 100 --out run");
        place
    }

    /// Names of the arrays of an archive, in order.
    fn arrays(&self, file: &str) -> Vec<String> {
        let archive = ZipArchive::new(std::io::Cursor::new(self.bytes(file))).unwrap();
        archive.file_names().map(|name| name.unwrap().replace(".npy", "")).collect()
    }

    /// Shape and values of an array of an archive.
    fn array(&self, file: &str, name: &str) -> (Vec<u64>, Vec<f64>) {
        let mut archive = ZipArchive::new(std::io::Cursor::new(self.bytes(file))).unwrap();
        let mut bytes = Vec::new();
        archive.by_name(&format!("{name}.npy")).unwrap().read_to_end(&mut bytes).unwrap();
        let file = npyz::NpyFile::new(&bytes[..]).unwrap();
        let shape = file.shape().to_vec();
        match file.dtype().descr().contains("b1") {
            true => {
                let values: Vec<bool> = file.into_vec().unwrap();
                (shape, values.into_iter().map(|value| f64::from(u8::from(value))).collect())
            }
            false => (shape, file.into_vec().unwrap()),
        }
    }
}

#[test]
fn chains_are_archives_with_an_array_a_parameter() {
    let place = Place::with_schools();
    let line = "chains run --method nuts --chains 2 --draws 30 --warm-up 60 --seed 3";
    let found: Value =
        serde_json::from_str(&place.succeeds(&format!("{line} --json --out c.npz"))).unwrap();
    place.succeeds(&format!("{line} --out c.csv"));
    let table = place.table("c.csv");
    let column = |name: &str| table.names().iter().position(|other| other == name).unwrap();
    let of_table = |name: &str| {
        let at = column(name);
        (0..60).map(|row| table.row(row)[at]).collect::<Vec<f64>>()
    };
    assert_eq!(place.array("c.npz", "posterior/tau"), (vec![2, 30], of_table("tau")));
    let (shape, theta) = place.array("c.npz", "posterior/theta");
    assert_eq!(shape, [2, 30, 8]);
    for (index, name) in ["theta[1]", "theta[8]"].into_iter().enumerate() {
        let own: Vec<f64> = theta.iter().skip(7 * index).step_by(8).copied().collect();
        assert_eq!(own, of_table(name));
    }
    let statistic = |name: &str| {
        let (shape, values) = place.array("c.npz", &format!("sample_stats/{name}"));
        assert_eq!(shape, [2, 30], "{name}");
        values
    };
    assert_eq!(statistic("lp"), of_table("log_density"));
    let total = |values: Vec<f64>| values.iter().sum::<f64>();
    assert_eq!(total(statistic("n_steps")), found["sampling_evaluations"].as_f64().unwrap());
    assert_eq!(total(statistic("diverging")), found["divergences"].as_f64().unwrap());
    assert!(statistic("acceptance_rate").iter().all(|rate| (0.0..=1.0).contains(rate)));
    assert!(statistic("tree_depth").iter().all(|depth| (1.0..=10.0).contains(depth)));
    assert!(statistic("step_size").chunks(30).all(|sizes| sizes.iter().all(|s| *s == sizes[0])));
    let kinetic = statistic("energy").into_iter().zip(statistic("lp")).map(|(e, lp)| e + lp);
    assert!(kinetic.into_iter().all(|energy| energy > 0.0));

    place.succeeds("chains run --method metropolis --draws 10 --warm-up 10 --out m.npz");
    let mut names = place.arrays("m.npz");
    names.sort();
    assert_eq!(names, ["posterior/mu", "posterior/tau", "posterior/theta", "sample_stats/lp"]);
}

#[test]
fn weighted_draws_are_archives_too() {
    let place = Place::with_schools();
    place.succeeds("importance run --rows 500 --out d.npz");
    place.succeeds("importance run --rows 500 --out d.csv");
    let table = place.table("d.csv");
    for (name, column) in [("log_weight", 10), ("log_prob", 11)] {
        let values: Vec<f64> = (0..500).map(|row| table.row(row)[column]).collect();
        assert_eq!(place.array("d.npz", name), (vec![500], values));
    }
    assert_eq!(place.array("d.npz", "posterior/theta").0, [500, 8]);
    place.succeeds("importance run --rows 500 --rejection --out kept.npz");
    let (shape, _) = place.array("kept.npz", "posterior/mu");
    assert!(shape.len() == 1 && (1..500).contains(&shape[0]), "{shape:?}");
    assert!(!place.arrays("kept.npz").contains(&"log_weight".to_owned()));
}

#[test]
fn draws_are_compared_with_a_reference_and_drawn() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    place.succeeds("fit c.toml --target cross --steps 100 --out run");
    // Named columns in another order, among others.
    let rows: String =
        (0..400).map(|i| format!("{i},{},{}\n", 3 * (i % 2), 1 - 2 * (i / 2 % 2))).collect();
    place.write("reference.csv", format!("draw,x2,x1\n{rows}"));
    let line = "chains run --method nuts --chains 2 --draws 100 --warm-up 100 --out c.csv";
    let line = format!("{line} --reference reference.csv");
    let found: Value = serde_json::from_str(&place.succeeds(&format!("{line} --json"))).unwrap();
    let draws = place.table("c.csv");
    for (index, (mean, deviation)) in [(0.0, 1.0), (1.5, 1.5)].into_iter().enumerate() {
        let values = || (0..200).map(|row| draws.row(row)[2 + index]);
        let own = values().sum::<f64>() / 200.0;
        let spread = (values().map(|x| (x - own).powi(2)).sum::<f64>() / 200.0).sqrt();
        let number = |name: &str| found["reference"][index][name].as_f64().unwrap();
        assert!((number("mean_off_deviations") - (own - mean) / deviation).abs() < 1e-9);
        let percent = 100.0 * (spread / deviation - 1.0);
        assert!((number("deviation_off_percent") - percent).abs() < 1e-9, "{found}");
    }
    let shown = place.succeeds(&format!("{line} --corner chains.svg"));
    assert_says(&shown, &["off reference", "deviation (%)"]);
    let svg = place.text("chains.svg");
    // One pair of two parameters.
    assert_eq!(svg.matches("<image").count(), 1);
    assert_says(&svg, &["x1", "x2", "draws", "reference"]);
    let weighed = "importance run --rows 2000 --out w.csv --reference reference.csv --corner w.svg";
    assert_says(&place.succeeds(weighed), &["off reference", "x2"]);
    assert_says(&place.text("w.svg"), &["resampled by their weights", "reference"]);
}

#[test]
fn what_is_no_reference_is_named() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    place.succeeds("fit c.toml --target cross --steps 2 --out run");
    place.write("three.csv", "a,b,c\n1,2,3\n4,5,6\n");
    place.write("draws.json.zip", "no archive");
    for command in ["importance run --rows 100 --out o.csv", "chains run --draws 5 --out o.csv"] {
        let refused = place.fails(2, &format!("{command} --reference three.csv"));
        assert_says(&refused, &["three.csv", "expected 2 columns", "named x1, x2", "got 3"]);
        let refused = place.fails(1, &format!("{command} --reference draws.json.zip"));
        assert_says(&refused, &["draws.json.zip", "zip archive"]);
        place.fails(1, &format!("{command} --reference none.csv"));
        let refused = place.fails(2, &format!("{command} --corner corner.png"));
        assert_says(&refused, &["--corner corner.png", "ends in .svg"]);
        assert!(!place.path("o.csv").exists());
    }
}

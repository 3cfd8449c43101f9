//! Tables that cannot be used, at each command that takes one.

use experiments::config::DataConfig;
use experiments::problem::UserTable;

use crate::{Place, assert_says};

/// Bytes of an NPY file of version 1 with this header and these values.
fn npy(header: &str, values: &[f64]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len() + 1).unwrap().to_le_bytes());
    bytes.extend(header.bytes());
    bytes.push(b'\n');
    values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    bytes
}

fn array(dtype: &str, shape: &str) -> Vec<u8> {
    let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
    npy(&header, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
}

/// Every bad file with what its message must say beside its name.
fn bad_files() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("empty.csv", text(""), &["empty"]),
        ("header.csv", text("a,b\n"), &["row"]),
        ("ragged.csv", text("a,b\n1,2\n3,4,5\n"), &["line 3", "2", "3"]),
        ("text.csv", text("a,b\n1,2\nhello,4\n"), &["line 3", "\"a\"", "hello"]),
        ("nan.csv", text("a,b\n1,2\n3,nan\n"), &["line 3", "\"b\"", "nan"]),
        ("infinite.csv", text("a,b\n-inf,2\n3,1\n"), &["line 2", "\"a\"", "inf"]),
        ("latin.csv", b"a,\xe9\n1,2\n".to_vec(), &["line 1", "UTF-8"]),
        ("plain.csv.gz", text("1,2\n"), &["gzip"]),
        ("text.npy", text("1,2\n"), &["NPY"]),
        ("vector.npy", array("<f8", "(6,)"), &["(6,)"]),
        ("cube.npy", array("<f8", "(1, 2, 3)"), &["(1, 2, 3)"]),
        ("objects.npy", array("|O", "(3, 2)"), &["O"]),
        ("complex.npy", array("<c16", "(3, 1)"), &["c16"]),
        ("promise.npy", array("<f8", "(1000000000000, 2)"), &["(1000000000000, 2)"]),
        ("broken.npz", b"PK\x03\x04nothing".to_vec(), &["zip"]),
        ("table.txt", text("1,2\n"), &[".csv, .csv.gz, .npy or .npz"]),
    ]
}

#[test]
fn every_command_refuses_a_bad_table_by_name_and_place() {
    let place = Place::with_run("real-nvp", 5);
    let before = place.files("run");
    for (name, bytes, words) in bad_files() {
        place.write(name, bytes);
        for line in [
            format!("fit --steps 5 --data {name} --out other"),
            format!("log-prob run --data {name} --out out.csv"),
            format!("transform run --direction inverse --data {name} --out out.npz"),
        ] {
            let message = place.fails(1, &line);
            assert_says(&message, &[name]);
            assert_says(&message, words);
        }
    }
    assert_eq!(place.files("run"), before);
    for name in ["other", "out.csv", "out.npz"] {
        assert!(!place.path(name).exists(), "{name}");
    }
}

#[test]
fn a_table_that_is_missing_or_a_folder_is_named() {
    let place = Place::with_run("real-nvp", 5);
    std::fs::create_dir(place.path("folder.csv")).unwrap();
    for (name, word) in [("missing.csv", "no such file"), ("folder.csv", "folder")] {
        for line in [
            format!("fit --steps 5 --data {name} --out other"),
            format!("log-prob run --data {name} --out out.csv"),
            format!("transform run --direction forward --data {name} --out out.npz"),
        ] {
            assert_says(&place.fails(1, &line), &[name, word]);
        }
    }
}

#[test]
fn a_table_too_small_or_without_variation_cannot_be_fitted() {
    let place = Place::new();
    let rows = |count: usize, row: &dyn Fn(usize) -> String| -> String {
        (0..count).map(|i| row(i) + "\n").collect()
    };
    place.write("three.csv", rows(3, &|i| format!("{i},{}", i * i)));
    place.write("constant.csv", "a,k\n".to_owned() + &rows(50, &|i| format!("{i}.5,0.1")));
    place.write("same.csv", rows(50, &|_| "1.5,2.5".into()));
    for (name, words) in [
        ("three.csv", ["4 rows", "got 3"]),
        ("constant.csv", ["\"k\"", "got 0.1"]),
        ("same.csv", ["\"x0\"", "got 1.5"]),
    ] {
        let message = place.fails(1, &format!("fit --steps 5 --data {name} --out run"));
        assert_says(&message, &[name]);
        assert_says(&message, &words);
        assert!(!place.path("run").exists());
    }
}

#[test]
fn another_number_of_columns_than_the_run_has_is_refused_with_both() {
    let place = Place::with_run("real-nvp", 5);
    place.write("three.csv", "a,b,c\n1,2,3\n4,5,7\n7,9,9\n1,2,2\n");
    for line in [
        "log-prob run --data three.csv --out out.csv",
        "transform run --direction inverse --data three.csv --out out.npz",
        "transform run --direction forward --data three.csv --out out.npz",
    ] {
        let message = place.fails(1, line);
        assert_says(&message, &["three.csv: expected", "length", "got"]);
    }
    let message = place.fails(1, "fit --resume --data three.csv --out run");
    assert_says(&message, &["three.csv", "expected the table that the run began with"]);
}

#[test]
fn small_wide_and_repeated_tables_can_be_fitted_by_every_preset() {
    let place = Place::new();
    let columns = |count: usize, rows: usize, scale: f64| -> String {
        let value = |row: usize, column: usize| {
            scale * ((row * 7 + column * 13) as f64 * 0.7).sin() + 0.1 * scale * row as f64
        };
        let line = |row| (0..count).map(|c| format!("{:?}", value(row, c))).collect::<Vec<_>>();
        (0..rows).map(|row| line(row).join(",") + "\n").collect()
    };
    place.write("one.csv", columns(1, 40, 1.0));
    place.write("twelve.csv", columns(2, 12, 1.0));
    place.write("repeated.csv", columns(2, 10, 1.0).repeat(5));
    place.write("large.csv", columns(2, 40, 1e6));
    place.write("wide.csv", columns(60, 40, 1.0));
    place.write("names.csv", "a,a\n".to_owned() + &columns(2, 40, 1.0));
    for flow in ["real-nvp", "nsf-coupling", "ffjord"] {
        for name in ["one", "twelve", "repeated", "large", "wide", "names"] {
            if flow == "ffjord" && name == "wide" {
                continue; // The exact trace of 20,000 draws takes 60 tangents each.
            }
            let run = format!("{flow}-{name}");
            let line = format!("fit --flow {flow} --steps 3 --data {name}.csv --out {run}");
            place.succeeds(&line);
            place.succeeds(&format!("sample {run} --rows 3 --out {run}.csv"));
            place.succeeds(&format!("log-prob {run} --data {run}.csv --out {run}.npy"));
        }
    }
    assert_eq!(place.table("real-nvp-names.csv").names(), ["a", "a_2"]);
}

#[test]
fn a_table_is_called_like_its_file_as_far_as_a_folder_can_be() {
    let place = Place::new();
    for (file, name) in
        [("my table.csv", "my-table"), (".hidden.csv", "hidden"), ("a.b.csv", "a-b")]
    {
        place.gaussian(file, 20);
        let table = UserTable::read(&place.path(file), (&DataConfig::default(), &[]), 0).unwrap();
        assert_eq!(table.name(), name);
    }
    place.gaussian("-.csv", 20);
    assert_says(&place.fails(2, "compare --data=-.csv --steps 1 --out out"), &["rename it"]);
}

//! The published preparation of the five standard tables, on small files of their form.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use flows_bench::table::{self, Benchmark, PublishedTable, Table, TableError};

/// `rows` rows whose column j is a smooth, column-dependent sequence around j.
fn waves(rows: usize, columns: usize) -> Vec<f64> {
    let value = |row: usize, column: usize| {
        column as f64 + (1.0 + column as f64) * (row as f64 * (0.7 + 0.31 * column as f64)).sin()
    };
    (0..rows).flat_map(|row| (0..columns).map(move |column| value(row, column))).collect()
}

fn saved(folder: &Path, name: &str, columns: usize, values: Vec<f64>) -> PathBuf {
    let file = folder.join(name);
    table::write(&file, &Table::new(Vec::new(), columns, values).unwrap()).unwrap();
    file
}

/// Mean and variance (divided by `n − less`) of a column over some parts.
fn moments(parts: &[&Table], column: usize, less: usize) -> (f64, f64) {
    let values: Vec<f64> = parts
        .iter()
        .flat_map(|table| (0..table.rows()).map(|row| table.row(row)[column]))
        .collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (values.len() - less) as f64)
}

fn assert_standard(parts: &[&Table], less: usize) {
    for column in 0..parts[0].columns() {
        let (mean, variance) = moments(parts, column, less);
        assert!(
            mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-12,
            "{column}: {mean} {variance}"
        );
    }
}

fn sizes(benchmark: &Benchmark) -> [usize; 4] {
    let Benchmark { training, validation, test } = benchmark;
    assert_eq!(training.columns(), validation.columns());
    assert_eq!(training.columns(), test.columns());
    [training.rows(), validation.rows(), test.rows(), training.columns()]
}

#[test]
fn power_is_shuffled_dequantised_and_standardised() {
    let folder = tempfile::tempdir().unwrap();
    // The time column gets no noise: its ranks show the order of the rows.
    let mut values = waves(100, 8);
    values.chunks_exact_mut(8).enumerate().for_each(|(row, values)| values[7] = row as f64);
    let power = table::power(&saved(folder.path(), "data.npy", 8, values)).unwrap();
    assert_eq!(sizes(&power), [81, 9, 10, 6]);
    assert_standard(&[&power.training, &power.validation], 0);
    assert_eq!(power.training.names(), ["x0", "x2", "x4", "x5", "x6", "x7"]);
    // The permutation of 100 for seed 42 starts with 83, 53, 70 and ends with 14, 92, 51.
    let time = |table: &Table, row: usize| table.row(row)[5];
    let step = (time(&power.training, 1) - time(&power.training, 0)) / (53.0 - 83.0);
    assert!((time(&power.training, 2) - time(&power.training, 1) - 17.0 * step).abs() < 1e-12);
    let last = time(&power.test, 9);
    assert!((time(&power.test, 8) - last - (92.0 - 51.0) * step).abs() < 1e-12);
    assert!((time(&power.test, 7) - last - (14.0 - 51.0) * step).abs() < 1e-12);
}

#[test]
fn gas_loses_named_and_correlated_columns_and_keeps_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let plain = waves(50, 2);
    let mut text = "Time,Meth,Eth,A,B,C\n".to_owned();
    for (row, values) in plain.chunks_exact(2).enumerate() {
        let (a, c) = (values[0], values[1]);
        writeln!(text, "{row},1,2,{a:?},{:?},{c:?}", 3.0 * a + 1e-3 * c).unwrap();
    }
    let file = folder.path().join("gas.csv");
    fs::write(&file, text).unwrap();
    let gas = table::gas(&file).unwrap();
    assert_eq!(sizes(&gas), [41, 4, 5, 2]);
    assert_eq!(gas.training.names(), ["B", "C"]);
    assert_standard(&[&gas.training, &gas.validation, &gas.test], 1);
    let rising = |row: usize| gas.training.row(row)[1] < gas.training.row(row + 1)[1];
    assert_eq!(rising(0), plain[1] < plain[3]);
}

#[test]
fn hepmass_keeps_the_signal_and_drops_discrete_features() {
    let folder = tempfile::tempdir().unwrap();
    let lines = |rows: usize, tail: &str| {
        let mut text = "# label,f0,f1,f2\n".to_owned();
        for (row, values) in waves(rows, 2).chunks_exact(2).enumerate() {
            let (label, discrete) = (row % 2, row % 4);
            writeln!(text, "{label}.0,{:?},{discrete}.0,{:?}{tail}", values[0], values[1]).unwrap();
        }
        text
    };
    let (training, test) =
        (folder.path().join("1000_train.csv"), folder.path().join("1000_test.csv"));
    fs::write(&training, lines(80, "")).unwrap();
    fs::write(&test, lines(20, ",7.0")).unwrap();
    let hepmass = table::hepmass(&training, &test).unwrap();
    assert_eq!(sizes(&hepmass), [36, 4, 10, 2]);
    assert_standard(&[&hepmass.training, &hepmass.validation], 1);
    assert_eq!(hepmass.test.row(0), hepmass.training.row(0));
    fs::write(&test, "0.0,1,2,3\n").unwrap();
    let error = table::hepmass(&training, &test).unwrap_err().to_string();
    let end = "1000_test.csv: expected rows of class 1 in the first column, got none; \
               check that the column is the label";
    assert!(error.ends_with(end), "{error}");
}

#[test]
fn miniboone_is_split_by_tenths() {
    let folder = tempfile::tempdir().unwrap();
    let miniboone = table::miniboone(&saved(folder.path(), "data.npy", 43, waves(65, 43))).unwrap();
    assert_eq!(sizes(&miniboone), [54, 5, 6, 43]);
    assert_standard(&[&miniboone.training, &miniboone.validation], 0);
    let error = table::miniboone(&saved(folder.path(), "few.npy", 43, waves(10, 43))).unwrap_err();
    assert!(matches!(error, TableError::TooFewRows { needed: 11, rows: 10 }));
    assert!(table::miniboone(&saved(folder.path(), "few.npy", 43, waves(11, 43))).is_ok());
    let error = table::miniboone(&saved(folder.path(), "wide.npy", 50, waves(65, 50))).unwrap_err();
    let end = "wide.npy: expected exactly 43 columns as in the published data, got 50; \
               check that it is the file of this data set";
    assert!(error.to_string().ends_with(end), "{error}");
}

#[test]
fn bsds300_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let part = |name: &str, rows: usize| saved(folder.path(), name, 63, waves(rows, 63));
    let parts = [part("train.npy", 5), part("val.npy", 2), part("test.npy", 3)];
    let bsds300 = table::bsds300(&parts[0], &parts[1], &parts[2]).unwrap();
    assert_eq!(sizes(&bsds300), [5, 2, 3, 63]);
    assert_eq!(bsds300.test.values(), waves(3, 63));
}

fn touch(folder: &Path, files: &[&str]) {
    for file in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
}

#[test]
fn files_are_found_where_the_archive_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let found = |table: PublishedTable| {
        let files = table.locate(folder)?;
        Ok(files
            .iter()
            .map(|file| file.strip_prefix(folder).unwrap().to_str().unwrap().to_owned())
            .collect::<Vec<_>>())
    };
    let missing = |table| -> Vec<String> { found(table).unwrap_err() };
    assert_eq!(missing(PublishedTable::Power), ["power/data.npy"]);
    assert_eq!(missing(PublishedTable::Gas), ["gas/ethylene_CO.csv, .csv.gz or .npy"]);
    // A pickle and HDF5 are not read.
    touch(folder, &["gas/ethylene_CO.pickle", "BSDS300/BSDS300.hdf5", "power/data.csv"]);
    assert_eq!(missing(PublishedTable::Power).len(), 1);
    assert_eq!(missing(PublishedTable::Gas).len(), 1);
    assert_eq!(missing(PublishedTable::Bsds300)[2], "BSDS300/test.npy, .csv or .csv.gz");
    touch(folder, &["power/data.npy", "GAS/Ethylene_CO.npy", "bsds300/train.npy"]);
    touch(folder, &["hepmass/1000_train.csv.gz", "hepmass/1000_test.csv", "MiniBooNE/DATA.npy"]);
    assert_eq!(found(PublishedTable::Power), Ok(vec!["power/data.npy".to_owned()]));
    let hepmass = ["hepmass/1000_train.csv.gz", "hepmass/1000_test.csv"].map(str::to_owned);
    assert_eq!(found(PublishedTable::Hepmass), Ok(hepmass.to_vec()));
    assert_eq!(found(PublishedTable::Miniboone), Ok(vec!["MiniBooNE/DATA.npy".to_owned()]));
    // Half of a set is none, and what is written as in the archive goes before other cases.
    fs::remove_file(folder.join("hepmass/1000_train.csv.gz")).unwrap();
    assert_eq!(missing(PublishedTable::Hepmass), ["hepmass/1000_train.csv or .csv.gz"]);
    assert_eq!(missing(PublishedTable::Gas).len(), 1);
    touch(folder, &["gas/ethylene_CO.npy", "gas/ethylene_CO.csv"]);
    assert_eq!(found(PublishedTable::Gas), Ok(vec!["gas/ethylene_CO.csv".to_owned()]));
}

#[test]
fn what_is_found_is_read_as_by_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("miniboone")).unwrap();
    let file = saved(folder.path(), "miniboone/data.npy", 43, waves(65, 43));
    let files = PublishedTable::Miniboone.locate(folder.path()).unwrap();
    assert_eq!(PublishedTable::Miniboone.read(&files).unwrap(), table::miniboone(&file).unwrap());
}

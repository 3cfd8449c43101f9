//! Data and draws that are not as published.

use std::fs;
use std::io::Write;
use std::path::Path;

use flows_core::testing::names;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{Posterior, SMALL, folder_with};

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let error = Posterior::read("ark", Path::new("nowhere")).unwrap_err();
    names(&error, &["no posterior", "\"ark\"", "arK", "garch11"]);
    let error = Posterior::embedded("arK").unwrap_err().to_string();
    assert!(error.ends_with("expected one of eight_schools_noncentered, eight_schools_centered"));
}

#[test]
fn data_that_do_not_fit_are_named_with_their_file_and_field() {
    let message = |name, data, text| {
        let folder = folder_with(data, text);
        let error = Posterior::read(name, folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("{data}.json")), "{error}");
        error
    };
    for (name, data, text, words) in [
        ("arK", "arK", "[1]", &["expected a JSON object"][..]),
        ("arK", "arK", r#"{"K": 2}"#, &["T: expected a whole number of at least 3, got nothing"]),
        (
            "arK",
            "arK",
            r#"{"K": 2, "T": 3, "y": [1]}"#,
            &["y: expected a list of 3 numbers, got a list of 1"],
        ),
        ("arK", "arK", r#"{"K": 0}"#, &["K: expected a whole number of at least 1, got 0"]),
        ("arK", "arK", r#"{"K": 18446744073709551615, "T": 3}"#, &["T: expected"]),
        (
            "arK",
            "arK",
            r#"{"K": 1, "T": 2, "y": [1, "x"]}"#,
            &["y[2]: expected a number, got text"],
        ),
        (
            "sblrc-blr",
            "sblrc",
            r#"{"N": 2, "D": 1, "X": [[1], [1, 2]], "y": [1, 2]}"#,
            &["X[2]: expected a list of 1 numbers, got a list of 2"],
        ),
        (
            "sblrc-blr",
            "sblrc",
            r#"{"N": 2, "D": 1, "X": 1, "y": [1, 2]}"#,
            &["X: expected a list of 2 lists of numbers, got 1"],
        ),
        (
            "garch11",
            "garch",
            r#"{"T": 2, "y": [1, 2], "sigma1": 0}"#,
            &["sigma1: expected a positive number, got 0"],
        ),
        (
            "eight_schools_centered",
            "eight_schools",
            r#"{"J": 2, "y": [1, 2], "sigma": [1, 0]}"#,
            &["sigma: expected positive numbers, got 0"],
        ),
    ] {
        names(&message(name, data, text), words);
    }
    let error = Posterior::read("arK", Path::new("nowhere")).unwrap_err();
    names(&error, &["arK.json", "cannot be read"]);
}

fn write_draws(folder: &Path, entries: &[(&str, &str)]) {
    let folder = folder.join("draws");
    fs::create_dir_all(&folder).unwrap();
    let file = fs::File::create(folder.join("garch-garch11.json.zip")).unwrap();
    let mut archive = ZipWriter::new(file);
    for (name, text) in entries {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn draws_are_rows_of_all_chains_in_the_order_of_the_parameters() {
    let (name, data, text, _) = SMALL[3];
    let folder = folder_with(data, text);
    let garch = Posterior::read(name, folder.path()).unwrap();
    names(&garch.reference_draws(folder.path()).unwrap_err(), &["garch11.json.zip", "be read"]);
    let chains = r#"[{"beta1": [0.1, 0.2], "mu": [1, 2], "alpha0": [3, 4], "alpha1": [0.5, 0.6]},
                     {"beta1": [0.3], "mu": [5], "alpha0": [6], "alpha1": [0.7], "more": []}]"#;
    write_draws(folder.path(), &[("a.json", chains)]);
    let draws = garch.reference_draws(folder.path()).unwrap();
    assert_eq!(draws.names(), garch.parameters());
    assert_eq!(draws.values(), [1.0, 3.0, 0.5, 0.1, 2.0, 4.0, 0.6, 0.2, 5.0, 6.0, 0.7, 0.3]);

    for (entries, words) in [
        (&[][..], &["the archive: expected one JSON file, got 0 files"][..]),
        (&[("a.json", "[]"), ("b.json", "[]")], &["got 2 files"]),
        (&[("a.json", "[]")], &["the chains: expected at least one draw, got none"]),
        (&[("a.json", "{}")], &["expected JSON, a list of chains"]),
        (
            &[("a.json", r#"[{"mu": [1], "alpha0": [3, 4]}]"#)],
            &["chain 1, alpha0: expected 1 draws, as of the first parameter, got 2"],
        ),
        (&[("a.json", r#"[{"mu": [1]}]"#)], &["chain 1, alpha0", "got nothing"]),
    ] {
        write_draws(folder.path(), entries);
        names(&garch.reference_draws(folder.path()).unwrap_err(), words);
    }
    fs::write(folder.path().join("draws").join("garch-garch11.json.zip"), "no archive").unwrap();
    names(&garch.reference_draws(folder.path()).unwrap_err(), &["expected a zip archive"]);
}

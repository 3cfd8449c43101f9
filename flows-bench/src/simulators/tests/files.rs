//! Published files of both layouts, and files that are not as published.

use std::fs;
use std::io::Write;
use std::path::Path;

use bzip2::Compression;
use bzip2::write::BzEncoder;
use flows_core::testing::names;

use super::Simulator;

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn write(folder: &Path, observation: &str, draws: &[u8]) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("observation.csv"), observation).unwrap();
    fs::write(folder.join("reference_posterior_samples.csv.bz2"), draws).unwrap();
}

#[test]
fn observations_and_draws_are_read_in_both_layouts() {
    let folder = tempfile::tempdir().unwrap();
    let (observation, draws) = ("data_1,data_2\n0.5,-1e-3\n", "a,b\n1,2\n3,4\n5,6\n");
    for own in ["two_moons/obs_2", "two_moons/files/num_observation_3"] {
        write(&folder.path().join(own), observation, &packed(draws));
    }
    for number in [2, 3] {
        let simulator = Simulator::TwoMoons;
        assert_eq!(simulator.observation(folder.path(), number).unwrap(), [0.5, -1e-3]);
        let draws = simulator.reference_draws(folder.path(), number).unwrap();
        assert_eq!((draws.rows(), draws.names()), (3, &["a", "b"].map(str::to_owned)[..]));
        assert_eq!(draws.values(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
    let error = Simulator::TwoMoons.observation(folder.path(), 1).unwrap_err();
    names(&error, &["obs_1", "observation.csv", "cannot be read"]);
}

#[test]
fn files_that_do_not_fit_are_named_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("two_moons/obs_1");
    for (text, words) in [
        ("a,b,c\n1,2,3\n", &["the header: expected 2 columns, got 3"][..]),
        ("a,b\n", &["the rows: expected at least one, got none"]),
        ("a,b\n1,2\n3,4\n", &["the rows: expected one, got 2"]),
        ("a,b\n1\n", &["expected rows of numbers under a header"]),
        ("a,b\n1,x\n", &["row 1, b: expected a finite number, got \"x\""]),
        ("a,b\nnan,2\n", &["row 1, a: expected a finite number, got \"nan\""]),
    ] {
        write(&own, text, b"");
        let error = Simulator::TwoMoons.observation(folder.path(), 1).unwrap_err();
        names(&error, &["observation.csv"]);
        names(&error, words);
    }
    let whole = packed("a,b\n1,2\n");
    for bytes in [&b"no archive"[..], &whole[..whole.len() / 2]] {
        write(&own, "", bytes);
        let error = Simulator::TwoMoons.reference_draws(folder.path(), 1).unwrap_err();
        names(&error, &["samples.csv.bz2", "damaged or other data"]);
    }
}

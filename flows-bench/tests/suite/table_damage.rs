//! No bytes make a reader panic, run on, or allocate what a header promises.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use flows_bench::table::{self, Table};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const NAMES: [&str; 4] = ["t.csv", "t.csv.gz", "t.npy", "t.npz"];

fn outcome(file: &Path, bytes: &[u8]) {
    fs::write(file, bytes).unwrap();
    match table::read(file) {
        Ok(table) => assert!(table.values().iter().all(|value| value.is_finite())),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && text.len() < 700, "{text}");
        }
    }
}

fn whole(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let values = (0..60).map(|i| f64::from(i) / 7.0).collect();
    let table = Table::new(Vec::new(), 3, values).unwrap();
    NAMES
        .iter()
        .map(|name| {
            let file = folder.join(name);
            table::write(&file, &table).unwrap();
            let bytes = fs::read(&file).unwrap();
            (file, bytes)
        })
        .collect()
}

#[test]
fn files_cut_at_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    for (file, bytes) in whole(folder.path()) {
        for length in 0..bytes.len() {
            outcome(&file, &bytes[..length]);
        }
    }
}

#[test]
fn files_with_changed_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    for (file, bytes) in whole(folder.path()) {
        for _ in 0..500 {
            let mut changed = bytes.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..changed.len());
                changed[at] = match rng.random_range(0..3) {
                    0 => 0xff,
                    1 => changed[at] ^ (1 << rng.random_range(0..8)),
                    _ => rng.random(),
                };
            }
            outcome(&file, &changed);
        }
    }
}

#[test]
fn headers_of_random_characters() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.npy");
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(6);
    let words = [
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "'",
        "\"",
        ",",
        ":",
        " ",
        "descr",
        "shape",
        "9",
        "L",
        "True",
        "fortran_order",
        "<f8",
        "\u{e9}",
        "\\",
        "-",
        "18446744073709551615",
    ];
    for _ in 0..2_000 {
        let count = rng.random_range(0..40);
        let text: String = (0..count).map(|_| words[rng.random_range(0..words.len())]).collect();
        let size = u16::try_from(text.len()).unwrap().to_le_bytes();
        outcome(&file, &[b"\x93NUMPY\x01\x00", &size[..], text.as_bytes()].concat());
    }
}

#[test]
fn random_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let starts: [&[u8]; 4] = [b"", b"\x1f\x8b\x08\x00", b"\x93NUMPY\x01\x00", b"PK\x03\x04"];
    for (name, start) in NAMES.iter().zip(starts) {
        for _ in 0..500 {
            let length = rng.random_range(0..200);
            let tail: Vec<u8> = (0..length).map(|_| rng.random()).collect();
            outcome(&folder.path().join(name), &[start, &tail].concat());
        }
    }
}

/// The record at the end of a large archive has room for numbers that no memory holds.
#[test]
fn an_archive_that_promises_too_many_entries() {
    let folder = tempfile::tempdir().unwrap();
    let limits = [0, 44, 1 << 33, 1 << 40, 1 << 62, u64::MAX];
    for record in [44, u64::MAX, 1 << 40] {
        for entries in limits {
            for start in limits {
                let size = entries.wrapping_mul(46).to_le_bytes();
                let bytes = [
                    b"PK\x06\x06",
                    &record.to_le_bytes()[..],
                    &[45, 0, 45, 0],
                    &[0; 8],
                    &entries.to_le_bytes(),
                    &entries.to_le_bytes(),
                    &size,
                    &start.to_le_bytes(),
                    b"PK\x06\x07",
                    &[0; 12],
                    &[1, 0, 0, 0],
                    b"PK\x05\x06",
                    &[0; 4],
                    &[0xff; 12],
                    &[0; 2],
                ];
                outcome(&folder.path().join("t.npz"), &bytes.concat());
            }
        }
    }
}

/// Header and directory agree on a length that is not there, under the right checksum.
#[test]
fn an_archive_whose_directory_lies_with_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.npz");
    let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (500000000, 1), }";
    let size = u16::try_from(text.len()).unwrap().to_le_bytes();
    let start = [b"\x93NUMPY\x01\x00", &size[..], text.as_bytes()].concat();
    let entry = [&start[..], &1.0_f64.to_le_bytes()].concat();
    let mut checksum = flate2::Crc::new();
    checksum.update(&entry);
    let declared = (u32::try_from(start.len()).unwrap() + 4_000_000_000).to_le_bytes();
    let there = u32::try_from(entry.len()).unwrap().to_le_bytes();
    let sum = checksum.sum().to_le_bytes();
    let fields = [&[0; 8], &sum[..], &there, &declared, &[8, 0, 0, 0]].concat();
    let local = [b"PK\x03\x04\x14\x00", &fields[..], b"data.npy", &entry].concat();
    let directory = [b"PK\x01\x02\x14\x00\x14\x00", &fields[..], &[0; 14], b"data.npy"].concat();
    let size = u32::try_from(directory.len()).unwrap().to_le_bytes();
    let start = u32::try_from(local.len()).unwrap().to_le_bytes();
    let end = [b"PK\x05\x06", &[0; 4][..], &[1, 0, 1, 0], &size, &start, &[0; 2]].concat();
    fs::write(&file, [local, directory, end].concat()).unwrap();
    let error = table::read(&file).unwrap_err().to_string();
    let expected =
        "expected 4000000000 bytes of data for shape (500000000, 1) of dtype \"<f8\", got 8";
    assert!(error.contains(expected), "{error}");
}

//! What is written comes back, bit for bit, in every format.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::fs;
use std::io::Write;

use flows_bench::table::{self, Table, Values};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const VALUES: [f64; 8] =
    [0.1, -0.0, 1e300, 5e-324, f64::MAX, -123_456.789, 1.0 / 3.0, 9_007_199_254_740_993.0];

fn table(names: &[&str]) -> Table {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    Table::new(names, 2, VALUES.to_vec()).unwrap()
}

fn bits(table: &Table) -> Vec<u64> {
    table.values().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_format_gives_back_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let before = table(&["a", "b, \"c\""]);
    let mut all = ["t.csv", "t.csv.gz", "T.CSV.GZ", "t.npy", "t.npz"];
    for name in all {
        let file = folder.path().join(name);
        // Twice: the second time the file is replaced.
        table::write(&file, &table(&[])).unwrap();
        table::write(&file, &before).unwrap();
        let after = table::read(&file).unwrap();
        assert_eq!((after.rows(), bits(&after)), (4, bits(&before)), "{name}");
        let named = name.to_lowercase().contains("csv");
        let kept = if named { before.clone() } else { table(&[]) };
        assert_eq!(after.names(), kept.names(), "{name}");
    }
    // Nothing else is left behind.
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut left: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort_unstable();
    all.sort_unstable();
    assert_eq!(left, all);
}

#[test]
fn awkward_names_do_not_become_rows_or_comments() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.csv");
    for (names, after) in [
        (["#a", "b"], ["#a", "b"]),
        (["0", "1"], ["x0", "x1"]),
        (["nan", "?"], ["xnan", "x?"]),
        (["0", "label"], ["0", "label"]),
        (["a\nb", "\"q\""], ["a b", "\"q\""]),
        (["", ""], ["x0", "x1"]),
    ] {
        table::write(&file, &table(&names)).unwrap();
        let read = table::read(&file).unwrap();
        assert_eq!((read.names(), read.rows()), (&after.map(str::to_owned)[..], 4));
    }
}

#[test]
fn csv_is_written_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.csv");
    table::write(&file, &Table::new(Vec::new(), 2, vec![1.0, 1e-300, -0.5, 1e20]).unwrap())
        .unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "x0,x1\n1.0,1e-300\n-0.5,1e20\n");
}

#[cfg(unix)]
#[test]
fn a_result_is_as_readable_as_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (ours, plain) = (folder.path().join("t.csv"), folder.path().join("plain"));
    table::write(&ours, &table(&[])).unwrap();
    fs::write(&plain, "").unwrap();
    let mode = |file| fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&plain));
}

#[test]
fn arrays_of_other_types_and_orders_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.npy");
    let array = |descr: &str, fortran: &str, data: Vec<u8>| {
        let text =
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': (2, 3), }}\n");
        for version in [1_u8, 2, 3] {
            let size = u32::try_from(text.len()).unwrap().to_le_bytes();
            let size = if version == 1 { &size[..2] } else { &size[..] };
            let bytes = [b"\x93NUMPY", &[version, 0][..], size, text.as_bytes(), &data].concat();
            fs::write(&file, bytes).unwrap();
            let read = table::read(&file).unwrap();
            let expected = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
            assert_eq!((read.columns(), read.values()), (3, &expected[..]), "{descr}");
            assert_eq!(read.names(), ["x0", "x1", "x2"]);
        }
    };
    let (rows, columns) = ([1_u8, 2, 3, 4, 5, 6], [1_u8, 4, 2, 5, 3, 6]);
    array("|u1", "False", rows.to_vec());
    array("|i1", "True", columns.to_vec());
    array("<f8", "False", rows.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect());
    array(">f8", "True", columns.iter().flat_map(|&v| f64::from(v).to_be_bytes()).collect());
    array("<f4", "True", columns.iter().flat_map(|&v| f32::from(v).to_le_bytes()).collect());
    array(">i8", "False", rows.iter().flat_map(|&v| i64::from(v).to_be_bytes()).collect());
    array("<u2", "False", rows.iter().flat_map(|&v| u16::from(v).to_le_bytes()).collect());
}

#[test]
fn an_archive_may_be_compressed_and_hold_other_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("s.npy");
    let file = folder.path().join("t.npz");
    table::write(&source, &table(&[])).unwrap();
    let array = fs::read(&source).unwrap();
    table::write_npy(&source, &[8], Values::F64(&VALUES)).unwrap();
    let vector = fs::read(&source).unwrap();
    for names in [&["other", "value", "x"][..], &["anything"], &["a", "data"]] {
        let mut archive = ZipWriter::new(fs::File::create(&file).unwrap());
        for name in names {
            let options = SimpleFileOptions::default();
            archive.start_file(format!("{name}.npy"), options).unwrap();
            archive.write_all(&array).unwrap();
        }
        archive.start_file("vector.npy", SimpleFileOptions::default()).unwrap();
        archive.write_all(&vector).unwrap();
        archive.finish().unwrap();
        assert_eq!(bits(&table::read(&file).unwrap()), bits(&table(&[])));
    }
}

#[test]
fn results_are_named_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.npz");
    let log_det = Values::F64(&VALUES[..4]);
    let kept = Values::Bool(&[true, false]);
    let value = Values::F64(&VALUES);
    let arrays: [(&str, &[usize], Values<'_>); 3] =
        [("log_det", &[4], log_det), ("kept", &[2], kept), ("value", &[4, 2], value)];
    table::write_npz(&file, &arrays).unwrap();
    assert_eq!(bits(&table::read(&file).unwrap()), bits(&table(&[])));
}

#[test]
fn a_table_of_common_size_is_read_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.csv.gz");
    let values = (0..45_730 * 9).map(|i| f64::from(i).sin() * 1e4).collect();
    let before = Table::new(Vec::new(), 9, values).unwrap();
    table::write(&file, &before).unwrap();
    let start = std::time::Instant::now();
    assert_eq!(table::read(&file).unwrap(), before);
    assert!(start.elapsed().as_secs_f64() < 1.0, "{:?}", start.elapsed());
}

//! Every bad file gets one sentence with file, place, expected, got and what to do.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use flows_bench::table::{self, Table, Values};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The message for a file of these bytes, without the folder's name.
    fn message(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.read(name)
    }

    fn read(&self, name: &str) -> String {
        let error = table::read(&self.path(name)).expect_err(name).to_string();
        let folder = format!("{}/", self.0.path().display());
        assert!(error.starts_with(&folder), "no file in {error:?}");
        assert!(!error.ends_with('.') && !error.contains('\n'), "{error:?}");
        error.replace(&folder, "")
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let size = u16::try_from(text.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &size[..], text.as_bytes(), data].concat()
}

fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn files_that_cannot_be_opened() {
    let folder = Folder::new();
    assert_eq!(folder.read("none.csv"), "none.csv: no such file; check the path");
    fs::create_dir(folder.path("folder.npy")).unwrap();
    let expected = "folder.npy: expected a file, got a folder; name a file inside it";
    assert_eq!(folder.read("folder.npy"), expected);
    for name in ["a.txt", "a.npy.gz", "csv", "a.hdf5"] {
        let expected = format!(
            "{name}: expected a name that ends in .csv, .csv.gz, .npy or .npz; convert or rename"
        );
        assert_eq!(folder.message(name, b"1,2\n"), expected);
    }
    for name in ["e.csv", "e.csv.gz", "e.npy", "E.NPZ"] {
        let expected = format!("{name}: expected rows of numbers, got an empty file");
        assert_eq!(folder.message(name, b""), expected);
    }
}

#[cfg(unix)]
#[test]
fn a_file_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    fs::write(folder.path("p.csv"), "1,2\n").unwrap();
    fs::set_permissions(folder.path("p.csv"), fs::Permissions::from_mode(0o0)).unwrap();
    // The superuser may read everything.
    if fs::File::open(folder.path("p.csv")).is_err() {
        let expected = "p.csv: cannot be read (permission denied); check the permissions of the \
                        file and the disk";
        assert_eq!(folder.read("p.csv"), expected);
    }
}

#[test]
fn malformed_csv() {
    let folder = Folder::new();
    let header = "expected rows of numbers below the header, got none";
    for (text, expected) in [
        ("# a\n\n# b\n", "t.csv: expected rows of numbers, got comments and blank lines only"),
        ("\u{feff}", "t.csv: expected rows of numbers, got comments and blank lines only"),
        ("a,b\n", &format!("t.csv, line 1: {header}")),
        (
            "a,b\n1,2\n\n1,2,3\n",
            "t.csv, line 4: expected 2 fields as in the first line, got 3; complete or remove the line",
        ),
        (
            "1,2\n1\n",
            "t.csv, line 2: expected 2 fields as in the first line, got 1; complete or remove the line",
        ),
        (
            "a,b\n1,2\n3,red\n",
            "t.csv, line 3, column \"b\" (index 1): expected a number, got \"red\"; \
             encode text as numbers, or remove the line if it is no row",
        ),
        (
            "a,b\n1,red\n3,4\n",
            "t.csv, line 2, column \"b\" (index 1): expected a number, got \"red\"; \
             encode text as numbers or remove the column",
        ),
        (
            "a,b\n,m\n1,2\n",
            "t.csv, line 2: expected numbers, got a line without any; \
             remove the line, or put # before it if it holds units or names",
        ),
        (
            "a,b\n1,2\nTotal,2\n",
            "t.csv, line 3, column \"a\" (index 0): expected a number, got \"Total\"; \
             encode text as numbers, or remove the line if it is no row",
        ),
        (
            "a,b,\n1,2,\n",
            "t.csv, line 2: expected a value in the last field, got a line that ends in a comma; \
             remove it at the end of every line",
        ),
        (
            "a;b\n1;2;\n",
            "t.csv, line 2: expected a value in the last field, got a line that ends in a semicolon; \
             remove it at the end of every line",
        ),
        (
            "a\n1,5\n",
            "t.csv, line 2: expected 1 fields as in the first line, got 2; complete or remove the \
             line, or write decimal points if these are decimal commas",
        ),
        (
            "a,b\n\"1,234.5\",2\n",
            "t.csv, line 2, column \"a\" (index 0): expected a number, got \"1,234.5\"; \
             write numbers with a decimal point and without thousands separators",
        ),
        (
            "a;b\n1'234;2\n",
            "t.csv, line 2, column \"a\" (index 0): expected a number, got \"1'234\"; \
             write numbers without thousands separators",
        ),
        (
            "a;b\n1,5;2.5\n",
            "t.csv, line 2, column \"b\" (index 1): expected a number, got \"2.5\"; \
             use points or commas before decimals throughout, and no thousands separators",
        ),
        (
            "1,2\n3,NA\n",
            "t.csv, line 2, column \"x1\" (index 1): expected a number, got \"NA\"; \
             encode text as numbers, or remove the line if it is no row",
        ),
        (
            "1 2\n3 4\n",
            "t.csv, line 2, column \"1 2\" (index 0): expected a number, got \"3 4\"; \
             separate fields by commas, semicolons or tabs",
        ),
        (
            "a,b\n1,2\n3,\n",
            "t.csv, line 3, column \"b\" (index 1): expected a number, got nothing; \
             fill in the value or remove the line",
        ),
        (
            "a,b\nnan,2\n",
            "t.csv, line 2, column \"a\" (index 0): expected a finite number, got \"nan\"; \
             fill in the value or remove the line",
        ),
        (
            "a,b\n1,2\n1,-Inf\n",
            "t.csv, line 3, column \"b\" (index 1): expected a finite number, got \"-Inf\"; \
             fill in the value or remove the line",
        ),
        (
            "a,b\n1e999,2\n",
            "t.csv, line 2, column \"a\" (index 0): expected a finite number, got \"1e999\"; \
             fill in the value or remove the line",
        ),
        (
            "a,b\n1,\"2\n\",3\n",
            "t.csv, line 2: expected quotes in pairs, got an unclosed quote; \
             keep a quoted field on one line",
        ),
        (
            "a,b\r1,2\r",
            "t.csv, line 1: expected LF or CR LF at the end, got CR inside the line; \
             save the file with LF or CR LF line ends",
        ),
    ] {
        assert_eq!(folder.message("t.csv", text.as_bytes()), expected);
    }
    let expected = "t.csv, line 2: expected UTF-8, got bytes of another encoding, such as Latin-1; \
                    save the file as UTF-8";
    assert_eq!(folder.message("t.csv", b"a,b\n1,\xe9\n"), expected);
    let expected = "t.csv, line 1: expected UTF-8, got UTF-16; save the file as UTF-8";
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    assert_eq!(folder.message("t.csv", &wide("\u{feff}a,b\n1,2\n")), expected);
    assert_eq!(folder.message("t.csv", &wide("a,b\n1,2\n")), expected);
    let expected = "t.csv, line 1: expected text, got gzip data; \
                    decompress it, or name it .csv.gz if it is packed once";
    assert_eq!(folder.message("t.csv", &gzip(b"a,b\n1,2\n")), expected);
    let expected = "t.csv, line 1: expected a line of at most 16 MiB, got a longer one; \
                    check that the file is CSV";
    assert_eq!(folder.message("t.csv", &vec![b'1'; (1 << 24) + 1]), expected);
}

#[test]
fn long_text_is_cut_and_control_characters_are_escaped() {
    let folder = Folder::new();
    let message = folder.message("t.csv", format!("a\n{}\n", "y".repeat(5000)).as_bytes());
    assert!(message.len() < 200 && message.contains("yyy..\""), "{message}");
    assert!(folder.message("t.csv", b"a\n1\0\x1b2\n").contains("got \"1\\0\\u{1b}2\""));
}

#[test]
fn damaged_gzip() {
    let folder = Folder::new();
    let whole = gzip("a,b\n1.25,2.5\n".repeat(500).replace("\na,b", "").as_bytes());
    let message = |bytes: &[u8]| folder.message("t.csv.gz", bytes);
    const START: &str = "t.csv.gz: expected a gzip file, got damaged or other data (";
    let expected = |reason: &str| {
        let rest = "copy or write it again";
        format!("{START}{reason}); {rest}")
    };
    for length in [5, whole.len() / 2, whole.len() - 3] {
        assert!(message(&whole[..length]).starts_with(START), "{length}");
    }
    assert_eq!(message(b"a,b\n1,2\n3,4\n5,6\n"), expected("invalid gzip header"));
    let mut flipped = whole.clone();
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    assert_eq!(
        message(&flipped),
        expected("corrupt gzip stream does not have a matching checksum")
    );
    assert!(message(&gzip(b"")).ends_with("got comments and blank lines only"));
}

#[test]
fn arrays_of_the_wrong_shape_or_type() {
    let folder = Folder::new();
    let data = doubles(&[1.0; 8]);
    let rank = "expected an array of rank 2, (rows, columns), got shape";
    let message = |descr: &str, shape: &str| folder.message("t.npy", &npy(descr, shape, &data));
    let advice = "use reshape(1, -1) for one row or reshape(-1, 1) for one column";
    let expected = format!("t.npy: {rank} (8,); {advice}");
    assert_eq!(message("'<f8'", "(8,)"), expected);
    let advice = "reshape it to one row a sample";
    assert_eq!(message("'<f8'", "(2, 2, 2)"), format!("t.npy: {rank} (2, 2, 2); {advice}"));
    assert_eq!(message("'<f8'", "()"), format!("t.npy: {rank} (); {advice}"));
    for shape in ["(0, 4)", "(4, 0)"] {
        let expected =
            format!("t.npy: expected at least one row and one column, got shape {shape}");
        assert_eq!(message("'<f8'", shape), expected);
    }
    let advice = [
        ("'<c16'", "save real and imaginary parts as columns of their own"),
        ("'<M8[ns]'", "save the time since a start as a float, as (t - t0) / unit"),
    ];
    let plain = ["'|O'", "'<U8'", "'|S8'", "'<f16'", "'|V8'"];
    let plain = plain.map(|descr| (descr, "convert with astype(float)"));
    for (descr, advice) in plain.into_iter().chain(advice) {
        let shown = descr.replace('\'', "\"");
        let expected = format!(
            "t.npy: expected numbers (float, integer or bool), got dtype {shown}; {advice}"
        );
        assert_eq!(message(descr, "(8, 1)"), expected);
    }
    // Records are of rank 1, and no reshape helps.
    for shape in ["(4,)", "(2, 2)"] {
        let structured = message("[('a', '<f8'), ('b', '<f8')]", shape);
        let says = "got dtype structured; save numpy.lib.recfunctions.structured_to_unstructured(";
        assert!(structured.contains(says), "{structured}");
    }
}

#[test]
fn values_of_an_array_that_are_not_finite() {
    let folder = Folder::new();
    for (value, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (-f64::INFINITY, "-inf")] {
        let data = doubles(&[1.0, 2.0, 3.0, 4.0, 5.0, value]);
        let expected = format!(
            "t.npy, row 1 (from 0), column \"x2\" (index 2): expected a finite number, got {shown}; \
             fill in the value or remove the row"
        );
        assert_eq!(folder.message("t.npy", &npy("'<f8'", "(2, 3)", &data)), expected);
    }
}

#[test]
fn headers_that_promise_what_is_not_there() {
    let folder = Folder::new();
    let data = doubles(&[1.0; 4]);
    let message = |shape: &str| folder.message("t.npy", &npy("'<f8'", shape, &data));
    let expected = |shape: &str, bytes: &str| {
        let end = "the file is cut off or damaged, write it again";
        format!(
            "t.npy: expected {bytes} bytes of data for shape {shape} of dtype \"<f8\", got 32; {end}"
        )
    };
    for (shape, bytes) in [
        ("(3, 2)", "48"),
        ("(1, 2)", "16"),
        ("(1000000000000000, 9)", "72000000000000000"),
        ("(18446744073709551615, 2)", "295147905179352825840"),
        ("(18446744073709551615, 18446744073709551615)", "340282366920938463463374607431768211455"),
    ] {
        assert_eq!(message(shape), expected(shape, bytes));
    }
    assert!(message("(1000000000000000000000000, 9)").contains("without axes below 2^64 in shape"));
    assert!(message("(-1, 4)").contains("without axes below 2^64 in shape"));
}

#[test]
fn malformed_headers() {
    let folder = Folder::new();
    let message = |bytes: &[u8]| folder.message("t.npy", bytes);
    let expected = |problem: &str| {
        format!(
            "t.npy: expected an NPY header, got {problem}; the file is damaged or of another kind"
        )
    };
    let whole = npy("'<f8'", "(1, 1)", &doubles(&[1.0]));
    for length in [1, 7, 9, 20] {
        assert_eq!(message(&whole[..length]), expected("fewer bytes than its length"));
    }
    assert_eq!(message(b"a,b\n1,2\n3,4\n"), expected("other first bytes"));
    assert_eq!(message(b"\x93NUMPY\x09\x00\x10\x00"), expected("version 9.0"));
    assert_eq!(
        message(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"),
        expected("a length of 4294967295 bytes")
    );
    assert_eq!(message(b"\x93NUMPY\x01\x00\x02\x00\xff\xff"), expected("bytes that are no text"));
    let nothing = expected("\"xx\" without an opening brace");
    assert_eq!(message(b"\x93NUMPY\x01\x00\x02\x00xx"), nothing);
    let text = "{'descr': '<f8', 'shape': (1, 1)}";
    let short = [b"\x93NUMPY\x01\x00\x21\x00", text.as_bytes()].concat();
    assert_eq!(message(&short), expected(&format!("{text:?} without the key fortran_order")));
}

#[test]
fn damaged_archives() {
    let folder = Folder::new();
    let table = npy("'<f8'", "(2, 2)", &doubles(&[1.0, 2.0, 3.0, 4.0]));
    let whole = zipped(&[("data.npy", &table)]);
    let start = "t.npz: expected a zip file, got damaged or other data (";
    let message = |bytes: &[u8]| folder.message("t.npz", bytes);
    assert!(message(b"not an archive at all, only text").starts_with(start));
    assert!(message(&whole[..whole.len() / 2]).starts_with(start));
    let mut flipped = whole.clone();
    let at = flipped.windows(8).position(|bytes| bytes == 2.0_f64.to_le_bytes());
    if let Some(at) = at {
        flipped[at] ^= 1;
        assert_eq!(message(&flipped), format!("{start}Invalid checksum); copy or write it again"));
    }
    let mut method = whole.clone();
    // The compression method, in the entry and in the directory: 14 is not supported.
    let directory = method.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    (method[8], method[directory + 10]) = (14, 14);
    let expected = format!("{start}compression method not supported: 14); copy or write it again");
    assert_eq!(message(&method), expected);
    let none = "t.npz: expected an archive with an array of rank 2, got one without arrays";
    assert_eq!(message(&zipped(&[])), none);
    assert_eq!(message(&zipped(&[("readme.txt", b"hello")])), none);
}

#[test]
fn archives_with_a_choice() {
    let folder = Folder::new();
    let table = npy("'<f8'", "(2, 2)", &doubles(&[1.0, 2.0, 3.0, 4.0]));
    let vector = npy("'<f8'", "(1,)", &doubles(&[1.0]));
    let message = |entries: &[(&str, &[u8])]| folder.message("t.npz", &zipped(entries));
    let advice = "save the table alone or under one of these names";
    let expected = format!(
        "t.npz: expected one array of rank 2, or one called data, x or value, \
         got \"train\" (2, 2), \"test\" (2, 2), \"y\" (1,); {advice}"
    );
    assert_eq!(
        message(&[("train.npy", &table), ("test.npy", &table), ("y.npy", &vector)]),
        expected
    );
    let expected = "t.npz, array \"y\": expected an array of rank 2, (rows, columns), got shape (1,); \
                    use reshape(1, -1) for one row or reshape(-1, 1) for one column";
    assert_eq!(message(&[("y.npy", &vector)]), expected);
    let expected = "t.npz, array \"y\": expected an NPY header, got other first bytes; \
                    the file is damaged or of another kind";
    assert_eq!(message(&[("y.npy", b"nonsense"), ("x.npy", &table)]), expected);
    let promise = npy("'<f8'", "(1000000000000000, 9)", &doubles(&[1.0]));
    let expected = "t.npz, array \"x\": expected 72000000000000000 bytes of data for shape \
                    (1000000000000000, 9) of dtype \"<f8\", got 8; the file is cut off or damaged, \
                    write it again";
    assert_eq!(message(&[("x.npy", &promise)]), expected);
}

#[test]
fn files_that_cannot_be_written() {
    let folder = Folder::new();
    let table = Table::new(Vec::new(), 1, vec![1.0]).unwrap();
    let message = |name: &str| table::write(&folder.path(name), &table).unwrap_err().to_string();
    let end = "none/a.csv: cannot be written (no such folder); check that the folder exists and \
               can be written";
    assert!(message("none/a.csv").ends_with(end));
    assert!(message("a.txt").contains("a.txt: expected a name that ends in"));
    fs::create_dir(folder.path("b.npy")).unwrap();
    assert!(message("b.npy").contains("b.npy: cannot be written (is a directory)"));
    let error =
        table::write_npy(&folder.path("c.npy"), &[2, 3], Values::F32(&[1.0; 5])).unwrap_err();
    assert!(error.to_string().ends_with("c.npy: expected 6 values for shape (2, 3), got 5"));
    let error =
        table::write_npz(&folder.path("c.npz"), &[("a", &[2], Values::F64(&[1.0]))]).unwrap_err();
    assert!(error.to_string().ends_with("c.npz: expected 2 values for shape (2,), got 1"));
    let one = Values::F64(&[1.0]);
    let twice: [(&str, &[usize], Values<'_>); 2] = [("a", &[1], one), ("a", &[1], one)];
    let error = table::write_npz(&folder.path("c.npz"), &twice).unwrap_err().to_string();
    assert!(
        error.contains("c.npz: cannot be written (invalid Zip archive: Duplicate filename"),
        "{error}"
    );
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 1, "a temporary file is left");
}

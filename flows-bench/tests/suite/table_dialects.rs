//! Tables as other programs write them, and what their reader takes for granted.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use flows_bench::table::{self, Table, Values};

fn read(name: &str, bytes: &[u8]) -> Result<Table, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, bytes).unwrap();
    table::read(&file).map_err(|error| error.to_string())
}

fn csv(text: &str) -> Table {
    read("t.csv", text.as_bytes()).unwrap()
}

fn says(table: &Table, note: &str) -> bool {
    table.notes().iter().any(|text| text.contains(note) && text.contains("t."))
}

#[test]
fn decimal_commas_are_read_where_commas_are_no_delimiters() {
    for (text, header) in [
        ("a;b\n1,5;-2,25\n3;,5e1\n", true),
        ("1,5;-2,25\n3;,5e1\n", false),
        ("1,5\t-2,25\n3\t,5e1\n", false),
        ("a, m;b\n1,5;-2,25\n3;,5e1\n", true),
        ("sep=;\na;b\n1,5;-2,25\n3;,5e1\n", true),
    ] {
        let table = csv(text);
        assert_eq!(table.values(), [1.5, -2.25, 3.0, 5.0], "{text:?}");
        assert_eq!(table.has_header(), header, "{text:?}");
        assert!(says(&table, "read as decimal commas"), "{:?}", table.notes());
        assert_eq!(says(&table, "no header was found"), !header, "{:?}", table.notes());
    }
    assert_eq!(csv("1,5;2,5\n").values(), [1.5, 2.5]);
}

#[test]
fn a_comma_that_may_be_decimal_is_told_of() {
    let table = csv("1,00\n2,01\n3,02\n");
    assert_eq!(table.columns(), 2);
    assert!(says(&table, "line 1: commas are read as delimiters; if \"00\" stands behind"));
    for plain in ["1,0\n2,10\n", "1.5,00\n2,01\n", "a\n007\n"] {
        assert!(!says(&csv(plain), "behind a decimal comma"), "{plain:?}");
    }
}

#[test]
fn signs_exponents_and_truth_are_read_in_other_dress() {
    let table = csv("a,b\n\u{2212}1.5,1D+01\ntrue,False\n");
    assert_eq!(table.values(), [-1.5, 10.0, 1.0, 0.0]);
    assert_eq!(table.notes(), [""; 0]);
}

#[test]
fn names_in_a_comment_are_kept_where_they_fit() {
    let table = csv("# run 7, by hand\n#ra,dec\n1,2\n");
    assert_eq!((table.names(), table.has_header()), (&["ra", "dec"].map(str::to_owned)[..], true));
    assert!(says(&table, "line 2: names of columns are taken from this comment"));
    for text in ["# made in May, 2020\n1,2\n", "# a,b,c\n1,2\n", "# a note\n1\n", "1,2\n# a,b\n"] {
        let table = csv(text);
        assert!(!table.has_header() && says(&table, "no header was found"), "{text:?}");
    }
    // A true header needs no comment.
    assert_eq!(csv("# x,y\na,b\n1,2\n").names(), ["a", "b"].map(str::to_owned));
}

#[test]
fn notes_and_made_up_names_stay_with_parts_of_a_table() {
    let table = csv("1,2\n3,4\n");
    for part in [table.select_rows(&[1]).unwrap(), table.select_columns(&[1]).unwrap()] {
        assert!(!part.has_header() && part.notes() == table.notes());
    }
}

#[test]
fn gzip_members_and_zeros_behind_them_are_read() {
    let gzip = |bytes: &[u8]| {
        let mut out = GzEncoder::new(Vec::new(), Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    };
    let (one, two) = (gzip(b"a,b\n1,2\n3"), gzip(b",4\n"));
    let zeros = [0; 700];
    for parts in [
        vec![&one[..], &two],
        vec![&one, &two, &zeros],
        vec![&one, &zeros[..5], &two, &zeros[..1]],
        vec![&one, &gzip(b""), &two],
    ] {
        assert_eq!(read("t.csv.gz", &parts.concat()).unwrap().values(), [1.0, 2.0, 3.0, 4.0]);
    }
    for tail in [&b"junk"[..], b"\0\0junk behind zeros", &one[..9]] {
        let error = read("t.csv.gz", &[&one, &two, tail].concat()).unwrap_err();
        assert!(error.contains("expected a gzip file, got damaged or other data"), "{error}");
    }
}

#[test]
fn the_array_of_an_archive_is_named_where_there_are_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.npz");
    let (x, y): ([f64; 4], [f64; 2]) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0]);
    table::write_npz(&file, &[("y", &[2, 1], Values::F64(&y)), ("x", &[2, 2], Values::F64(&x))])
        .unwrap();
    let table = table::read(&file).unwrap();
    assert_eq!(table.values(), x);
    assert!(
        says(&table, "array \"x\": this array is read, \"y\" (2, 1) not"),
        "{:?}",
        table.notes()
    );
    table::write_npz(&file, &[("x", &[2, 2], Values::F64(&x))]).unwrap();
    assert_eq!(table::read(&file).unwrap().notes(), [""; 0]);
}

//! `compare --baseline`: against an earlier comparison.

use flows_report::record::{Change, Folder, Quantity, Verdict};

use crate::{Place, assert_says};

const LINE: &str = "compare --problems pinwheel,cross --flows real-nvp --steps";

fn changes(place: &Place, folder: &str) -> Vec<Change> {
    Folder::new(&place.path(folder)).changes().unwrap().unwrap()
}

/// Standard output and message of a comparison in which something is worse.
fn worse(place: &Place, line: &str) -> [String; 2] {
    let output = place.command(line).output().unwrap();
    let [shown, message] = [output.stdout, output.stderr].map(|b| String::from_utf8(b).unwrap());
    assert_eq!(output.status.code(), Some(3), "{line}: {message}");
    [shown, message]
}

#[test]
fn the_same_comparison_has_no_difference_and_a_shorter_one_is_worse() {
    let place = Place::new();
    place.succeeds(&format!("{LINE} 60 --out good"));
    let shown = place.succeeds(&format!("{LINE} 60 --out same --baseline good"));
    assert_says(&shown, &["against good", "pinwheel", "cross", "not judged", "same/report.html"]);
    let found = changes(&place, "same");
    let kl: Vec<&Change> = found.iter().filter(|c| c.quantity == Quantity::KlNats).collect();
    assert_eq!(kl.len(), 2);
    for change in kl {
        assert_eq!([change.change, change.worse_by], [Some(0.0); 2], "{change:?}");
        // Paired rows cancel, independent means do not.
        assert_eq!(change.standard_error == Some(0.0), change.paired_rows.is_some(), "{change:?}");
        assert_eq!((change.verdict, change.old), (Verdict::Same, change.new));
    }
    // The rows of a toy are paired; a density without data has none.
    let rows = |problem: &str| {
        let mut of = found.iter().filter(|change| change.problem == problem);
        of.find_map(|change| change.paired_rows)
    };
    assert_eq!([rows("pinwheel"), rows("cross")], [Some(100_000), None]);
    let speed: Vec<&Change> = found.iter().filter(|c| c.quantity.is_rate()).collect();
    assert_eq!(speed.len(), 2 * 3);
    assert!(speed.iter().all(|change| change.verdict == Verdict::NotJudged));

    let [shown, message] = worse(&place, &format!("{LINE} 2 --out short --baseline good"));
    assert_says(&shown, &["short/report.html", "worse"]);
    assert_says(&message, &["error: worse than good", "real-nvp on pinwheel", "standard errors"]);
    assert!(place.text("short/report.html").contains("Against the earlier comparison"));
    // The page needs the files of the new comparison alone, and a tolerance can be wide.
    std::fs::remove_dir_all(place.path("good")).unwrap();
    std::fs::remove_file(place.path("short/report.html")).unwrap();
    place.succeeds("report short");
    assert!(place.text("short/report.html").contains("<code>good</code>"));
    resumed_plan(&place);
}

/// A plan, resumed, against a comparison of which only the numbers were kept.
fn resumed_plan(place: &Place) {
    for file in ["problems", "runs"] {
        std::fs::remove_dir_all(place.path("same").join(file)).unwrap();
    }
    let line = "compare short/plan.toml --out again --resume --baseline same";
    worse(place, line);
    worse(place, line);
    let found = changes(place, "again");
    let kl = found.iter().find(|c| c.quantity == Quantity::KlNats).unwrap();
    assert_eq!((kl.paired_rows, kl.verdict), (None, Verdict::Worse));
    assert_says(&kl.note, &["not known to be the same"]);
    place.succeeds(&format!("{line} --tolerance 1e9"));
    place.succeeds("compare --out again --resume");
    assert!(!place.path("again/baseline.csv").exists(), "none was asked for");
}

#[test]
fn a_folder_that_holds_no_comparison_ends_before_anything_trains() {
    let place = Place::new();
    place.write("comparison.json", "{}");
    for (flags, words) in [
        ("--baseline nowhere", ["nowhere", "comparison.json is missing"]),
        ("--baseline .", [".: expected the folder of a comparison", "comparison.json"]),
    ] {
        assert_says(&place.fails(2, &format!("{LINE} 2 --out out {flags}")), &words);
    }
    for tolerance in ["0", "-1", "nan", "few"] {
        let line = format!("{LINE} 2 --out out --baseline nowhere --tolerance={tolerance}");
        let output = place.command(&line).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert_says(&String::from_utf8(output.stderr).unwrap(), &["above 0"]);
    }
    assert!(!place.path("out").exists());
}

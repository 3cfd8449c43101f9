//! `compare` and `report`.

use crate::{Place, assert_says};

/// The columns that come first in `summary.csv`, in this order.
const PROMISED: [&str; 13] = [
    "problem",
    "flow",
    "family",
    "seed",
    "parameters",
    "train_seconds",
    "steps",
    "nll_nats",
    "nll_standard_error",
    "kl_nats",
    "normalisation",
    "round_trip_error",
    "evaluations",
];

/// What a clock measures.
pub(crate) const TIMED: [&str; 5] = [
    "train_seconds",
    "log_prob_rows_per_second",
    "sample_rows_per_second",
    "log_prob_rate_standard_error",
    "sample_rate_standard_error",
];

/// The rows of a summary but for what a clock measured.
pub(crate) fn untimed(place: &Place, name: &str) -> Vec<Vec<(String, String)>> {
    let mut rows = summary(place, name);
    rows.iter_mut().for_each(|row| row.retain(|(name, _)| !TIMED.contains(&&name[..])));
    rows
}

/// The rows of a summary, each a list of names with values.
fn summary(place: &Place, name: &str) -> Vec<Vec<(String, String)>> {
    let mut reader = csv::Reader::from_path(place.path(name)).unwrap();
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let cells = |row: csv::StringRecord| -> Vec<(String, String)> {
        names.iter().cloned().zip(row.iter().map(str::to_owned)).collect()
    };
    reader.records().map(|row| cells(row.unwrap())).collect()
}

#[test]
fn a_comparison_repeats_exactly_and_its_report_can_be_written_again_from_its_files() {
    let place = Place::new();
    let line = "compare --steps 30 --problems 8gaussians --flows real-nvp,ffjord --out";
    let shown = place.succeeds(&format!("{line} a"));
    assert_says(&shown, &["8gaussians", "real-nvp", "ffjord", "30", "finished", "a/report.html"]);
    place.succeeds(&format!("{line} b"));
    let (mut a, mut b) = (summary(&place, "a/summary.csv"), summary(&place, "b/summary.csv"));
    assert_eq!(a.len(), 2);
    for row in a.iter_mut().chain(&mut b) {
        let names: Vec<&str> = row.iter().take(PROMISED.len()).map(|(name, _)| &name[..]).collect();
        assert_eq!(names, PROMISED);
        for name in TIMED {
            let (_, value) = row.iter().find(|(column, _)| column == name).unwrap();
            assert!(value.parse::<f64>().unwrap() > 0.0, "{name}: {value}");
        }
        row.retain(|(name, _)| !TIMED.contains(&&name[..]));
        // Only what is solved has a solver error and a noise of the trace; only what has contexts is
        // calibrated; only discrete data have bits.
        let others = ["rank_histograms", "expected_coverage", "tarp", "bits_per_dimension"];
        let finite = row.iter().any(|(_, value)| value == "finite");
        for (name, value) in row.iter() {
            let absent = finite && ["solver_error_nats", "trace_noise_nats"].contains(&&name[..])
                || others.iter().any(|other| name.starts_with(other));
            assert_eq!(value.is_empty(), absent, "{row:?}");
        }
    }
    assert_eq!(a, b);
    let value = |row: usize, name: &str| -> &str {
        a[row].iter().find(|(column, _)| column == name).map(|(_, value)| &value[..]).unwrap()
    };
    for (row, flow, family) in [(0, "real-nvp", "finite"), (1, "ffjord", "continuous")] {
        assert_eq!((value(row, "flow"), value(row, "family")), (flow, family));
        assert_eq!((value(row, "steps"), value(row, "status")), ("30", "finished"));
        // A divergence is at least 0, but for 4 standard errors of its estimate.
        let number = |name| value(row, name).parse::<f64>().unwrap();
        assert!(number("kl_nats") > -4.0 * number("kl_standard_error"), "{flow}");
        let json = place.json(&format!("a/runs/8gaussians/{flow}/seed-0/summary.json"));
        assert_eq!(json["nll_nats"].as_f64(), Some(number("nll_nats")));
    }
    let kl = |row| value(row, "kl_nats").parse::<f64>().unwrap();
    its_pair_is_the_difference_of_the_divergences(&place, kl(0) - kl(1));
    let report = place.text("a/report.html");
    assert!(!report.contains("http://") || report.contains("http://www.w3.org/"));
    for word in ["8gaussians", "Real NVP", "FFJORD", "<svg", "</html>"] {
        assert!(report.contains(word), "{word}");
    }
    std::fs::remove_file(place.path("a/report.html")).unwrap();
    std::fs::remove_dir_all(place.path("a/figures")).unwrap();
    let shown = place.succeeds("report a b");
    assert_eq!(shown.lines().collect::<Vec<_>>(), ["a/report.html", "b/report.html"]);
    assert!(place.text("a/report.html") == report);
    a_damaged_comparison_is_reported_as_far_as_it_goes(&place);
    what_is_finished_is_kept_on_resuming(&place, line);
}

fn its_pair_is_the_difference_of_the_divergences(place: &Place, difference: f64) {
    let pairs = place.text("a/pairs.csv");
    assert_eq!(pairs, place.text("b/pairs.csv"));
    let [pair] = &csv::Reader::from_reader(pairs.as_bytes())
        .into_deserialize()
        .collect::<Result<Vec<flows_report::record::Pair>, _>>()
        .unwrap()[..]
    else {
        panic!("one pair of two flows: {pairs}");
    };
    let names = [&pair.problem, &pair.flow, &pair.against].map(|name| &name[..]);
    assert_eq!(names, ["8gaussians", "real-nvp", "ffjord"]);
    assert_eq!((pair.rows, pair.seeds), (100_000, 1));
    // Means of 1e5 numbers below 100: their rounding is at most 1e5 eps x 100.
    assert!((pair.difference_nats - difference).abs() < 1e5 * f64::EPSILON * 100.0, "{pair:?}");
    assert!(pair.paired_standard_error.unwrap() > 0.0);
}

fn a_damaged_comparison_is_reported_as_far_as_it_goes(place: &Place) {
    let run = "b/runs/8gaussians/real-nvp/seed-0";
    for (name, bytes) in [
        ("density.npy", &b"\x93NUMPY"[..]),
        ("samples.npy", b""),
        ("metrics.csv", b"step\nx\n"),
        ("summary.json", b"{"),
    ] {
        place.write(&format!("{run}/{name}"), bytes);
        place.succeeds("report b");
        let report = place.text("b/report.html");
        assert!(report.contains(name), "the report does not name {name}");
    }
    place.write("b/comparison.json", "{\"version\": 1");
    assert_says(&place.fails(1, "report b"), &["b", "comparison.json"]);
}

fn what_is_finished_is_kept_on_resuming(place: &Place, line: &str) {
    let message = place.fails(2, &format!("{line} a"));
    assert_says(&message, &["a holds a comparison", "--resume", "--out"]);
    let before = place.bytes("a/summary.csv");
    let summary = "a/runs/8gaussians/real-nvp/seed-0/summary.json";
    let run = place.bytes(summary);
    std::fs::remove_file(place.path("a/summary.csv")).unwrap();
    place.succeeds(&format!("{line} a --resume"));
    assert!(place.bytes(summary) == run && place.bytes("a/summary.csv") == before);
}

#[test]
fn names_and_numbers_that_do_not_exist_are_wrong_usage() {
    let place = Place::new();
    for (flags, words) in [
        ("--problems moon", ["unknown problem \"moon\"", "moons"]),
        ("--problems moons,moons", ["moons", "twice"]),
        ("--flows wavenet", ["unknown preset \"wavenet\"", "real-nvp"]),
        ("--flows ffjord,ffjord", ["ffjord", "twice"]),
        ("--seeds 0", ["--seeds", "got 0"]),
        ("--seeds 18446744073709551615", ["--seeds", "got 18446744073709551615"]),
    ] {
        assert_says(&place.fails(2, &format!("compare {flags} --steps 1 --out out")), &words);
    }
    assert!(place.files(".").is_empty());
}

#[test]
fn a_folder_that_cannot_be_written_or_read_is_named() {
    let place = Place::new();
    place.write("file", "kept");
    for out in ["file", "file/out"] {
        let message = place.fails(1, &format!("compare --steps 1 --out {out}"));
        assert_says(&message, &[out, "the folder cannot be made"]);
    }
    assert_says(&place.fails(1, "report nowhere"), &["nowhere", "comparison.json"]);
    assert_says(&place.fails(1, "report file"), &["file", "comparison.json"]);
    assert_eq!(place.text("file"), "kept");
}

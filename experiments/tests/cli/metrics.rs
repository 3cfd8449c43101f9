//! `metrics`: distances between draws and held-out rows.

use crate::{Place, assert_says};

fn distances(place: &Place, line: &str) -> Vec<(String, [f64; 3])> {
    let list: serde_json::Value = serde_json::from_str(&place.succeeds(line)).unwrap();
    let read = |one: &serde_json::Value| {
        let keys = ["value", "null_median", "null_95"];
        (one["name"].as_str().unwrap().to_owned(), keys.map(|key| one[key].as_f64().unwrap()))
    };
    list.as_array().unwrap().iter().map(read).collect()
}

#[test]
fn draws_are_compared_with_rows_by_the_names_of_their_columns() {
    let place = Place::with_run("real-nvp", 300);
    place.succeeds("sample run --rows 500 --out s.csv");
    // More columns, in another order, some of words.
    let rows = place.text("g.csv");
    let turned = |line: &str| {
        let (a, b) = line.split_once(',').unwrap();
        format!("word,{b},{a}\n")
    };
    place.write("g2.csv", rows.lines().map(turned).collect::<String>());
    let found = distances(&place, "metrics s.csv --against g.csv --json");
    assert_eq!(found, distances(&place, "metrics s.csv --against g2.csv --json"));
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["sliced_wasserstein", "sliced_kolmogorov_smirnov", "mmd", "frechet", "c2st"]
    );
    assert!(found.iter().all(|(_, [value, median, above])| value.is_finite() && median < above));
    // Rows of the same table, one half doubled, are far apart, and the table says so.
    let doubled = |line: &str| {
        let (a, b) = line.split_once(',').unwrap();
        a.parse::<f64>().map_or(format!("{line}\n"), |a| format!("{},{b}\n", 2.0 * a))
    };
    place.write("wide.csv", rows.lines().map(doubled).collect::<String>());
    let shown = place.succeeds("metrics wide.csv --against g.csv");
    assert_says(&shown, &["sliced_wasserstein", "null 95 %", "further apart than 95 %"]);
    assert!(shown.lines().filter(|line| line.ends_with(" *")).count() >= 2, "{shown}");
    assert!(!place.succeeds("metrics g.csv --against g.csv").contains('*'));
}

#[test]
fn tables_that_cannot_be_compared_are_named() {
    let place = Place::new();
    place.gaussian("g.csv", 50);
    place.write("other.csv", "length,height\n".to_owned() + &"1,2\n2,3.5\n".repeat(20));
    place.write("few.csv", "length,weight\n1,2\n2,3.5\n");
    for (line, code, words) in [
        ("metrics g.csv --against other.csv", 2, ["other.csv", "\"weight\" of g.csv"]),
        ("metrics few.csv --against g.csv", 1, ["few.csv", "at least 10 rows, got 2"]),
        ("metrics g.csv --against gone.csv", 1, ["gone.csv", "no such file"]),
    ] {
        assert_says(&place.fails(code, line), &words);
    }
}

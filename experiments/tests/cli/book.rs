//! The book's study, its commands run as they stand.

use std::process::Command;

use crate::Place;

/// What stands in the code blocks of a language, in order.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let begins = page.split(&fence).skip(1);
    begins.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_study_from_start_to_end_ends_with_tables_and_figures() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/11-a-study.md");
    let page = std::fs::read_to_string(path).unwrap();
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_experiments");
    let script =
        format!("set -eu\nflows() {{ '{program}' \"$@\"; }}\n{}", blocks(&page, "sh").concat());
    let output = Command::new("bash").args(["-c", &script]).current_dir(place.path("")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(place.path("later/baseline.csv").exists(), "no baseline.csv");
    // Three flows on two tables with three seeds.
    assert_eq!(place.text("study/summary.csv").lines().count(), 1 + 3 * 2 * 3);
    let table = place.text("study/tables/results.tex");
    assert!(table.contains("{ring.csv, NLL} & {growth.csv, NLL}"), "{table}");
    // What the paper includes is there.
    let [paper] = blocks(&page, "tex")[..] else { panic!("a paper") };
    for command in ["\\input{", "\\includegraphics{"] {
        for rest in paper.split(command).skip(1) {
            let name = rest.split('}').next().unwrap();
            let ending = if command == "\\input{" { "tex" } else { "pdf" };
            assert!(place.path(&format!("{name}.{ending}")).exists(), "{name}");
        }
    }
}

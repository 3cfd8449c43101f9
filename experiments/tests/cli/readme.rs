//! The README's tables against what is registered.

use std::collections::BTreeSet;
use std::sync::Arc;

use experiments::config::BaseConfig;
use experiments::preset;
use experiments::stated::Stated;
use flows_bench::targets::KnownTarget;
use flows_continuous::{Divergence, FieldConfig, GradientMethod, Solver, TimeInput};
use flows_core::Architecture;
use flows_core::config::kinds;
use flows_core::matching::{Pairing, ProbabilityPath};
use flows_core::train::Objective;
use flows_finite::architecture::TransformerConfig;

use crate::{own_architecture, own_transformer};

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap()
}

/// The names in code quotes of each cell of the table under the head `| head |`, row by row.
fn rows(head: &str) -> Vec<Vec<Vec<String>>> {
    let readme = readme();
    let mut lines = readme.lines().skip_while(|line| !line.starts_with(&format!("| {head} |")));
    assert!(lines.next().is_some(), "a table of {head}");
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let row = |line: &str| line.split('|').skip(1).map(names).collect();
    lines.skip(1).take_while(|line| line.starts_with('|')).map(row).collect()
}

/// Those of the first cells.
fn first(head: &str) -> BTreeSet<String> {
    rows(head).into_iter().flat_map(|mut row| row.remove(0)).collect()
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn its_architectures_and_presets_are_those_registered() {
    let mut registered = set(kinds::<Arc<dyn Architecture>>());
    assert!(registered.remove(own_architecture::KIND));
    assert_eq!(first("architecture"), registered);
    let mut seen = BTreeSet::new();
    for row in rows("architecture") {
        let (kind, named) = (&row[0][0], &row[1]);
        let all = preset::ALL.iter().chain(preset::NORMALS.iter());
        let of_kind = all.filter(|preset| preset.flow.typetag_name() == kind);
        let of_kind: Vec<_> = of_kind.map(|preset| preset.name).collect();
        assert_eq!(*named, of_kind, "presets of {kind}");
        seen.extend(of_kind);
    }
    assert_eq!(seen.len(), preset::ALL.len() + preset::NORMALS.len());
}

#[test]
fn its_transformers_are_those_registered() {
    let mut registered = set(kinds::<Arc<dyn TransformerConfig>>());
    assert!(registered.remove(own_transformer::KIND));
    assert_eq!(first("transformer"), registered);
}

/// Every option of the parts, and nothing else.
#[test]
fn its_parts_have_the_options_of_configs() {
    let named = |head: &str, part: &str| -> BTreeSet<String> {
        let readme = readme();
        let mut within = false;
        let mut names = BTreeSet::new();
        let mut table = readme.lines().skip_while(|line| !line.starts_with(head));
        for line in table.by_ref().skip(2).take_while(|line| line.starts_with('|')) {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            within = cells[1] == part || (within && cells[1].is_empty());
            if within {
                names.extend(cells[2].split('`').skip(1).step_by(2).map(str::to_owned));
            }
        }
        names
    };
    let continuous = |part| named("| part of a continuous flow |", part);
    assert_eq!(continuous("`field`"), set(kinds::<FieldConfig>()));
    assert_eq!(continuous("`time`"), set(kinds::<TimeInput>()));
    assert_eq!(continuous("`divergence`"), set(kinds::<Divergence>()));
    assert_eq!(continuous("`solver`"), set(kinds::<Solver>()));
    assert_eq!(continuous("`gradient`"), set(kinds::<GradientMethod>()));
    let training = |part| named("| part of a training |", part);
    assert_eq!(training("`objective`"), set(kinds::<Objective>()));
    assert_eq!(training("`path`"), set(kinds::<ProbabilityPath>()));
    assert_eq!(training("`coupling`"), set(kinds::<Pairing>()));
    assert_eq!(training("`base`"), set(kinds::<BaseConfig>()));
    assert_eq!(training("`target`"), set(KnownTarget::ALL.map(|target| target.name())));
}

/// Every config that a reader is shown can be read.
#[test]
fn its_configs_are_configs() {
    let book = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/02-your-own-data.md");
    let text = [readme(), std::fs::read_to_string(book).unwrap()].concat();
    let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut count = 0;
    for block in blocks {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), block).unwrap();
        let read =
            Stated { file: Some(file.path()), ..Stated::default() }.read().map(|read| read.config);
        assert!(read.is_ok(), "{block}\n{:#}", read.unwrap_err());
        count += 1;
    }
    assert!(count >= 4);
}

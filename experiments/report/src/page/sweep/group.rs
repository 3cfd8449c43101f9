//! The flows of a grid: what its settings are, and which value each flow has.

use super::super::flow_results::FlowResults;
use super::super::gather::ProblemResults;

/// All settings of one flow that were trained.
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) flows: Vec<&'a FlowResults>,
    /// Those with at least two values, in the order of the grid.
    pub(super) keys: Vec<Key<'a>>,
}

/// A key of the config that took several values.
pub(super) struct Key<'a> {
    path: &'a str,
    /// Its last part, or all where another key ends in the same.
    pub(super) name: &'a str,
    /// Each once, in the order of the grid.
    values: Vec<&'a str>,
}

/// The grids of a problem.
pub(super) fn groups(results: &ProblemResults) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for flow in &results.flows {
        let Some(name) = flow.flow.group.as_deref() else { continue };
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.flows.push(flow),
            None => groups.push(Group { name, flows: vec![flow], keys: Vec::new() }),
        }
    }
    for group in &mut groups {
        group.keys = keys(&group.flows);
    }
    groups.retain(|group| !group.keys.is_empty());
    groups
}

fn keys<'a>(flows: &[&'a FlowResults]) -> Vec<Key<'a>> {
    let mut keys: Vec<Key<'a>> = Vec::new();
    for (path, value) in flows.iter().flat_map(|flow| &flow.flow.settings) {
        match keys.iter_mut().find(|key| key.path == path) {
            Some(key) if key.values.contains(&value.as_str()) => {}
            Some(key) => key.values.push(value),
            None => keys.push(Key { path, name: last(path), values: vec![value] }),
        }
    }
    keys.retain(|key| key.values.len() > 1);
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    for key in &mut keys {
        if names.iter().filter(|name| **name == key.name).count() > 1 {
            key.name = key.path;
        }
    }
    keys
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

impl Key<'_> {
    /// The name as a part of a file's name.
    pub(super) fn file_name(&self) -> String {
        let kept = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        self.name.chars().map(kept).collect()
    }

    /// The value that a flow has, if the grid sets it.
    pub(super) fn of<'f>(&self, flow: &'f FlowResults) -> Option<&'f str> {
        let settings = &flow.flow.settings;
        settings.iter().find(|(path, _)| path == self.path).map(|(_, value)| value.as_str())
    }

    /// The values as numbers, if all are.
    pub(super) fn numbers(&self) -> Option<Vec<f64>> {
        let number = |value: &&str| value.parse().ok().filter(|number: &f64| number.is_finite());
        self.values.iter().map(number).collect()
    }

    /// The values as they are written.
    pub(super) fn words(&self) -> Vec<String> {
        self.values.iter().map(|&value| value.to_owned()).collect()
    }

    /// Where a flow stands on an axis of the key: its number, or the place of its word.
    pub(super) fn place(&self, flow: &FlowResults) -> Option<f64> {
        let value = self.of(flow)?;
        let index = self.values.iter().position(|other| *other == value)?;
        match self.numbers() {
            Some(numbers) => numbers.get(index).copied(),
            None => Some(index as f64),
        }
    }
}

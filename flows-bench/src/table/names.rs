//! Column names that can be told apart.

use std::collections::{HashMap, HashSet};

/// Names without outer blanks and control characters, none empty, all different.
pub(super) fn tidy(names: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = names
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            let plain: String =
                name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let plain = plain.trim();
            if plain.is_empty() { format!("x{index}") } else { plain.to_owned() }
        })
        .collect();
    let given: HashSet<String> = names.iter().cloned().collect();
    if given.len() == names.len() {
        return names;
    }
    // A new name must differ from every given one; the counters only grow, so this ends.
    let mut seen = HashSet::new();
    let mut counters: HashMap<String, usize> = HashMap::new();
    for name in &mut names {
        if seen.insert(name.clone()) {
            continue;
        }
        let counter = counters.entry(name.clone()).or_insert(1);
        let fresh = loop {
            *counter += 1;
            let candidate = format!("{name}_{counter}");
            if !given.contains(&candidate) && seen.insert(candidate.clone()) {
                break candidate;
            }
        };
        *name = fresh;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_become_different_and_never_empty() {
        let names = tidy(strings(&["a", "a", "a_2", "a", " ", "b\nc", "x4"]));
        assert_eq!(names, strings(&["a", "a_3", "a_2", "a_4", "x4", "b c", "x4_2"]));
    }

    #[test]
    fn many_equal_names_take_linear_time() {
        let names = tidy(vec!["a".to_owned(); 200_000]);
        assert_eq!(names[199_999], "a_200000");
    }
}

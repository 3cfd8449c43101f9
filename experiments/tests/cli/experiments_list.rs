//! The lists of claims and experiments.

use experiments::experiment::{ALL, Work};

#[test]
fn claims_are_numbered_in_order_and_every_experiment_finds_its_own() {
    for (index, claim) in flows_claims::ALL.iter().enumerate() {
        assert_eq!(claim.id, format!("C{}", index + 1));
    }
    for (index, experiment) in ALL.iter().enumerate() {
        let mut before = ALL[..index].iter();
        assert!(before.all(|other| other.name != experiment.name));
        let Work::Study(ids, parts) = experiment.work else { continue };
        assert!(ids.len() + parts.len() > 0, "{} is empty", experiment.name);
        for id in ids {
            assert!(flows_claims::ALL.iter().any(|claim| claim.id == *id), "{id}");
        }
    }
}

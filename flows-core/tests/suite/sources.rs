//! Sources of minibatches: what an epoch of a table shows.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::train::{Source, TableSource};

#[test]
fn an_epoch_of_a_table_shows_every_row_once() {
    let source = TableSource::new((0..20).map(f64::from).collect(), 2, 5).unwrap();
    let mut seen: Vec<f64> =
        (0..5).flat_map(|step| source.minibatch(step, 2).unwrap().values).collect();
    assert_eq!(source.minibatch(3, 2).unwrap(), source.minibatch(3, 2).unwrap());
    assert_ne!(source.minibatch(0, 10).unwrap(), source.minibatch(1, 10).unwrap());
    seen.sort_by(f64::total_cmp);
    assert_eq!(seen, (0..20).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn context_rows_stay_with_their_values() {
    let values: Vec<f64> = (0..10).map(f64::from).collect();
    let context = values.iter().map(|v| -v).collect();
    let source = TableSource::new(values, 1, 0).unwrap().with_context(context, 1).unwrap();
    let batch = source.minibatch(0, 4).unwrap();
    let negated: Vec<f64> = batch.context.iter().map(|v| -v).collect();
    assert_eq!(batch.values, negated);
}

//! The log-likelihood of classes under a softmax.

use flows_core::operation::column;
use flows_core::tensor::columns;
use flows_core::{Batch, Error, PerRow, Real, Result, Tape, Values, custom_gradient};

/// log p(y) of each row in nats, y its class from 0, with p the softmax of its scores.
///
/// ```text
/// log p(y) = s_y - log sum_k e^s_k,   d log p(y) / ds_k = [k = y] - p(k)
/// ```
///
/// # Shape
/// `scores` `(rows, classes)`.
pub(super) fn log_likelihood<E: Real>(
    scores: &Batch<E>,
    classes: &[usize],
    tape: &mut Tape<E>,
) -> Result<PerRow<E>> {
    let width = columns(scores);
    if classes.len() != scores.rows() {
        let (expected, got) = (scores.rows(), classes.len());
        return Err(Error::Rows { op: "classes of a hybrid model", expected, got });
    }
    check(classes, width)?;
    let mut slopes = scores.values();
    let mut values = Vec::with_capacity(classes.len());
    for (row, &class) in slopes.chunks_mut(width).zip(classes) {
        log_softmax(row);
        values.push(row[class]);
        row.iter_mut().for_each(|log_p| *log_p = -log_p.exp());
        row[class] += E::one();
    }
    let backward = move |outer: &[E]| {
        for (row, &outer) in slopes.chunks_mut(width).zip(outer) {
            row.iter_mut().for_each(|slope| *slope *= outer);
        }
        vec![slopes]
    };
    column(custom_gradient(&[scores], (values, classes.len(), 1), backward, tape)?, tape)
}

/// Scores of one row to log-probabilities.
pub(super) fn log_softmax<E: Real>(scores: &mut [E]) {
    let largest = scores.iter().copied().fold(E::neg_infinity(), E::max);
    let sum: f64 = scores.iter().map(|&s| (s - largest).as_f64().exp()).sum();
    let log_sum = largest + E::of(sum.ln());
    scores.iter_mut().for_each(|score| *score -= log_sum);
}

/// Refuses a class that there is not.
fn check(classes: &[usize], count: usize) -> Result<()> {
    match classes.iter().position(|&class| class >= count) {
        None => Ok(()),
        Some(row) => Err(Error::Caller(format!(
            "class of a hybrid model: expected a whole number below {count}, got {} (row {row})",
            classes[row]
        ))),
    }
}

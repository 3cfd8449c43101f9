//! What a pass over a model gives and gives back, for comparisons.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::rowwise::sum;
use flows_core::tensor::per_row;
use flows_core::testing::close;
use flows_core::{Batch, Bijector, Context, Direction, Mapped, Result, Tape, Values, Work};

use super::maps::run;

/// What a pass gives, and what its tape gives back for [`weight`]s of value and log-det.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StopReason {
    pub(super) value: Vec<f64>,
    pub(super) log_det: Vec<f64>,
    pub(super) penalty: Option<Vec<f64>>,
    pub(super) work: Work,
    pub(super) d_input: Vec<f64>,
    /// Empty without a context.
    pub(super) d_context: Vec<f64>,
    /// Of every tensor.
    pub(super) d_tensors: Vec<Vec<f64>>,
}

/// Gradient of the `index`-th value, and of the log-det of row `index`.
pub(super) fn weight(index: usize) -> [f64; 2] {
    let index = index as f64;
    [1.0 + (0.7 * index).sin(), 1.0 + (0.9 * index + 2.0).sin()]
}

/// Of a pass by `forth` over a model.
pub(super) fn outcome_of(
    models: &[&dyn Bijector<f64>],
    input: &Batch<f64>,
    context: &Context<f64>,
    forth: impl FnOnce(&mut Tape<f64>) -> Result<Mapped<f64>>,
) -> Result<StopReason> {
    let mut tape = Tape::recording();
    let Mapped { value, log_det, penalty, work } = forth(&mut tape)?;
    let weights = |count: usize, which: usize| -> Vec<f64> {
        (0..count).map(|index| weight(index)[which]).collect()
    };
    let mut gradients = tape.backward(|gradients| {
        gradients.add(&value, &weights(value.values().len(), 0))?;
        gradients.add(&log_det, &weights(log_det.rows(), 1))
    })?;
    let d_input = gradients.take(input)?;
    let d_context = context.features().map(|f| gradients.take(f)).transpose()?.unwrap_or_default();
    let mut d_tensors = Vec::new();
    for model in models {
        model.visit(&mut |_, _, tensor| d_tensors.push(gradients.take(tensor).unwrap()));
    }
    let (value, log_det) = (value.values(), log_det.values());
    let penalty = penalty.map(|p| p.values());
    Ok(StopReason { value, log_det, penalty, work, d_input, d_context, d_tensors })
}

pub(super) fn outcome(
    bijector: &dyn Bijector<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
) -> StopReason {
    let forth = |tape: &mut Tape<f64>| run(bijector, direction, input, context, tape);
    outcome_of(&[bijector], input, context, forth).unwrap()
}

/// Of parts in base-to-data order, each with its own entry on the tape.
pub(super) fn one_by_one(
    parts: &[&dyn Bijector<f64>],
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
) -> StopReason {
    let forth = |tape: &mut Tape<f64>| {
        let log_det = per_row(vec![0.0; input.rows()])?;
        let mut all = Mapped::new(input.clone(), log_det, Work::default());
        let mut order = parts.to_vec();
        if direction == Direction::Inverse {
            order.reverse();
        }
        for part in order {
            let own = if part.context_dim() > 0 { context } else { &Context::none() };
            let next = run(part, direction, &all.value, own, tape)?;
            let penalties: Vec<_> = [all.penalty, next.penalty].into_iter().flatten().collect();
            let log_det = sum(vec![all.log_det, next.log_det], tape)?;
            let penalty = if penalties.is_empty() { None } else { Some(sum(penalties, tape)?) };
            all = Mapped { value: next.value, log_det, penalty, work: all.work + next.work };
        }
        Ok(all)
    };
    outcome_of(parts, input, context, forth).unwrap()
}

impl StopReason {
    /// Equal but for the order in which terms of log-dets and of sums over rows are added.
    pub(super) fn assert_close(&self, expected: &Self, what: &str) {
        assert_eq!(self.value, expected.value, "{what}: values");
        assert_eq!(self.d_input, expected.d_input, "{what}: gradient of the input");
        assert_eq!((&self.penalty, self.work), (&expected.penalty, expected.work), "{what}");
        close(&format!("{what}: log-det"), &self.log_det, &expected.log_det, 1e-13);
        close(&format!("{what}: context"), &self.d_context, &expected.d_context, 1e-13);
        assert_eq!(self.d_tensors.len(), expected.d_tensors.len(), "{what}: tensors");
        for (got, expected) in self.d_tensors.iter().zip(&expected.d_tensors) {
            // Sums of 700 terms of order one, relative to their result.
            close(&format!("{what}: tensor"), got, expected, 1e-13);
        }
    }

    /// Equal values, and gradients that are equal but for rounding.
    pub(super) fn assert_close_gradients(&self, expected: &Self) {
        assert_eq!((&self.value, &self.log_det), (&expected.value, &expected.log_det));
        let all = |outcome: &Self| {
            let Self { d_input, d_context, d_tensors, .. } = outcome;
            [d_input, d_context].into_iter().chain(d_tensors).flatten().copied().collect::<Vec<_>>()
        };
        close("gradients", &all(self), &all(expected), 1e-13);
    }
}

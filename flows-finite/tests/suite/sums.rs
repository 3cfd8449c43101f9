//! The sum of all values and log-dets with its gradients: what the tests of single bijectors hold
//! against plain formulas.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::testing::wide;
use flows_core::{Batch, Bijector, Context, Mapped, Real, Result, Role, Tape, Values};

pub(crate) fn apply<E: Real>(
    bijector: &dyn Bijector<E>,
    forward: bool,
    input: &Batch<E>,
    tape: &mut Tape<E>,
) -> Result<Mapped<E>> {
    if forward {
        bijector.forward(input, &Context::none(), tape)
    } else {
        bijector.inverse(input, &Context::none(), tape)
    }
}

/// Gradients of the sum of all values and log-dets, for the input and every learned tensor.
pub(crate) fn gradients<E: Real>(
    bijector: &dyn Bijector<E>,
    forward: bool,
    input: &Batch<E>,
) -> Result<Vec<(String, Vec<E>)>> {
    let mut tape = Tape::recording();
    let out = apply(bijector, forward, input, &mut tape)?;
    let mut gradients = tape.backward(|gradients| {
        gradients.of(&out.value)?.fill(E::one());
        gradients.of(&out.log_det)?.fill(E::one());
        Ok(())
    })?;
    let mut all = vec![("input".to_owned(), gradients.take(input)?)];
    bijector.visit(&mut |name, role, tensor| {
        if role == Role::Learned {
            all.push((name.to_owned(), gradients.take(tensor).unwrap()));
        }
    });
    Ok(all)
}

/// The sum that [`gradients`] differentiates.
pub(crate) fn sum_of(values: &[f64], log_det: f64) -> f64 {
    values.iter().sum::<f64>() + log_det
}

/// Values and log-dets of `bijector` at `inputs`.
pub(crate) fn mapped<E: Real>(
    bijector: &dyn Bijector<E>,
    forward: bool,
    inputs: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let dim = bijector.dim();
    let rows = inputs.len() / dim;
    let values = inputs.iter().map(|&v| E::of(v)).collect();
    let input = flows_core::tensor::batch(values, rows, dim).unwrap();
    let out = apply(bijector, forward, &input, &mut Tape::none()).unwrap();
    (wide(&out.value.values()), wide(&out.log_det.values()))
}

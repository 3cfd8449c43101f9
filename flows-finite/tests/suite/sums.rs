//! The sum of all values and log-dets with its gradients: what the tests of single bijectors hold
//! against plain formulas.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::rowwise::{backward, negative_mean};
use flows_core::tensor::{Batch, gradient_of, per_row};
use flows_core::{
    Bijector, Context, Mapped, Mode, PerRow, PutTape, Real, Result, Role, Traced, Values,
};

pub(crate) fn apply<E: Real, T: Mode<E>>(
    bijector: &impl Bijector<E>,
    forward: bool,
    input: Batch<E, T>,
) -> Result<Mapped<E, T>> {
    if forward {
        bijector.forward(input, &Context::none())
    } else {
        bijector.inverse(input, &Context::none())
    }
}

/// Gradients of the sum of all values and log-dets, for the input and every learned tensor.
pub(crate) fn gradients<E: Real>(
    bijector: &impl Bijector<E>,
    forward: bool,
    input: &Batch<E>,
) -> Result<Vec<(String, Vec<E>)>> {
    let out = apply(bijector, forward, input.clone().put_tape(Traced::default()))?;
    let (value, log_det, mut tape) = (out.value, out.log_det, out.tape);
    ones(&mut tape, value, log_det);
    let (_, scalar) = negative_mean(per_row(vec![E::zero()])?, tape)?;
    let mut gradients = backward(scalar)?;
    let mut all = vec![("input".to_owned(), gradient_of(&mut gradients, input)?)];
    bijector.visit(&mut |name, role, tensor| {
        if role == Role::Learned {
            all.push((name.to_owned(), gradient_of(&mut gradients, tensor).unwrap()));
        }
    });
    Ok(all)
}

fn ones<E: Real, T: Mode<E>>(tape: &mut T, value: Batch<E>, log_det: PerRow<E>) {
    tape.add_backward_op(move |gradients| {
        gradients.get_or_alloc_mut(&value)?.fill(E::one());
        gradients.get_or_alloc_mut(&log_det)?.fill(E::one());
        Ok(())
    });
}

/// The sum that [`gradients`] differentiates.
pub(crate) fn sum_of(values: &[f64], log_det: f64) -> f64 {
    values.iter().sum::<f64>() + log_det
}

/// Central differences of `function` at `point`.
pub(crate) fn differences(point: &[f64], function: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let at = |index: usize, step: f64| {
        let mut moved = point.to_vec();
        moved[index] += step;
        function(&moved)
    };
    (0..point.len()).map(|i| (at(i, 1e-5) - at(i, -1e-5)) / 2e-5).collect()
}

/// The largest difference, each relative to 1 + |expected|.
pub(crate) fn distance(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let pairs = got.iter().zip(expected);
    pairs.map(|(g, e)| (g - e).abs() / (1.0 + e.abs())).fold(0.0, |a, b| {
        assert!(!b.is_nan(), "not a number");
        f64::max(a, b)
    })
}

/// The values in double precision.
pub(crate) fn wide<E: Real>(values: &[E]) -> Vec<f64> {
    values.iter().map(|v| v.as_f64()).collect()
}

/// Values and log-dets of `bijector` at `inputs`.
pub(crate) fn mapped<E: Real>(
    bijector: &impl Bijector<E>,
    forward: bool,
    inputs: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let dim = bijector.dim();
    let rows = inputs.len() / dim;
    let values = inputs.iter().map(|&v| E::of(v)).collect();
    let input = flows_core::tensor::batch(values, rows, dim).unwrap();
    let out = apply(bijector, forward, input).unwrap();
    (wide(&out.value.values()), wide(&out.log_det.values()))
}

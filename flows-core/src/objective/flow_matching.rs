//! Conditional flow matching.

use super::Loss;
use crate::matching::FlowMatching;
use crate::rowwise::{gradient_of_mean, mean};
use crate::tape::Tape;
use crate::tensor::{Batch, PerRow, Values, batch, columns, per_row};
use crate::{Context, Error, Flow, Real, Result, Stream, Work};

/// The loss of conditional flow matching: the mean of |v(s, x_s) - u|^2 / D over rows, with points
/// x_s and velocities u from `settings` between base draws and the data `x`. No ODE is solved.
///
/// # Errors
/// [`Error::Unavailable`] unless the bijector is the flow of a vector field next to the base.
///
/// # Reference
/// Lipman, Chen, Ben-Hamu, Nickel, Le, *Flow Matching for Generative Modeling*, ICLR 2023, eq. 9.
/// <https://arxiv.org/abs/2210.02747>
pub fn flow_matching<E: Real>(
    flow: &Flow<E>,
    settings: &FlowMatching,
    x: &Batch<E>,
    context: &Context<E>,
    mut tape: Tape<E>,
    rng: &mut Stream,
) -> Result<Loss<E>> {
    let (rows, dim) = (x.rows(), columns(x));
    let field = flow.bijector().as_field().ok_or(NO_FIELD)?;
    let x1 = field.to_field(x, context)?;
    let x0 = flow.base().sample(rows, rng)?;
    let pairs = settings.draw(&x0.values(), &x1.values(), dim, rng)?;
    let points = batch(pairs.points, rows, dim)?;
    let velocity = field.velocity(&points, &pairs.times, context, &mut tape)?;
    let error = negative_square(velocity, pairs.velocities, &mut tape)?;
    let work = Work { field_evaluations: 1, ..Work::default() };
    let value = -mean(&error);
    Ok(Loss { value, gradient: gradient_of_mean(-1.0, &error, tape)?, work })
}

const NO_FIELD: Error = Error::Unavailable {
    what: "flow matching",
    advice: "it trains continuous flows; choose one, or maximum likelihood",
};

/// -|v - u|^2 / D of each row.
fn negative_square<E: Real>(
    velocity: Batch<E>,
    target: Vec<E>,
    tape: &mut Tape<E>,
) -> Result<PerRow<E>> {
    let dim = columns(&velocity);
    let scale = E::of(1.0 / dim as f64);
    let error: Vec<E> = velocity.values().iter().zip(target).map(|(&v, u)| v - u).collect();
    let square = |row: &[E]| -scale * row.iter().map(|&e| e * e).sum::<E>();
    let result = per_row(error.chunks(dim).map(square).collect())?;
    let output = result.clone();
    tape.record(move |gradients| {
        let (mut error, incoming) = (error, gradients.take(&output)?);
        for (row, outer) in error.chunks_mut(dim).zip(incoming) {
            row.iter_mut().for_each(|error| *error *= -(scale + scale) * outer);
        }
        gradients.add(&velocity, &error)
    });
    Ok(result)
}

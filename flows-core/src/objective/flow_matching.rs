//! Flow matching: the vector field of a continuous flow from pairs of points and velocities.

use super::Loss;
use crate::matching::FlowMatching;
use crate::rowwise::{backward, negative_mean};
use crate::tensor::{Batch, PerRow, PutTape, SplitTape, Traced, Values, batch, columns, per_row};
use crate::{Bijector, Context, Error, Flow, Real, Result, Stream, Work};

/// The loss of conditional flow matching: the mean of |v(s, x_s) - u|^2 / D over rows, with points
/// x_s and velocities u of `settings` between base draws and the data `x`. Nothing is solved.
///
/// # Errors
/// [`Error::Unavailable`] unless the bijector is the flow of a vector field, with nothing between it
/// and the base.
///
/// # Reference
/// Lipman, Chen, Ben-Hamu, Nickel, Le, *Flow Matching for Generative Modeling*, ICLR 2023, eq. 9.
/// <https://arxiv.org/abs/2210.02747>
pub fn flow_matching<E: Real>(
    flow: &Flow<E>,
    settings: &FlowMatching,
    x: Batch<E>,
    context: Context<E, Traced<E>>,
    rng: &mut Stream,
) -> Result<Loss<E>> {
    let (rows, dim) = (x.rows(), columns(&x));
    let (x, context) = context.join(x.put_tape(Traced::default()));
    let (x, tape) = x.split_tape();
    let x1 = flow.bijector().to_field(x, &context)?;
    let x0 = flow.base().sample(rows, rng)?;
    let pairs = settings.draw(&x0.values(), &x1.values(), dim, rng)?;
    let points = batch(pairs.points, rows, dim)?.put_tape(tape);
    let velocity = flow.bijector().velocity(points, &pairs.times, &context)?;
    let (velocity, mut tape) = velocity.ok_or(NO_FIELD)?.split_tape();
    let error = negative_square(velocity, pairs.velocities, &mut tape)?;
    let (value, scalar) = negative_mean(error, tape)?;
    let work = Work { field_evaluations: 1, ..Work::default() };
    Ok(Loss { value, gradient: backward(scalar)?, work })
}

const NO_FIELD: Error = Error::Unavailable {
    what: "flow matching",
    advice: "it trains continuous flows; choose one, or maximum likelihood",
};

/// -|v - u|^2 / D of each row.
fn negative_square<E: Real>(
    velocity: Batch<E>,
    target: Vec<E>,
    tape: &mut Traced<E>,
) -> Result<PerRow<E>> {
    let dim = columns(&velocity);
    let scale = E::of(1.0 / dim as f64);
    let error: Vec<E> = velocity.values().iter().zip(target).map(|(&v, u)| v - u).collect();
    let square = |row: &[E]| -scale * row.iter().map(|&e| e * e).sum::<E>();
    let result = per_row(error.chunks(dim).map(square).collect())?;
    let output = result.clone();
    dfdx::tensor::Tape::add_backward_op(tape, move |gradients| {
        let incoming = std::mem::take(&mut **gradients.get_or_alloc_mut(&output)?);
        let sums = gradients.get_or_alloc_mut(&velocity)?.chunks_mut(dim);
        for ((sums, error), outer) in sums.zip(error.chunks(dim)).zip(incoming) {
            for (sum, &error) in sums.iter_mut().zip(error) {
                *sum -= (scale + scale) * error * outer;
            }
        }
        Ok(())
    });
    Ok(result)
}

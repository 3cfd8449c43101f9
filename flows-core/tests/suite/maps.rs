//! Small maps, and chains of them, for the tests of what carries maps.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

mod bend;
mod flip;
mod separable;
mod shear;

use flows_core::tensor::{batch, columns};
use flows_core::{
    Batch, Bijector, Context, Direction, Layer, Map, Mapped, Result, Tape, Values, normals, stream,
};

pub(super) use bend::Bend;
pub(super) use flip::Flip;
pub(super) use separable::{Scale, Sinh};
pub(super) use shear::Shear;

pub(super) type Boxed = Box<dyn Bijector<f64>>;

/// Features of the context of those layers below that take one.
pub(super) const CONTEXT: usize = 3;

fn layer(map: impl Map<f64> + 'static, values: Vec<Vec<f64>>) -> Boxed {
    Box::new(Layer::with_values(map, values).unwrap())
}

pub(super) fn sinh(dim: usize) -> Boxed {
    layer(Sinh { dim }, Vec::new())
}

pub(super) fn scale(dim: usize) -> Boxed {
    layer(Scale { dim }, vec![(0..dim).map(|i| 0.4 * (i as f64 + 1.0).sin() - 0.3).collect()])
}

pub(super) fn shear(implicit: bool) -> Boxed {
    let map = Shear { context_dim: CONTEXT, implicit };
    layer(map, vec![vec![0.8], vec![0.3, -0.6, 0.2]])
}

pub(super) fn bend() -> Boxed {
    layer(Bend { context_dim: CONTEXT }, vec![vec![-1.5], vec![-0.7], vec![0.5, 0.1, -0.4]])
}

pub(super) fn chain(dim: usize, parts: Vec<Boxed>) -> flows_core::Chain<f64> {
    flows_core::Chain::new(dim, parts).unwrap()
}

pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Inverse];

pub(super) fn run(
    bijector: &dyn Bijector<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
    tape: &mut Tape<f64>,
) -> Result<Mapped<f64>> {
    match direction {
        Direction::Forward => bijector.forward(input, context, tape),
        Direction::Inverse => bijector.inverse(input, context, tape),
    }
}

/// N(0, 1) for every feature.
pub(super) fn points(rows: usize, dim: usize) -> Batch<f64> {
    batch(normals(rows * dim, &mut stream(1, "points")), rows, dim).unwrap()
}

pub(super) fn context(rows: usize) -> Context<f64> {
    let features = normals(rows * CONTEXT, &mut stream(2, "context"));
    Context::of(batch(features, rows, CONTEXT).unwrap())
}

/// Rows of a tensor.
pub(super) fn cut(tensor: &Batch<f64>, rows: std::ops::Range<usize>) -> Batch<f64> {
    let dim = columns(tensor);
    let values = tensor.values()[rows.start * dim..rows.end * dim].to_vec();
    batch(values, rows.len(), dim).unwrap()
}

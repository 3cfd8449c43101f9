//! Rotations and reflections (review, Section 3.2 and Appendix B).

use flows_core::operation::apply;
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns, per_row};
use flows_core::{
    Batch, Bijector, Context, Costs, Error, Mapped, Mode, Parameters, Real, Result, Role,
    SplitTape, Stream, Values, Work, derive, normals,
};
use nalgebra::DMatrix;

use super::dense::MatrixProduct;
use super::generator::Generator;

/// x = Q z with Q orthogonal; the inverse is z = Q^T x, the log-det zero.
///
/// Q is made from the parameters once a call, in O(D^3), O(K D^2) for K reflections; a row then costs
/// O(D^2). It is orthogonal to a few roundings of `E` times sqrt(D).
///
/// # Start
/// The skew-symmetric A of [`Generator::Exponential`] and [`Generator::Cayley`] is zero, and Q the
/// identity. Reflections start in pairs of equal random vectors, so that Q is the identity here too
/// (the two gradients of a pair are opposite and not zero: the first step parts it); an odd one is
/// random, because the identity is out of its reach.
#[derive(Debug)]
pub struct Orthogonal<E: Real> {
    dim: usize,
    generator: Generator,
    /// `(dim, dim)`, the strict lower part of A, other entries unused; or `(K, dim)`, the vectors
    /// that the reflections turn around.
    parameters: Batch<E>,
}

impl<E: Real> Orthogonal<E> {
    /// An orthogonal map of `dim` features.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features or without reflections.
    pub fn new(dim: usize, generator: Generator, rng: &mut Stream) -> Result<Self> {
        let (rows, columns) = generator.shape(dim);
        for (name, count) in [("features of an orthogonal map", columns), ("reflections", rows)] {
            if count == 0 {
                return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
            }
        }
        let values = match generator {
            Generator::Exponential | Generator::Cayley => vec![E::zero(); rows * columns],
            Generator::Householder(reflections) => {
                let pairs = (0..reflections.div_ceil(2)).map(|_| normals::<E>(dim, rng).repeat(2));
                pairs.flatten().take(rows * columns).collect()
            }
        };
        Ok(Self { dim, generator, parameters: batch(values, rows, columns)? })
    }

    /// Q, `(dim, dim)`, derived on `tape`.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the parameters have grown out of range or a vector is zero.
    pub(crate) fn matrix<T: Mode<E>>(&self, tape: &mut T) -> Result<Batch<E>> {
        let dim = self.dim;
        let parameters: Vec<f64> = self.parameters.values().iter().map(|v| v.as_f64()).collect();
        let (matrix, pull) = self.generator.matrix(dim, &parameters)?;
        // Row by row here, column by column there.
        let values = matrix.transpose().iter().map(|&v| E::of(v)).collect();
        let backward = move |gradient: &[E]| {
            let gradient = DMatrix::from_fn(dim, dim, |i, j| gradient[i * dim + j].as_f64());
            vec![pull(gradient).into_iter().map(E::of).collect()]
        };
        derive(&[&self.parameters], (values, dim, dim), backward, tape)
    }

    fn map<T: Mode<E>, const TRANSPOSED: bool>(&self, input: Batch<E, T>) -> Result<Mapped<E, T>> {
        check_columns("orthogonal map", &input, self.dim)?;
        let (input, mut tape) = input.split_tape();
        let matrix = self.matrix(&mut tape)?;
        let operation = MatrixProduct::<TRANSPOSED> { dim: self.dim };
        let mut outputs = apply(operation, &[&input], &[matrix], &mut tape)?;
        let log_det = per_row(vec![E::zero(); input.rows()])?;
        Ok(Mapped::new(outputs.remove(0), log_det, tape, Work::default()))
    }
}

impl<E: Real> Parameters<E> for Orthogonal<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        f(self.generator.name(), Role::Learned, &self.parameters);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        f(self.generator.name(), Role::Learned, &mut self.parameters)
    }
}

impl<E: Real> Bijector<E> for Orthogonal<E> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn costs(&self) -> Costs {
        Costs::CLOSED_FORM
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, false>(z)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, true>(x)
    }
}

//! Sylvester flows (review, Section 3.3).

mod operation;

use flows_core::operation::{apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns, columns};
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Error, Mapped, Mode, Parameters, Real, Result, Role,
    SplitTape, Stream, Tally, Work, normals,
};

use self::operation::SylvesterOperation;
use crate::linear::{Generator, Orthogonal};

/// x = z + Q R tanh(R~ Q^T z + b) with M hyperbolic units: Q `(dim, M)` with orthonormal columns, R
/// and R~ `(M, M)` upper triangular.
///
/// ```text
/// log |det| = sum over i of log(1 + tanh'(a_i) R_ii R~_ii),   a = R~ Q^T z + b
/// ```
/// The diagonals of R and R~ are 0.999 tanh of free parameters, so every unit is increasing. Forward
/// costs O(D M + M^2) a row. So does an iteration of the inverse: in the coordinates a it is
/// a + R~ R tanh(a) = R~ Q^T x + b, a triangular system, solved unit by unit from the last one, each
/// by Newton's method.
///
/// It starts as the identity: R is zero, and R~ is random, so that R has a gradient from the first
/// step on.
///
/// # Reference
/// van den Berg, Hasenclever, Tomczak, Welling, *Sylvester Normalizing Flows for Variational
/// Inference*, UAI 2018. <https://arxiv.org/abs/1803.05649>. There the diagonals are plain tanh.
#[derive(Debug)]
pub struct Sylvester<E: Real> {
    dim: usize,
    basis: Basis<E>,
    /// `(M, M)`, used on the diagonal, through tanh, and above.
    r: Batch<E>,
    /// `(M, M)`, likewise.
    r_tilde: Batch<E>,
    /// `(1, M)`
    bias: Batch<E>,
}

/// What the columns of Q are.
#[derive(Debug)]
enum Basis<E: Real> {
    /// The first rows of an orthogonal matrix.
    Orthogonal(Orthogonal<E>),
    /// Unit vectors: of the first features, or of the last ones in reverse.
    Features { reversed: bool },
}

impl<E: Real> Sylvester<E> {
    /// The O-SNF of the paper with [`Generator::Exponential`] or [`Generator::Cayley`] (there, an
    /// iterative orthogonalisation), its H-SNF with [`Generator::Householder`]. The columns of Q are
    /// the first `units` rows of the orthogonal matrix.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless there are features, reflections, and from 1 to `dim` units.
    pub fn new(dim: usize, units: usize, generator: Generator, rng: &mut Stream) -> Result<Self> {
        let basis = Basis::Orthogonal(Orthogonal::new(dim, generator, rng)?);
        Self::with_basis(dim, units, basis, rng)
    }

    /// The T-SNF of the paper: Q picks the first `units` features, or the last ones in reverse; the
    /// paper alternates between the two from layer to layer.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless there are from 1 to `dim` units.
    pub fn triangular(dim: usize, units: usize, reversed: bool, rng: &mut Stream) -> Result<Self> {
        Self::with_basis(dim, units, Basis::Features { reversed }, rng)
    }

    fn with_basis(dim: usize, units: usize, basis: Basis<E>, rng: &mut Stream) -> Result<Self> {
        if units == 0 || units > dim {
            let (name, requirement) = ("units of a Sylvester flow", "from 1 to its features");
            return Err(Error::Parameter { name, requirement, value: units as f64 });
        }
        let zeros = |rows| batch(vec![E::zero(); rows * units], rows, units);
        // The rows of R~ act on coordinates of size one: arguments of tanh of size one.
        let scale = E::of(1.0 / (units as f64).sqrt());
        let random = normals::<E>(units * units, rng).into_iter().map(|v| v * scale).collect();
        let r_tilde = batch(random, units, units)?;
        Ok(Self { dim, basis, r: zeros(units)?, r_tilde, bias: zeros(1)? })
    }

    /// Q^T in its first rows.
    fn frame<T: Mode<E>>(&self, tape: &mut T) -> Result<Batch<E>> {
        let (dim, units) = (self.dim, columns(&self.bias));
        match &self.basis {
            Basis::Orthogonal(orthogonal) => orthogonal.matrix(tape),
            Basis::Features { reversed } => {
                let mut values = vec![E::zero(); units * dim];
                for (i, row) in values.chunks_exact_mut(dim).enumerate() {
                    row[if *reversed { dim - 1 - i } else { i }] = E::one();
                }
                batch(values, units, dim)
            }
        }
    }

    fn map<T: Mode<E>, const INVERSE: bool>(&self, input: Batch<E, T>) -> Result<Mapped<E, T>> {
        check_columns("Sylvester flow", &input, self.dim)?;
        let (input, mut tape) = input.split_tape();
        let frame = self.frame(&mut tape)?;
        let parameters = [&frame, &self.r, &self.r_tilde, &self.bias].map(Clone::clone);
        let iterations = Tally::default();
        let operation = SylvesterOperation::<INVERSE> {
            dim: self.dim,
            units: columns(&self.bias),
            iterations: iterations.clone(),
        };
        let mut outputs = apply(operation, &[&input], &parameters, &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        let work = Work { iterations: iterations.largest(), ..Work::default() };
        Ok(Mapped::new(outputs.remove(0), log_det, tape, work))
    }
}

impl<E: Real> Parameters<E> for Sylvester<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        if let Basis::Orthogonal(orthogonal) = &self.basis {
            orthogonal.visit(f);
        }
        f("r", Role::Learned, &self.r);
        f("r_tilde", Role::Learned, &self.r_tilde);
        f("bias", Role::Learned, &self.bias);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        if let Basis::Orthogonal(orthogonal) = &mut self.basis {
            orthogonal.visit_mut(f)?;
        }
        f("r", Role::Learned, &mut self.r)?;
        f("r_tilde", Role::Learned, &mut self.r_tilde)?;
        f("bias", Role::Learned, &mut self.bias)
    }
}

impl<E: Real> Bijector<E> for Sylvester<E> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::ClosedForm, inverse: Cost::Iterative }
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, false>(z)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, true>(x)
    }
}

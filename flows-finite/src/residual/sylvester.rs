//! Sylvester flows (review, Section 3.3).

mod kernels;

use flows_core::lanes::named_mut;
use flows_core::map::{Block, Pull, Solve};
use flows_core::{
    Cost, Costs, Error, HasLayout, Layout, Map, Real, Result, Scratch, Stream, Tensors, Work,
    normals,
};

use self::kernels::{Parts, Point};
use crate::linear::{Generator, Triangle};

/// A Sylvester flow: x = z + Q R tanh(R~ Q^T z + b) with M hyperbolic units, Q `(dim, M)` with
/// orthonormal columns, R and R~ `(M, M)` upper triangular.
///
/// ```text
/// log |det| = sum over i of log(1 + tanh'(a_i) R_ii R~_ii),   a = R~ Q^T z + b
/// ```
/// The diagonals of R and R~ are 0.999 tanh of free parameters, so every unit is increasing.
/// Forward costs O(D M + M^2) a row, and so does an iteration of the inverse: in the coordinates a
/// it is a + R~ R tanh(a) = R~ Q^T x + b, a triangular system, solved from the last unit to the
/// first, each by Newton's method.
///
/// It starts at the identity: R is zero, and R~ random, so that R has a gradient from the first
/// step.
///
/// # Reference
/// van den Berg, Hasenclever, Tomczak, Welling, *Sylvester Normalizing Flows for Variational
/// Inference*, UAI 2018. <https://arxiv.org/abs/1803.05649>. There the diagonals are plain tanh.
#[derive(Clone, Copy, Debug)]
pub struct Sylvester {
    dim: usize,
    units: usize,
    basis: Basis,
}

/// The columns of Q.
#[derive(Clone, Copy, Debug)]
enum Basis {
    /// The first rows of an orthogonal matrix.
    Orthogonal(Generator),
    /// Unit vectors: of the first features, or of the last ones in reverse.
    Features { reversed: bool },
}

/// Largest diagonal entry of R and R~: their product stays above -0.998 and the slope of a unit
/// above 0.002, even if tanh saturates by rounding.
const DIAGONAL: f64 = 0.999;

impl Sylvester {
    /// The O-SNF of the paper with [`Generator::Exponential`] or [`Generator::Cayley`] (there, an
    /// iterative orthogonalisation), its H-SNF with [`Generator::Householder`]. The columns of Q are
    /// the first `units` rows of the orthogonal matrix.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless there are features, reflections, and from 1 to `dim` units.
    pub fn new(dim: usize, units: usize, generator: Generator) -> Result<Self> {
        generator.check(dim)?;
        Self::with_basis(dim, units, Basis::Orthogonal(generator))
    }

    /// The T-SNF of the paper: Q picks the first `units` features, or the last ones in reverse; the
    /// paper alternates between the two from layer to layer.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless there are from 1 to `dim` units.
    pub fn triangular(dim: usize, units: usize, reversed: bool) -> Result<Self> {
        Self::with_basis(dim, units, Basis::Features { reversed })
    }

    fn with_basis(dim: usize, units: usize, basis: Basis) -> Result<Self> {
        if units == 0 || units > dim {
            let (name, requirement) = ("units of a Sylvester flow", "from 1 to its features");
            return Err(Error::Parameter { name, requirement, value: units as f64 });
        }
        Ok(Self { dim, units, basis })
    }

    /// Q^T, `(M, dim)`.
    fn frame<E: Real>(&self, tensors: &[Vec<E>]) -> Result<Vec<E>> {
        let (dim, units) = (self.dim, self.units);
        match self.basis {
            Basis::Orthogonal(generator) => {
                let mut rows = generator.rows(dim, &tensors[0])?;
                rows.truncate(units * dim);
                Ok(rows)
            }
            Basis::Features { reversed } => {
                let mut rows = vec![E::zero(); units * dim];
                for (i, row) in rows.chunks_exact_mut(dim).enumerate() {
                    row[if reversed { dim - 1 - i } else { i }] = E::one();
                }
                Ok(rows)
            }
        }
    }

    fn parts<'a, E: Real>(&self, parameters: &[&'a [E]]) -> Parts<'a, E> {
        Parts::new((self.dim, self.units), parameters)
    }
}

impl HasLayout for Sylvester {
    fn layout(&self) -> Vec<Layout> {
        let units = self.units;
        let free = match self.basis {
            Basis::Orthogonal(generator) => {
                let (rows, columns) = generator.shape(self.dim);
                Some(Layout::zeros(generator.name(), rows, columns))
            }
            Basis::Features { .. } => None,
        };
        let own = [("r", units), ("r_tilde", units), ("bias", 1)];
        free.into_iter().chain(own.map(|(name, rows)| Layout::zeros(name, rows, units))).collect()
    }
}

/// The prepared values are Q^T, R, its diagonal, R~, its diagonal, and b.
impl<E: Real> Map<E> for Sylvester {
    fn name(&self) -> &'static str {
        "Sylvester flow"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::ClosedForm, inverse: Cost::Iterative }
    }

    fn start(&self, rng: &mut Stream) -> Result<Vec<Vec<f64>>> {
        let mut values = Vec::new();
        if let Basis::Orthogonal(generator) = self.basis {
            values.push(generator.start(self.dim, rng));
        }
        let units = self.units;
        // The rows of R~ act on coordinates of size one: arguments of tanh of size one.
        let scale = 1.0 / (units as f64).sqrt();
        let random = normals::<f64>(units * units, rng).into_iter().map(|v| v * scale).collect();
        values.extend([vec![0.0; units * units], random, vec![0.0; units]]);
        Ok(values)
    }

    fn prepare(&self, mut tensors: Vec<Vec<E>>) -> Result<Vec<Vec<E>>> {
        let frame = self.frame(&tensors)?;
        let diagonal = |triangle: &[E]| -> Vec<E> {
            let entries = triangle.iter().step_by(self.units + 1);
            entries.map(|d| E::of(DIAGONAL) * d.tanh()).collect()
        };
        let mut own = tensors.split_off(tensors.len() - 3);
        own.insert(1, diagonal(&own[0]));
        own.insert(3, diagonal(&own[2]));
        own.insert(0, frame);
        Ok(own)
    }

    fn pull_prepared(
        &self,
        tensors: &Tensors<E>,
        prepared: &[Vec<E>],
        gradient: &[Vec<E>],
    ) -> Result<Option<Vec<Vec<E>>>> {
        let mut pulled = Vec::new();
        if let Basis::Orthogonal(generator) = self.basis {
            let free = &tensors.values()[0];
            pulled.push(generator.pull_rows(self.dim, free, &gradient[0])?);
        }
        for at in [1, 3] {
            let (matrix, diagonal) = (&gradient[at], &gradient[at + 1]);
            let mut entries = Triangle::Upper.entries(matrix, self.units);
            for (i, &value) in prepared[at + 1].iter().enumerate() {
                let place = i * (self.units + 1);
                let slope = E::of(DIAGONAL) - value * value / E::of(DIAGONAL);
                entries[place] = (matrix[place] + diagonal[i]) * slope;
            }
            pulled.push(entries);
        }
        pulled.push(gradient[5].clone());
        Ok(Some(pulled))
    }

    fn forward(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let (parts, point) = (self.parts(at.parameters), scratch.or_default());
        parts.forward(at.input, point, at.value);
        parts.add_log_det(point, E::one(), at.log_det);
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let (parts, point) = (self.parts(at.parameters), scratch.or_default());
        let evaluations = parts.inverse(at.input, point, at.value)?;
        parts.add_log_det(point, -E::one(), at.log_det);
        Ok(Work::iterations(evaluations))
    }

    fn forward_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let (parts, point) = (self.parts(at.parameters), scratch.left::<Point<E>>());
        at.d_input.copy_from_slice(at.d_value);
        parts.pull(at.input, point, (at.d_input, at.d_log_det), named_mut(at.gradients));
        Ok(())
    }

    fn solve_transposed(
        &self,
        at: Solve<'_, E>,
        scratch: &mut Scratch,
        gradient: &mut [E],
    ) -> Result<()> {
        self.parts(at.parameters).solve_transposed(scratch.left::<Point<E>>(), gradient)
    }
}

//! Orthogonal layers: rotations and reflections (review, Section 3.2 and Appendix B).

use flows_core::lanes::{named, named_mut};
use flows_core::map::{Block, Pull};
use flows_core::matmul::{Destination, Matrix, product};
use flows_core::operation::LANES;
use flows_core::{HasLayout, Layout, Map, Real, Result, Scratch, Stream, Tensors, Work};

use super::generator::Generator;

/// An orthogonal layer: x = Q z, with inverse z = Q^T x and log-det zero.
///
/// Q is computed whenever the parameters change, in O(D^3), O(K D^2) for K reflections; a row then
/// costs O(D^2). Q is orthogonal to a few roundings of the number type times sqrt(D).
///
/// # Initial values
/// The skew-symmetric A of [`Generator::Exponential`] and [`Generator::Cayley`] is zero, so Q is
/// the identity. Reflections start in pairs of equal random vectors, so Q is the identity here too
/// (the gradients of a pair are opposite and not zero, so the first step separates them); an odd
/// one is random, because the identity is out of reach.
#[derive(Clone, Copy, Debug)]
pub struct Orthogonal {
    dim: usize,
    generator: Generator,
}

impl Orthogonal {
    /// An orthogonal layer of `dim` features.
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) without features or without reflections.
    pub fn new(dim: usize, generator: Generator) -> Result<Self> {
        generator.check(dim)?;
        Ok(Self { dim, generator })
    }

    fn matrix<'a, E: Real>(&self, parameters: &[&'a [E]]) -> Matrix<'a, E> {
        let [matrix] = named(parameters);
        Matrix::new(matrix, self.dim, self.dim)
    }

    fn rows<'a, E: Real>(&self, block: &'a [E]) -> Matrix<'a, E> {
        Matrix::new(block, self.dim, LANES)
    }
}

impl HasLayout for Orthogonal {
    /// `(dim, dim)`, the strict lower part of A, other entries unused; or `(K, dim)`, the normals
    /// of the reflections.
    fn layout(&self) -> Vec<Layout> {
        let (rows, columns) = self.generator.shape(self.dim);
        vec![Layout::zeros(self.generator.name(), rows, columns)]
    }
}

impl<E: Real> Map<E> for Orthogonal {
    fn name(&self) -> &'static str {
        "orthogonal map"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn start(&self, rng: &mut Stream) -> Result<Vec<Vec<f64>>> {
        Ok(vec![self.generator.start(self.dim, rng)])
    }

    /// Q.
    fn prepare(&self, tensors: Vec<Vec<E>>) -> Result<Vec<Vec<E>>> {
        Ok(vec![self.generator.rows(self.dim, &tensors[0])?])
    }

    fn pull_prepared(
        &self,
        tensors: &Tensors<E>,
        _prepared: &[Vec<E>],
        gradient: &[Vec<E>],
    ) -> Result<Option<Vec<Vec<E>>>> {
        let parameters = tensors.values();
        let pulled = self.generator.pull_rows(self.dim, &parameters[0], &gradient[0])?;
        Ok(Some(vec![pulled]))
    }

    fn forward(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        let q = self.matrix(at.parameters);
        product(q, self.rows(at.input), at.value, Destination::Replace);
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        let q = self.matrix(at.parameters);
        product(q.transposed(), self.rows(at.input), at.value, Destination::Replace);
        Ok(Work::default())
    }

    /// With g the gradient of x: z receives Q^T g, Q g z^T.
    fn forward_gradient(&self, at: Pull<'_, '_, E>, _: &mut Scratch) -> Result<()> {
        let (q, g, z) = (self.matrix(at.parameters), self.rows(at.d_value), self.rows(at.input));
        let [d_q] = named_mut(at.gradients);
        product(q.transposed(), g, at.d_input, Destination::Replace);
        product(g, z.transposed(), d_q, Destination::Add);
        Ok(())
    }

    /// With g the gradient of z: x receives Q g, Q x g^T.
    fn inverse_gradient(&self, at: Pull<'_, '_, E>, _: &mut Scratch) -> Result<()> {
        let (q, g, x) = (self.matrix(at.parameters), self.rows(at.d_value), self.rows(at.input));
        let [d_q] = named_mut(at.gradients);
        product(q, g, at.d_input, Destination::Replace);
        product(x, g.transposed(), d_q, Destination::Add);
        Ok(())
    }
}

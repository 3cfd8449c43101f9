//! Triangular linear layers (review, Section 3.2).

use flows_core::lanes::{add_lane_sums, named, named_mut};
use flows_core::map::{Block, Pull};
use flows_core::{Error, HasLayout, Layout, Map, Real, Result, Scratch, Tensors, Work};

use super::triangular_matrix::{
    Triangle, TriangularMatrix, exponentiate, negate, pull_exponentials, shift,
};

/// A triangular layer: x = T z + b with T lower or upper triangular, its diagonal exp(s) positive.
///
/// ```text
/// log |det| = sum of s_i
/// ```
/// Both directions cost O(D^2) a row; it starts at the identity. It is the linear autoregressive
/// flow: feature i depends on the features before it (lower) or after it (upper).
#[derive(Clone, Copy, Debug)]
pub struct Triangular {
    dim: usize,
    triangle: Triangle,
    is_fixed: bool,
}

impl Triangular {
    /// A layer at the identity.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features.
    pub fn new(dim: usize, triangle: Triangle) -> Result<Self> {
        if dim == 0 {
            let (name, requirement) = ("features of a triangular layer", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        Ok(Self { dim, triangle, is_fixed: false })
    }

    /// The same, saved with the model but not trained.
    #[must_use]
    pub fn fixed(self) -> Self {
        Self { is_fixed: true, ..self }
    }
}

impl HasLayout for Triangular {
    fn layout(&self) -> Vec<Layout> {
        let dim = self.dim;
        let layout = vec![
            // Used off the diagonal on the side of the triangle.
            Layout::zeros("entries", dim, dim),
            Layout::zeros("log_diagonal", 1, dim),
            Layout::zeros("bias", 1, dim),
        ];
        match self.is_fixed {
            true => layout.into_iter().map(Layout::fixed).collect(),
            false => layout,
        }
    }
}

impl<E: Real> Map<E> for Triangular {
    fn name(&self) -> &'static str {
        "triangular layer"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    /// Entries, diagonal, bias and log-det.
    fn prepare(&self, mut tensors: Vec<Vec<E>>) -> Result<Vec<Vec<E>>> {
        let log_det = exponentiate(&mut tensors[1]);
        tensors.push(log_det);
        Ok(tensors)
    }

    fn pull_prepared(
        &self,
        _tensors: &Tensors<E>,
        prepared: &[Vec<E>],
        gradient: &[Vec<E>],
    ) -> Result<Option<Vec<Vec<E>>>> {
        let matrix = &gradient[0];
        let log_diagonal = pull_exponentials(matrix, &prepared[1], &gradient[3]);
        let entries = self.triangle.entries(matrix, self.dim);
        Ok(Some(vec![entries, log_diagonal, gradient[2].clone()]))
    }

    fn forward(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        let [entries, diagonal, bias, log_det] = named(at.parameters);
        shift(at.log_det, E::one(), log_det);
        at.value.copy_from_slice(at.input);
        TriangularMatrix::new(self.triangle, entries, diagonal).multiply(at.value);
        shift(at.value, E::one(), bias);
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        let [entries, diagonal, bias, log_det] = named(at.parameters);
        shift(at.log_det, -E::one(), log_det);
        at.value.copy_from_slice(at.input);
        shift(at.value, -E::one(), bias);
        TriangularMatrix::new(self.triangle, entries, diagonal).solve(at.value);
        Ok(Work::default())
    }

    fn forward_gradient(&self, at: Pull<'_, '_, E>, _: &mut Scratch) -> Result<()> {
        let [entries, diagonal, _, _] = named(at.parameters);
        let [d_matrix, _, d_bias, d_log_det] = named_mut(at.gradients);
        add_lane_sums(at.d_log_det, E::one(), d_log_det);
        add_lane_sums(at.d_value, E::one(), d_bias);
        at.d_input.copy_from_slice(at.d_value);
        let factor = TriangularMatrix::new(self.triangle, entries, diagonal);
        factor.pull_product(at.input, at.d_input, d_matrix);
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, E>, _: &mut Scratch) -> Result<()> {
        let [entries, diagonal, _, _] = named(at.parameters);
        let [d_matrix, _, d_bias, d_log_det] = named_mut(at.gradients);
        add_lane_sums(at.d_log_det, -E::one(), d_log_det);
        negate(at.d_value, at.d_input);
        let factor = TriangularMatrix::new(self.triangle, entries, diagonal);
        factor.pull_solution(at.value, at.d_input, d_matrix);
        // Minus the gradient of x is that of b.
        add_lane_sums(at.d_input, E::one(), d_bias);
        at.d_input.iter_mut().for_each(|d| *d = -*d);
        Ok(())
    }
}

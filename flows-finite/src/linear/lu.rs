//! Linear layers by PLU decomposition (review, Section 3.2 and Appendix B).

use flows_core::lanes::{add_lane_sums, named, named_mut};
use flows_core::map::{Block, Pull};
use flows_core::{
    Error, HasLayout, Layer, Layout, Map, Real, Result, Scratch, Stream, Tensors, Work,
};

use super::permutation::{check_order, gather, order_layout, scatter, shuffled, values_of};
use super::triangular_matrix::{
    Triangle, TriangularMatrix, exponentiate, negate, pull_exponentials, shift,
};

/// A linear layer by its PLU decomposition: x = P L U z + b, with P a fixed permutation, L unit
/// lower and U upper triangular with positive diagonal exp(s).
///
/// ```text
/// log |det| = sum of s_i
/// ```
/// Both directions cost O(D^2) a row; it starts at P.
///
/// # Reference
/// Oliva et al., *Transformation Autoregressive Networks*, ICML 2018; Kingma, Dhariwal, *Glow*,
/// 2018, eq. 10-11. <https://arxiv.org/abs/1807.03039>
#[derive(Clone, Debug)]
pub struct LuLinear {
    /// Initially, row i of x is row `order[i]` of L U z.
    order: Vec<usize>,
}

impl LuLinear {
    /// A layer with P = I.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features.
    pub fn new(dim: usize) -> Result<Self> {
        Self::with_order((0..dim).collect())
    }

    /// A layer with a random permutation P.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features.
    pub fn shuffled(dim: usize, rng: &mut Stream) -> Result<Self> {
        Self::with_order(shuffled(dim, rng))
    }

    fn with_order(order: Vec<usize>) -> Result<Self> {
        if order.is_empty() {
            let (name, requirement) = ("features of a linear layer", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        Ok(Self { order })
    }

    /// A layer with P from `order` (feature i of x is feature `order[i]` of L U z), the entries of
    /// L below and of U above the diagonal (row by row, other entries unused), the diagonal of U,
    /// and bias 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `order` is a permutation and the diagonal positive;
    /// [`Error::Dimension`] if sizes differ.
    pub fn from_factors<E: Real>(
        order: &[usize],
        lower: &[f64],
        upper: &[f64],
        diagonal: &[f64],
    ) -> Result<Layer<E>> {
        let (map, dim) = (Self::with_order(order.to_vec())?, order.len());
        let sizes = [(lower.len(), dim * dim), (upper.len(), dim * dim), (diagonal.len(), dim)];
        for (got, expected) in sizes {
            if got != expected {
                return Err(Error::Dimension { op: "factors of a linear layer", expected, got });
            }
        }
        if let Some(&value) = diagonal.iter().find(|d| !(**d > 0.0 && d.is_finite())) {
            let (name, requirement) = ("diagonal of U", "positive and finite");
            return Err(Error::Parameter { name, requirement, value });
        }
        let log_diagonal = diagonal.iter().map(|d| d.ln()).collect();
        let (lower, upper) = (lower.to_vec(), upper.to_vec());
        let values = vec![values_of(order), lower, upper, log_diagonal, vec![0.0; dim]];
        Layer::with_values(map, values)
    }
}

impl HasLayout for LuLinear {
    fn layout(&self) -> Vec<Layout> {
        let dim = self.order.len();
        vec![
            order_layout(&self.order),
            // Used below the diagonal.
            Layout::zeros("lower", dim, dim),
            // Used above the diagonal.
            Layout::zeros("upper", dim, dim),
            Layout::zeros("log_diagonal", 1, dim),
            Layout::zeros("bias", 1, dim),
        ]
    }
}

/// The prepared values: P, L, U, b and the log-det.
struct Parts<'a, E> {
    order: &'a [E],
    lower: TriangularMatrix<'a, E>,
    upper: TriangularMatrix<'a, E>,
    bias: &'a [E],
    log_det: &'a [E],
}

impl<'a, E: Real> Parts<'a, E> {
    fn new(parameters: &[&'a [E]]) -> Self {
        let [order, lower, upper, diagonal, bias, log_det] = named(parameters);
        Self {
            order,
            lower: TriangularMatrix::unit(Triangle::Lower, lower, order.len()),
            upper: TriangularMatrix::new(Triangle::Upper, upper, diagonal),
            bias,
            log_det,
        }
    }
}

/// Intermediate values of a pass.
#[derive(Debug, Default)]
struct Intermediate<E> {
    /// U z = L^-1 P^T (x - b), between L and U.
    half: Vec<E>,
    /// A buffer.
    rows: Vec<E>,
}

impl<E: Real> Map<E> for LuLinear {
    fn name(&self) -> &'static str {
        "linear layer"
    }

    fn dim(&self) -> usize {
        self.order.len()
    }

    /// Order, entries of L and U, the diagonal, the bias and the log-det.
    fn prepare(&self, mut tensors: Vec<Vec<E>>) -> Result<Vec<Vec<E>>> {
        check_order("order of a linear layer", &tensors[0])?;
        let log_det = exponentiate(&mut tensors[3]);
        tensors.push(log_det);
        Ok(tensors)
    }

    fn pull_prepared(
        &self,
        _tensors: &Tensors<E>,
        prepared: &[Vec<E>],
        gradient: &[Vec<E>],
    ) -> Result<Option<Vec<Vec<E>>>> {
        let (lower, upper, dim) = (&gradient[1], &gradient[2], self.order.len());
        Ok(Some(vec![
            Vec::new(),
            Triangle::Lower.entries(lower, dim),
            Triangle::Upper.entries(upper, dim),
            pull_exponentials(upper, &prepared[3], &gradient[5]),
            gradient[4].clone(),
        ]))
    }

    fn forward(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let Parts { order, lower, upper, bias, log_det } = Parts::new(at.parameters);
        let Intermediate { half, rows } = scratch.or_default();
        shift(at.log_det, E::one(), log_det);
        half.clear();
        half.extend_from_slice(at.input);
        upper.multiply(half);
        rows.clear();
        rows.extend_from_slice(half);
        lower.multiply(rows);
        gather(order, rows, at.value);
        shift(at.value, E::one(), bias);
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let Parts { order, lower, upper, bias, log_det } = Parts::new(at.parameters);
        let Intermediate { half, .. } = scratch.or_default();
        shift(at.log_det, -E::one(), log_det);
        at.value.copy_from_slice(at.input);
        shift(at.value, -E::one(), bias);
        half.resize(at.value.len(), E::zero());
        scatter(order, at.value, half);
        lower.solve(half);
        at.value.copy_from_slice(half);
        upper.solve(at.value);
        Ok(Work::default())
    }

    fn forward_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let Parts { order, lower, upper, .. } = Parts::new(at.parameters);
        let Intermediate { half, .. } = scratch.left();
        let [_, d_lower, d_upper, _, d_bias, d_log_det] = named_mut(at.gradients);
        add_lane_sums(at.d_log_det, E::one(), d_log_det);
        add_lane_sums(at.d_value, E::one(), d_bias);
        scatter(order, at.d_value, at.d_input);
        lower.pull_product(half, at.d_input, d_lower);
        upper.pull_product(at.input, at.d_input, d_upper);
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let Parts { order, lower, upper, .. } = Parts::new(at.parameters);
        let Intermediate { half, rows } = scratch.left();
        let [_, d_lower, d_upper, _, d_bias, d_log_det] = named_mut(at.gradients);
        add_lane_sums(at.d_log_det, -E::one(), d_log_det);
        rows.resize(half.len(), E::zero());
        negate(at.d_value, rows);
        upper.pull_solution(at.value, rows, d_upper);
        lower.pull_solution(half, rows, d_lower);
        gather(order, rows, at.d_input);
        // Minus the gradient of x is that of b.
        add_lane_sums(at.d_input, E::one(), d_bias);
        at.d_input.iter_mut().for_each(|d| *d = -*d);
        Ok(())
    }
}

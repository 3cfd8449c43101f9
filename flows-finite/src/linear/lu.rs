//! A linear layer by its PLU decomposition (review, Section 3.2 and Appendix B).

use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns, columns, set_values};
use flows_core::{
    Batch, Bijector, Context, Costs, Error, Mapped, Mode, Parameters, Real, Result, Role,
    SplitTape, Stream, Work,
};
use rand::seq::SliceRandom;

use super::factors::{Factor, Triangle, add_lane_sums, shift};
use super::permutation::{indices, inverted};

/// x = P L U z + b, with P a fixed permutation, L unit lower and U upper triangular with positive
/// diagonal exp(s).
///
/// ```text
/// log |det| = sum of s_i
/// ```
/// Both directions cost O(D^2) a row; it starts as the identity.
///
/// # Reference
/// Oliva et al., *Transformation Autoregressive Networks*, ICML 2018; Kingma, Dhariwal, *Glow*,
/// 2018, eq. 10-11. <https://arxiv.org/abs/1807.03039>
#[derive(Debug)]
pub struct LuLinear<E: Real> {
    /// `(1, dim)`: row i of x is row `order[i]` of L U z.
    order: Batch<E>,
    /// `(dim, dim)`, used below the diagonal.
    lower: Batch<E>,
    /// `(dim, dim)`, used above the diagonal.
    upper: Batch<E>,
    /// `(1, dim)`
    log_diagonal: Batch<E>,
    /// `(1, dim)`
    bias: Batch<E>,
}

impl<E: Real> LuLinear<E> {
    /// The identity.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features.
    pub fn new(dim: usize) -> Result<Self> {
        let identity: Vec<usize> = (0..dim).collect();
        let zeros = vec![0.0; dim * dim];
        Self::from_factors(&identity, &zeros, &zeros, &vec![1.0; dim])
    }

    /// A random permutation.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features.
    pub fn shuffled(dim: usize, rng: &mut Stream) -> Result<Self> {
        let mut order: Vec<usize> = (0..dim).collect();
        order.shuffle(rng);
        let zeros = vec![0.0; dim * dim];
        Self::from_factors(&order, &zeros, &zeros, &vec![1.0; dim])
    }

    /// From `order` (feature i of x is feature `order[i]` of L U z), the entries of L below and of
    /// U above the diagonal (row by row, other entries unused) and the diagonal of U.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `order` is a permutation and the diagonal positive;
    /// [`Error::Dimension`] where sizes differ.
    pub fn from_factors(
        order: &[usize],
        lower: &[f64],
        upper: &[f64],
        diagonal: &[f64],
    ) -> Result<Self> {
        let dim = order.len();
        if dim == 0 {
            let (name, requirement) = ("features of a linear layer", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
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
        let cast = |values: &[f64]| values.iter().map(|&v| E::of(v)).collect();
        let layer = Self {
            order: batch(order.iter().map(|&i| E::of(i as f64)).collect(), 1, dim)?,
            lower: batch(cast(lower), dim, dim)?,
            upper: batch(cast(upper), dim, dim)?,
            log_diagonal: batch(diagonal.iter().map(|d| E::of(d.ln())).collect(), 1, dim)?,
            bias: batch(vec![E::zero(); dim], 1, dim)?,
        };
        indices("order of a linear layer", &layer.order)?;
        Ok(layer)
    }

    /// Replaces the bias b.
    ///
    /// # Errors
    /// [`Error::Tensors`] unless there are `dim` values.
    pub fn set_bias(&mut self, bias: &[E]) -> Result<()> {
        set_values(&mut self.bias, bias)
    }

    fn map<T: Mode<E>, const INVERSE: bool>(&self, input: Batch<E, T>) -> Result<Mapped<E, T>> {
        let dim = columns(&self.bias);
        check_columns("linear layer", &input, dim)?;
        let order = indices("order of a linear layer", &self.order)?;
        let operation = LuOperation::<INVERSE> { places: inverted(&order) };
        let (input, mut tape) = input.split_tape();
        let parameters =
            [&self.lower, &self.upper, &self.log_diagonal, &self.bias].map(Clone::clone);
        let mut outputs = apply(operation, &[&input], &parameters, &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        Ok(Mapped::new(outputs.remove(0), log_det, tape, Work::default()))
    }
}

impl<E: Real> Parameters<E> for LuLinear<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        f("order", Role::Fixed, &self.order);
        f("lower", Role::Learned, &self.lower);
        f("upper", Role::Learned, &self.upper);
        f("log_diagonal", Role::Learned, &self.log_diagonal);
        f("bias", Role::Learned, &self.bias);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        f("order", Role::Fixed, &mut self.order)?;
        f("lower", Role::Learned, &mut self.lower)?;
        f("upper", Role::Learned, &mut self.upper)?;
        f("log_diagonal", Role::Learned, &mut self.log_diagonal)?;
        f("bias", Role::Learned, &mut self.bias)
    }
}

impl<E: Real> Bijector<E> for LuLinear<E> {
    fn dim(&self) -> usize {
        columns(&self.bias)
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

/// `places[i]`: where feature i of L U z goes.
struct LuOperation<const INVERSE: bool> {
    places: Vec<usize>,
}

impl<const INVERSE: bool> LuOperation<INVERSE> {
    /// L and U.
    fn factors<E: Real>(&self, parameters: &[&[E]]) -> (Factor<E>, Factor<E>) {
        let lower = Factor::new(Triangle::Lower, parameters[0], vec![E::one(); self.places.len()]);
        let diagonal = parameters[2].iter().map(|s| s.exp()).collect();
        (lower, Factor::new(Triangle::Upper, parameters[1], diagonal))
    }

    /// Row i of the result is row `places[i]` of `x`.
    fn gathered<E: Real>(&self, x: &[E]) -> Vec<E> {
        let mut rows = Vec::with_capacity(x.len());
        for &place in &self.places {
            rows.extend_from_slice(&x[place * LANES..(place + 1) * LANES]);
        }
        rows
    }

    /// Row i of `v` goes to row `places[i]` of `x`.
    fn scatter<E: Real>(&self, v: &[E], x: &mut [E]) {
        for (row, &place) in v.chunks_exact(LANES).zip(&self.places) {
            x[place * LANES..(place + 1) * LANES].copy_from_slice(row);
        }
    }

    /// L^-1 P^T (x - b)
    fn half_solved<E: Real>(&self, lower: &Factor<E>, x: &[E], bias: &[E]) -> Vec<E> {
        let mut shifted = x.to_vec();
        shift(&mut shifted, -E::one(), bias);
        let mut v = self.gathered(&shifted);
        lower.solve(&mut v);
        v
    }
}

impl<E: Real, const INVERSE: bool> Operation<E> for LuOperation<INVERSE> {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "linear layer"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.places.len(), 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let (lower, upper) = self.factors(parameters);
        let total: E = parameters[2].iter().copied().sum();
        outputs[1].fill(if INVERSE { -total } else { total });
        if INVERSE {
            let mut z = self.half_solved(&lower, inputs[0], parameters[3]);
            upper.solve(&mut z);
            outputs[0].copy_from_slice(&z);
        } else {
            let mut v = inputs[0].to_vec();
            upper.multiply(&mut v);
            lower.multiply(&mut v);
            self.scatter(&v, outputs[0]);
            shift(outputs[0], E::one(), parameters[3]);
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let [d_lower, d_upper, d_log_diagonal, d_bias] = parameter_gradients else {
            return;
        };
        let (lower, upper) = self.factors(block.parameters);
        let sign = if INVERSE { -E::one() } else { E::one() };
        let diagonal = if INVERSE {
            // z = U^-1 v, v = L^-1 P^T (x - b).
            let v = self.half_solved(&lower, block.inputs[0], block.parameters[3]);
            let mut z = v.clone();
            upper.solve(&mut z);
            let mut gradient = output_gradients[0].to_vec();
            let diagonal = upper.pull_solution(&z, &mut gradient, d_upper);
            lower.pull_solution(&v, &mut gradient, d_lower);
            self.scatter(&gradient, input_gradients[0]);
            add_lane_sums(input_gradients[0], sign, d_bias);
            diagonal
        } else {
            // u = U z, x = P L u + b.
            let mut u = block.inputs[0].to_vec();
            upper.multiply(&mut u);
            add_lane_sums(output_gradients[0], sign, d_bias);
            let mut gradient = self.gathered(output_gradients[0]);
            lower.pull_product(&u, &mut gradient, d_lower);
            let diagonal = upper.pull_product(block.inputs[0], &mut gradient, d_upper);
            input_gradients[0].copy_from_slice(&gradient);
            diagonal
        };
        let total: E = output_gradients[1].iter().copied().sum();
        for (i, sum) in d_log_diagonal.iter_mut().enumerate() {
            *sum += diagonal[i] * upper.diagonal()[i] + sign * total;
        }
    }
}

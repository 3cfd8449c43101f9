//! A triangular linear layer (review, Section 3.2).

use flows_core::operation::{Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns, columns};
use flows_core::{
    Batch, Bijector, Context, Costs, Error, Mapped, Mode, Parameters, Real, Result, Role,
    SplitTape, Work,
};

use super::factors::{Factor, Triangle, add_lane_sums, shift};

/// x = T z + b with T lower or upper triangular and its diagonal exp(s) positive.
///
/// ```text
/// log |det| = sum of s_i
/// ```
/// Both directions cost O(D^2) a row; it starts as the identity. It is the linear autoregressive
/// flow: feature i depends on the features before it (lower) or behind it (upper).
#[derive(Debug)]
pub struct Triangular<E: Real> {
    triangle: Triangle,
    /// `(dim, dim)`, used off the diagonal on the side of the triangle.
    entries: Batch<E>,
    /// `(1, dim)`
    log_diagonal: Batch<E>,
    /// `(1, dim)`
    bias: Batch<E>,
}

impl<E: Real> Triangular<E> {
    /// The identity.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features.
    pub fn new(dim: usize, triangle: Triangle) -> Result<Self> {
        if dim == 0 {
            let (name, requirement) = ("features of a triangular layer", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        let zeros = |rows| batch(vec![E::zero(); rows * dim], rows, dim);
        Ok(Self { triangle, entries: zeros(dim)?, log_diagonal: zeros(1)?, bias: zeros(1)? })
    }

    fn map<T: Mode<E>, const INVERSE: bool>(&self, input: Batch<E, T>) -> Result<Mapped<E, T>> {
        let dim = columns(&self.bias);
        check_columns("triangular layer", &input, dim)?;
        let (input, mut tape) = input.split_tape();
        let parameters = [&self.entries, &self.log_diagonal, &self.bias].map(Clone::clone);
        let operation = TriangularOperation::<INVERSE> { triangle: self.triangle, dim };
        let mut outputs = apply(operation, &[&input], &parameters, &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        Ok(Mapped::new(outputs.remove(0), log_det, tape, Work::default()))
    }
}

impl<E: Real> Parameters<E> for Triangular<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        f("entries", Role::Learned, &self.entries);
        f("log_diagonal", Role::Learned, &self.log_diagonal);
        f("bias", Role::Learned, &self.bias);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        f("entries", Role::Learned, &mut self.entries)?;
        f("log_diagonal", Role::Learned, &mut self.log_diagonal)?;
        f("bias", Role::Learned, &mut self.bias)
    }
}

impl<E: Real> Bijector<E> for Triangular<E> {
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

struct TriangularOperation<const INVERSE: bool> {
    triangle: Triangle,
    dim: usize,
}

impl<const INVERSE: bool> TriangularOperation<INVERSE> {
    fn factor<E: Real>(&self, parameters: &[&[E]]) -> Factor<E> {
        let diagonal = parameters[1].iter().map(|s| s.exp()).collect();
        Factor::new(self.triangle, parameters[0], diagonal)
    }

    /// T v + b, or T^-1 (v - b), in place.
    fn transform<E: Real>(&self, factor: &Factor<E>, bias: &[E], v: &mut [E]) {
        if INVERSE {
            shift(v, -E::one(), bias);
            factor.solve(v);
        } else {
            factor.multiply(v);
            shift(v, E::one(), bias);
        }
    }
}

impl<E: Real, const INVERSE: bool> Operation<E> for TriangularOperation<INVERSE> {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "triangular layer"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim, 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let total: E = parameters[1].iter().copied().sum();
        outputs[1].fill(if INVERSE { -total } else { total });
        outputs[0].copy_from_slice(inputs[0]);
        self.transform(&self.factor(parameters), parameters[2], outputs[0]);
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let [d_entries, d_log_diagonal, d_bias] = parameter_gradients else {
            return;
        };
        let factor = self.factor(block.parameters);
        let gradient = &mut *input_gradients[0];
        gradient.copy_from_slice(output_gradients[0]);
        let sign = if INVERSE { -E::one() } else { E::one() };
        let diagonal = if INVERSE {
            let mut z = block.inputs[0].to_vec();
            self.transform(&factor, block.parameters[2], &mut z);
            let diagonal = factor.pull_solution(&z, gradient, d_entries);
            add_lane_sums(gradient, sign, d_bias);
            diagonal
        } else {
            add_lane_sums(gradient, sign, d_bias);
            factor.pull_product(block.inputs[0], gradient, d_entries)
        };
        let total: E = output_gradients[1].iter().copied().sum();
        for (i, sum) in d_log_diagonal.iter_mut().enumerate() {
            *sum += diagonal[i] * factor.diagonal()[i] + sign * total;
        }
    }
}

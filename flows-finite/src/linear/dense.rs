//! The product of a square matrix, or of its transpose, and every row.

use flows_core::Real;
use flows_core::Result;
use flows_core::matmul::{Destination, Matrix, product};
use flows_core::operation::{LANES, Operation, Recorded};

/// y = M x, or y = M^T x if `TRANSPOSED`; M is the parameter, `(dim, dim)`.
pub(super) struct MatrixProduct<const TRANSPOSED: bool> {
    /// Rows and columns of M.
    pub(super) dim: usize,
}

impl<E: Real, const TRANSPOSED: bool> Operation<E> for MatrixProduct<TRANSPOSED> {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "matrix product"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let matrix = Matrix::new(parameters[0], self.dim, self.dim);
        let matrix = if TRANSPOSED { matrix.transposed() } else { matrix };
        let x = Matrix::new(inputs[0], self.dim, LANES);
        product(matrix, x, outputs[0], Destination::Replace);
        Ok(())
    }

    /// With g the gradient of y: M^T g and g x^T, or M g and x g^T.
    fn backward(
        &self,
        block: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let matrix = Matrix::new(block.parameters[0], self.dim, self.dim);
        let x = Matrix::new(block.inputs[0], self.dim, LANES);
        let g = Matrix::new(output_gradients[0], self.dim, LANES);
        let (matrix, left, right) =
            if TRANSPOSED { (matrix, x, g) } else { (matrix.transposed(), g, x) };
        product(matrix, g, input_gradients[0], Destination::Replace);
        product(left, right.transposed(), parameter_gradients[0], Destination::Add);
    }
}

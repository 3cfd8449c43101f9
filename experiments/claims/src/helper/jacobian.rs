//! Whole Jacobians of bijectors by automatic differentiation, row by row.

use flows_core::tensor::columns;
use flows_core::{Batch, Bijector, Context, Result, Tape, Values};
use nalgebra::DMatrix;

/// dx/dz of the forward map at every row of `points`: one pass and its reversal for each output.
pub(crate) fn jacobians(
    bijector: &dyn Bijector<f64>,
    points: &Batch<f64>,
) -> Result<Vec<DMatrix<f64>>> {
    let (rows, dim) = (points.rows(), columns(points));
    let mut jacobians = vec![DMatrix::zeros(dim, dim); rows];
    for output in 0..dim {
        let mut tape = Tape::recording();
        let value = bijector.forward(points, &Context::none(), &mut tape)?.value;
        let seed: Vec<f64> = (0..rows * dim).map(|i| f64::from(i % dim == output)).collect();
        let mut gradients = tape.backward(|gradients| gradients.add(&value, &seed))?;
        let slopes = gradients.take(points)?;
        for (jacobian, slopes) in jacobians.iter_mut().zip(slopes.chunks(dim)) {
            for (input, slope) in slopes.iter().enumerate() {
                jacobian[(output, input)] = *slope;
            }
        }
    }
    Ok(jacobians)
}

/// log |det J| by LU decomposition.
pub(crate) fn log_det(jacobian: &DMatrix<f64>) -> f64 {
    jacobian.clone().lu().u().diagonal().iter().map(|d| d.abs().ln()).sum()
}

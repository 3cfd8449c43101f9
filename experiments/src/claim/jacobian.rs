//! Whole Jacobians of bijectors by automatic differentiation, row by row.

use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::rowwise::{backward, negative_mean};
use flows_core::tensor::{columns, gradient_of};
use flows_core::{Batch, Bijector, BoxBijector, Context, PutTape, Result, Traced, Values};
use nalgebra::DMatrix;

/// dx/dz of the forward map at every row of `points`: one pass and its reversal for each output.
pub(super) fn jacobians(
    bijector: &BoxBijector<f64>,
    points: &Batch<f64>,
) -> Result<Vec<DMatrix<f64>>> {
    let (rows, dim) = (points.values().len() / columns(points), columns(points));
    let mut jacobians = vec![DMatrix::zeros(dim, dim); rows];
    for output in 0..dim {
        let traced = points.clone().put_tape(Traced::default());
        let mapped = bijector.forward(traced, &Context::none())?;
        let mut tape = mapped.tape;
        let feature = Feature { output };
        let chosen = apply(feature, &[&mapped.value], &[], &mut tape)?.remove(0);
        let chosen = column(chosen, &mut tape)?;
        let (_, scalar) = negative_mean(chosen, tape)?;
        let slopes = gradient_of(&mut backward(scalar)?, points)?;
        for (jacobian, slopes) in jacobians.iter_mut().zip(slopes.chunks(dim)) {
            for (input, slope) in slopes.iter().enumerate() {
                jacobian[(output, input)] = -slope * rows as f64;
            }
        }
    }
    Ok(jacobians)
}

/// log |det J| by LU decomposition.
pub(super) fn log_det(jacobian: &DMatrix<f64>) -> f64 {
    jacobian.clone().lu().u().diagonal().iter().map(|d| d.abs().ln()).sum()
}

/// One feature of a batch as a column.
struct Feature {
    output: usize,
}

impl Operation<f64> for Feature {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "a feature"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(
        &self,
        inputs: &[&[f64]],
        _: &[&[f64]],
        _: &mut (),
        outputs: &mut [&mut [f64]],
    ) -> Result<()> {
        outputs[0].copy_from_slice(&inputs[0][self.output * LANES..(self.output + 1) * LANES]);
        Ok(())
    }

    fn backward(
        &self,
        _: Recorded<'_, f64, ()>,
        outer: &[&[f64]],
        inner: &mut [&mut [f64]],
        _: &mut [&mut [f64]],
    ) {
        inner[0][self.output * LANES..(self.output + 1) * LANES].copy_from_slice(outer[0]);
    }
}

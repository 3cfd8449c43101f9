//! Base distributions as formulas on blocks of rows, and their differentiable operations.

use std::sync::Arc;

use crate::layout::HasLayout;
use crate::operation::{Operation, Recorded};
use crate::{Real, Result, Scratch, Space, Stream};

/// A base distribution: log-density, draws and maximum-likelihood fit as formulas on a block of
/// [`LANES`](crate::operation::LANES) rows, feature by feature.
///
/// [`Base`](crate::Base) owns its tensors and makes the formulas differentiable operations.
pub trait Distribution<E: Real>: HasLayout {
    /// Number of features d.
    fn dim(&self) -> usize;

    /// Where each feature lies; by default on the real line.
    fn space(&self) -> Vec<Space> {
        vec![Space::Line; self.dim()]
    }

    /// Initial values of the tensors; by default those of their [`Layout`](crate::Layout).
    fn start(&self, rng: &mut Stream) -> Vec<Vec<f64>> {
        self.layout().iter().map(|layout| layout.draw(rng)).collect()
    }

    /// Adds log p(z) to `sums`, `(LANES)`.
    fn log_density(
        &self,
        z: &[E],
        parameters: &[&[E]],
        scratch: &mut Scratch,
        log_density: &mut [E],
    );

    /// Backward pass of [`log_density`](Self::log_density): from the gradient of log p(z), writes
    /// that of z and adds to those of the parameters. `scratch` holds what the forward pass left.
    fn pull_log_density(
        &self,
        at: Recorded<'_, E>,
        outer: &[E],
        d_z: &mut [E],
        d_parameters: &mut [&mut [E]],
    );

    /// Number of random values that a draw takes.
    fn noise_width(&self) -> usize {
        self.dim()
    }

    /// The random numbers of `rows` draws, row by row: from the same stream those of fewer draws are
    /// the first ones of more, and two calls one after the other give those of one call.
    fn noise(&self, rows: usize, parameters: &[Vec<E>], rng: &mut Stream) -> Vec<E>;

    /// Writes the draws for given noise; by default the noise itself.
    fn draw(&self, noise: &[E], _parameters: &[&[E]], z: &mut [E]) {
        z.copy_from_slice(noise);
    }

    /// Backward pass of [`draw`](Self::draw): adds to the gradients of the parameters.
    fn pull_draw(
        &self,
        _noise: &[E],
        _parameters: &[&[E]],
        _outer: &[E],
        _d_parameters: &mut [&mut [E]],
    ) {
    }

    /// Index of the tensor that draws carry no gradient for, if there is one.
    fn unmoved(&self) -> Option<usize> {
        None
    }

    /// Maximum-likelihood values of the tensors for the rows of z, starting from `now`; by default
    /// `now`. With tensors there are at least two rows.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite) if a column is constant or not finite.
    fn fit(&self, _z: &[f64], now: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>> {
        Ok(now)
    }
}

/// The log-density of a distribution as an operation.
pub(super) struct LogDensity<E>(pub(super) Arc<dyn Distribution<E>>);

impl<E: Real> Operation<E> for LogDensity<E> {
    fn name(&self) -> &'static str {
        "base distribution"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        self.0.log_density(inputs[0], parameters, scratch, outputs[0]);
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        outer: &[&[E]],
        inner: &mut [&mut [E]],
        d_parameters: &mut [&mut [E]],
    ) -> Result<()> {
        self.0.pull_log_density(block, outer[0], inner[0], d_parameters);
        Ok(())
    }
}

/// Draws of a distribution as an operation: the input is noise, which stays fixed.
pub(super) struct Draw<E>(pub(super) Arc<dyn Distribution<E>>);

impl<E: Real> Operation<E> for Draw<E> {
    fn name(&self) -> &'static str {
        "draws of the base distribution"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.0.dim()]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        self.0.draw(inputs[0], parameters, outputs[0]);
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        outer: &[&[E]],
        _: &mut [&mut [E]],
        d_parameters: &mut [&mut [E]],
    ) -> Result<()> {
        self.0.pull_draw(block.inputs[0], block.parameters, outer[0], d_parameters);
        Ok(())
    }
}

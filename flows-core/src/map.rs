//! Maps: bijections as formulas on a block of rows, from which layers are made.

use std::fmt::Debug;

use crate::bijector::{Costs, Exactness, Purpose};
use crate::lanes::add;
use crate::layout::HasLayout;
use crate::tensor::Batch;
use crate::tensors::Tensors;
use crate::{Error, Real, Result, Scratch, Space, Stream, Work};

/// A differentiable bijection of R^d as a formula, with its gradient, on one block of
/// [`LANES`](crate::operation::LANES) rows, feature by feature.
///
/// [`Layer`](crate::Layer) makes a [`Bijector`](crate::Bijector) of it and owns its tensors. What
/// `forward` and `inverse` leave in `scratch` is there for the gradient of the same direction.
///
/// ```text
/// forward   value = T(input),    log_det += log |det dT/d input|
/// inverse   value = T^-1(input), log_det += log |det dT^-1/d input|
/// ```
pub trait Map<E: Real>: HasLayout {
    /// Name for error messages.
    fn name(&self) -> &'static str;

    /// Number of features d.
    fn dim(&self) -> usize;

    /// Number of conditioning features; 0 if it takes none.
    fn context_dim(&self) -> usize {
        0
    }

    /// Cost class of each direction.
    fn costs(&self) -> Costs {
        Costs::CLOSED_FORM
    }

    /// Whether log-dets are exact for a purpose.
    fn exactness(&self, _purpose: Purpose) -> Exactness {
        Exactness::Exact
    }

    /// As [`Bijector::image_space`](crate::Bijector::image_space).
    ///
    /// # Errors
    /// [`Error::Space`] where points may lie outside of the space on which the map is injective.
    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        Ok(vec![Space::Line; from.len()])
    }

    /// Initial values of the tensors; by default those of their [`Layout`](crate::Layout).
    ///
    /// # Errors
    /// Initial values that do not fit the layout.
    fn start(&self, rng: &mut Stream) -> Result<Vec<Vec<f64>>> {
        Ok(self.layout().iter().map(|layout| layout.draw(rng)).collect())
    }

    /// The values that blocks read, computed whenever the tensors change; by default the tensors.
    ///
    /// # Errors
    /// Values for which the map is not defined; a model file may hold anything.
    fn prepare(&self, tensors: Vec<Vec<E>>) -> Result<Vec<Vec<E>>> {
        Ok(tensors)
    }

    /// Backward pass of [`prepare`](Self::prepare): from the gradient of its result, summed over
    /// all rows, to that of the tensors (ignored for those that are not learned); `None` if it
    /// returns the tensors.
    ///
    /// # Errors
    /// Numerical failures.
    fn pull_prepared(
        &self,
        _tensors: &Tensors<E>,
        _prepared: &[Vec<E>],
        _gradient: &[Vec<E>],
    ) -> Result<Option<Vec<Vec<E>>>> {
        Ok(None)
    }

    /// Initial values of the tensors from a first batch in data space (act-norm); `None` if nothing
    /// depends on data.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if the batch is not finite.
    fn initialise(&self, _tensors: &Tensors<E>, _x: &Batch<E>) -> Result<Option<Vec<Vec<E>>>> {
        Ok(None)
    }

    /// Updates tensors that follow the learned ones (the vectors of power iteration), at the start
    /// of each training step and when the layer is set for reporting.
    ///
    /// # Errors
    /// Numerical failures.
    fn refresh(&self, _tensors: &Tensors<E>, _purpose: Purpose) -> Result<Option<Vec<Vec<E>>>> {
        Ok(None)
    }

    /// Random numbers of a stochastic log-det, the same number for each row, row by row; none if it
    /// is exact.
    fn noise(&self, _mode: EvalMode, _rows: usize) -> Vec<E> {
        Vec::new()
    }

    /// Base to data.
    ///
    /// # Errors
    /// Numerical failures; rows are counted within the block.
    fn forward(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work>;

    /// Data to base.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); [`Error::NotInvertible`] if there is no inverse.
    fn inverse(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work>;

    /// The backward pass of [`forward`](Self::forward).
    ///
    /// # Errors
    /// Numerical failures.
    fn forward_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()>;

    /// The backward pass of [`inverse`](Self::inverse); by default from that of the forward map by
    /// the implicit function theorem, see [`implicit_gradient`].
    ///
    /// # Errors
    /// Numerical failures.
    fn inverse_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        implicit_gradient(self, at, scratch)
    }

    /// Replaces `gradient` by J^-T `gradient`, J the Jacobian of the forward map at `at.input`, for
    /// [`implicit_gradient`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] by default.
    fn solve_transposed(
        &self,
        _at: Solve<'_, E>,
        _scratch: &mut Scratch,
        _gradient: &mut [E],
    ) -> Result<()> {
        let advice = "implement inverse_gradient or solve_transposed for the map";
        Err(Error::Unavailable { what: "the gradient of this inverse", advice })
    }
}

/// Purpose and random seed of a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvalMode {
    /// What the computation is for.
    pub purpose: Purpose,
    /// Seed of the estimates' random numbers, fixed until a training step begins.
    pub seed: u64,
}

/// A block of rows, feature by feature: inputs and outputs of a map.
#[derive(Debug)]
pub struct Block<'a, E> {
    /// `(d, LANES)`
    pub input: &'a [E],
    /// `(context dim, LANES)`
    pub context: &'a [E],
    /// Random numbers of [`Map::noise`], `(count, LANES)`.
    pub noise: &'a [E],
    /// The prepared values, see [`Map::prepare`].
    pub parameters: &'a [&'a [E]],
    /// Purpose and seed.
    pub mode: EvalMode,
    /// `(d, LANES)`, written.
    pub value: &'a mut [E],
    /// `(LANES)`, added to.
    pub log_det: &'a mut [E],
}

/// The backward pass through a block.
#[derive(Debug)]
pub struct Pull<'a, 'b, E> {
    /// The input of the pass.
    pub input: &'a [E],
    /// Its result.
    pub value: &'a [E],
    /// `(context dim, LANES)`
    pub context: &'a [E],
    /// Random numbers of [`Map::noise`].
    pub noise: &'a [E],
    /// The prepared values, see [`Map::prepare`].
    pub parameters: &'a [&'a [E]],
    /// Purpose and seed.
    pub mode: EvalMode,
    /// Gradient of the value.
    pub d_value: &'a [E],
    /// Gradient of the log-det.
    pub d_log_det: &'a [E],
    /// Gradient of the input, written over.
    pub d_input: &'a mut [E],
    /// Gradient of the context, added to.
    pub d_context: &'a mut [E],
    /// Gradients of the parameters, added to.
    pub gradients: &'a mut [&'b mut [E]],
}

/// Where a transposed Jacobian is inverted.
#[derive(Clone, Copy, Debug)]
pub struct Solve<'a, E> {
    /// The point in base space.
    pub input: &'a [E],
    /// Its image.
    pub value: &'a [E],
    /// `(context dim, LANES)`
    pub context: &'a [E],
    /// The prepared values, see [`Map::prepare`].
    pub parameters: &'a [&'a [E]],
    /// Purpose and seed.
    pub mode: EvalMode,
}

/// The gradient of an inverse x = T^-1(y) by the implicit function theorem.
///
/// With g and l the gradients of x and of log |det dx/dy| = -log |det J|, J the Jacobian of T at x,
/// ```text
/// lambda = J^-T (g - l d log |det J| / dx)         the gradient of y
/// parameters receive the gradient of (T(x), log |det J|) for (-lambda, -l)
/// ```
/// The gradient is linear, so this is one for (0, -l), which the first line needs, and one for
/// (-lambda, 0). What `inverse` left in `scratch` must serve both at x.
///
/// # Errors
/// As [`Map::forward_gradient`] and [`Map::solve_transposed`].
pub fn implicit_gradient<E: Real>(
    map: &(impl Map<E> + ?Sized),
    at: Pull<'_, '_, E>,
    scratch: &mut Scratch,
) -> Result<()> {
    let Pull { input: y, value: x, context, noise, parameters, mode, .. } = at;
    let Pull { d_value, d_log_det, d_input: lambda, d_context, gradients, .. } = at;
    let mut pull = |d_value: &[E], d_log_det: &[E], d_input: &mut [E], scratch: &mut Scratch| {
        let at = Pull {
            input: x,
            value: y,
            context,
            noise,
            parameters,
            mode,
            d_value,
            d_log_det,
            d_input,
            d_context: &mut *d_context,
            gradients: &mut *gradients,
        };
        map.forward_gradient(at, scratch)
    };
    let mut minus_l: Vec<E> = d_log_det.iter().map(|&l| -l).collect();
    let mut other = vec![E::zero(); x.len()];
    pull(&other, &minus_l, lambda, scratch)?;
    add(lambda, d_value);
    let at = Solve { input: x, value: y, context, parameters, mode };
    map.solve_transposed(at, scratch, lambda)?;
    minus_l.fill(E::zero());
    lambda.iter_mut().for_each(|lambda| *lambda = -*lambda);
    pull(lambda, &minus_l, &mut other, scratch)?;
    lambda.iter_mut().for_each(|lambda| *lambda = -*lambda);
    Ok(())
}

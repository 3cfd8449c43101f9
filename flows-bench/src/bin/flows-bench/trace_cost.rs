//! What the trace of a Jacobian costs beside its determinant, over the number of features.

use std::num::NonZeroUsize;
use std::time::Instant;

use flows_continuous::{
    Accuracy, Continuous, Divergence, EqualSteps, Hutchinson, MlpField, ResidualSteps, Solver,
    TimeInput,
};
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::{Bijector, Context, LastLayer, Network, Result, Tape, normals, stream};
use serde::Serialize;

/// Rows of a batch.
pub(crate) const ROWS: usize = 1024;

/// Numbers of features that are timed.
pub(crate) const DIMS: [usize; 8] = [2, 4, 8, 16, 32, 64, 128, 256];

/// Milliseconds of one evaluation on [`ROWS`] rows, field of 2 x 256 tanh, single precision.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct TraceCost {
    /// Number of features.
    pub(crate) dim: usize,
    /// The velocity alone.
    pub(crate) velocity_ms: f64,
    /// With Hutchinson's estimate, one probe.
    pub(crate) hutchinson_ms: f64,
    /// With the exact trace.
    pub(crate) exact_ms: f64,
    /// One residual step with the determinant of I + h J.
    pub(crate) determinant_ms: f64,
    /// Exact trace over Hutchinson's estimate.
    pub(crate) exact_over_hutchinson: f64,
    /// Determinant over exact trace.
    pub(crate) determinant_over_exact: f64,
}

/// Times one number of features: each the least of the means of `repetitions` runs.
///
/// # Errors
/// Errors of building or evaluating the fields.
pub(crate) fn trace_cost(dim: usize, repetitions: usize) -> Result<TraceCost> {
    let rng = &mut stream(1, "trace cost");
    let kernel = MlpField::new(dim, 0, &[256, 256], Activation::Tanh, TimeInput::Concat)?;
    let field = Network::<f32, _>::new(kernel, LastLayer::Random, rng)?;
    let x = batch(normals(ROWS * dim, rng), ROWS, dim)?;
    let one = NonZeroUsize::MIN;
    let flow = |divergence| {
        let accuracy = Accuracy { solver: Solver::Euler(EqualSteps { steps: one }), divergence };
        Continuous::new(field.clone(), [0.0, 1e-3], accuracy, accuracy)
    };
    let none = Context::none();
    let (exact, estimated) =
        (flow(Divergence::Exact)?, flow(Divergence::Hutchinson(Hutchinson::default()))?);
    let layer = ResidualSteps::new(field.clone(), [0.0, 1e-3], one)?;
    let velocity_ms = least(repetitions, || exact.image(&x, &none).map(drop))?;
    let forward = |bijector: &dyn Bijector<f32>| {
        least(repetitions, || bijector.forward(&x, &none, &mut Tape::none()).map(drop))
    };
    let hutchinson_ms = forward(&estimated)?;
    let exact_ms = forward(&exact)?;
    let determinant_ms = forward(&layer)?;
    Ok(TraceCost {
        dim,
        velocity_ms,
        hutchinson_ms,
        exact_ms,
        determinant_ms,
        exact_over_hutchinson: exact_ms / hutchinson_ms,
        determinant_over_exact: determinant_ms / exact_ms,
    })
}

/// Milliseconds of the quickest of several runs.
fn least(repetitions: usize, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..repetitions.max(1) {
        let clock = Instant::now();
        run()?;
        least = least.min(clock.elapsed().as_secs_f64() * 1e3);
    }
    Ok(least)
}

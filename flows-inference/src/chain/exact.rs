//! Flows whose densities a Markov chain may rely on.

use flows_core::{Error, Exactness, Flow, Real, Result};

/// Checks that the density of a flow is a function of the point: a chain that meets another value at the
/// same point has another stationary distribution.
///
/// # Errors
/// [`Error::Unavailable`] where log-determinants are estimates, or where the image of a point depends on
/// the other points of its batch.
pub(crate) fn check_exact<E: Real>(flow: &Flow<E>) -> Result<()> {
    let what = if flow.bijector().exactness() == Exactness::Estimated {
        "a Markov chain with estimated log-determinants of a flow"
    } else if flow.bijector().depends_on_batch() {
        "a Markov chain with a flow whose densities depend on the batch"
    } else {
        return Ok(());
    };
    let advice = "set the bijector for Purpose::Reporting, with exact log-determinants";
    Err(Error::Unavailable { what, advice })
}

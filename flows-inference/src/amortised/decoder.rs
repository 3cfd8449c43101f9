//! The decoder: a network from latent variables to the likelihood of data.

use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::batch;
use flows_core::{
    Batch, Error, Mlp, NetworkKernel, Parameters, PerRow, Real, Result, Stream, Tape, Values,
};

use super::Likelihood;

/// A decoder p(x | z): a perceptron whose outputs are the parameters of a [`Likelihood`].
#[derive(Clone, Debug)]
pub struct Decoder<E: Real> {
    network: Mlp<E>,
    likelihood: Likelihood,
    dim: usize,
}

impl<E: Real> Decoder<E> {
    /// A decoder of data with `dim` features.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless the network has [`Likelihood::outputs`] outputs; [`Error::Parameter`]
    /// for a likelihood out of its range.
    pub fn new(network: Mlp<E>, likelihood: Likelihood, dim: usize) -> Result<Self> {
        likelihood.check()?;
        let (expected, got) = (likelihood.outputs(dim), outputs(&network));
        if expected != got {
            return Err(Error::Dimension { op: "outputs of a decoder", expected, got });
        }
        Ok(Self { network, likelihood, dim })
    }

    /// Number of latent variables.
    pub fn latent(&self) -> usize {
        NetworkKernel::<E>::inputs(self.network.kernel())
    }

    /// Number of features of the data.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The likelihood.
    pub fn likelihood(&self) -> Likelihood {
        self.likelihood
    }

    /// log p(x | z) of each row in nats, for `z`, `(rows, latent)`, and `x`, `(rows, dim)`.
    ///
    /// # Errors
    /// As [`Likelihood::log_prob`].
    pub fn log_prob(&self, x: &Batch<E>, z: &Batch<E>, tape: &mut Tape<E>) -> Result<PerRow<E>> {
        let outputs = self.network.forward(z, tape)?;
        self.likelihood.log_prob(&outputs, x, tape)
    }

    /// Draws data, `(rows, dim)`, given latent variables `z`, `(rows, latent)`.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless the columns fit.
    pub fn sample(&self, z: &Batch<E>, rng: &mut Stream) -> Result<Batch<E>> {
        let outputs = self.network.forward(z, &mut Tape::none())?;
        batch(self.likelihood.sample(&outputs, self.dim, rng), z.rows(), self.dim)
    }
}

/// Outputs of a perceptron.
pub(super) fn outputs<E: Real>(network: &Mlp<E>) -> usize {
    NetworkKernel::<E>::outputs(network.kernel())
}

impl<E: Real> Parameters<E> for Decoder<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.network.visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.network.visit_mut(f)
    }
}

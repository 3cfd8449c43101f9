//! Config of a variational autoencoder.

use flows_core::activation::Activation;
use flows_core::{
    Architecture, Base, Bijector, Chain, Flow, LastLayer, Mlp, MlpKernel, Real, Result, Stream,
    architecture,
};
use serde::{Deserialize, Serialize};

use super::{Autoencoder, Decoder, Encoder, Likelihood};

/// Sizes of a variational autoencoder.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `latent` | 16 | latent variables | >= 1 |
/// | `context` | 32 | features h that the encoder gives the posterior flow; 0 for a flow that takes none | |
/// | `encoder` | 2 x 256 | widths of the hidden layers of the encoder | >= 1 |
/// | `decoder` | 2 x 256 | widths of the hidden layers of the decoder | >= 1 |
/// | `activation` | swish | of both networks | |
/// | `likelihood` | Bernoulli | see [`Likelihood`] | |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoencoderConfig {
    /// Latent variables.
    pub latent: usize,
    /// Features that the encoder gives the posterior flow.
    pub context: usize,
    /// Hidden layers of the encoder.
    pub encoder: Vec<usize>,
    /// Hidden layers of the decoder.
    pub decoder: Vec<usize>,
    /// Activation of both networks.
    pub activation: Activation,
    /// The likelihood of the data.
    pub likelihood: Likelihood,
}

impl Default for AutoencoderConfig {
    fn default() -> Self {
        Self {
            latent: 16,
            context: 32,
            encoder: vec![256, 256],
            decoder: vec![256, 256],
            activation: Activation::Silu,
            likelihood: Likelihood::Bernoulli,
        }
    }
}

impl AutoencoderConfig {
    /// An autoencoder of data with `dim` features. `posterior` builds the posterior's bijector for a
    /// number of latent variables and of context features ([`bijector_of`], [`mean_field`]), `prior` the
    /// prior for a number of latent variables ([`standard_normal_prior`], or a flow).
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) for a setting out of its range; those of
    /// `posterior` and `prior`.
    pub fn build<E: Real>(
        &self,
        dim: usize,
        posterior: impl FnOnce(usize, usize, &mut Stream) -> Result<Box<dyn Bijector<E>>>,
        prior: impl FnOnce(usize, &mut Stream) -> Result<Flow<E>>,
        rng: &mut Stream,
    ) -> Result<Autoencoder<E>> {
        let posterior = posterior(self.latent, self.context, rng)?;
        // A bijector that reads no context needs none of the encoder.
        let context = posterior.context_dim();
        let prior = prior(self.latent, rng)?;
        let mut network = |inputs, hidden: &[usize], outputs| {
            let kernel = MlpKernel::new(inputs, hidden, outputs, self.activation)?;
            Mlp::new(kernel, LastLayer::Random, rng)
        };
        let encoder = network(dim, &self.encoder, 2 * self.latent + context)?;
        let decoder = network(self.latent, &self.decoder, self.likelihood.outputs(dim))?;
        let encoder = Encoder::new(encoder, self.latent, context)?;
        Autoencoder::new(encoder, posterior, prior, Decoder::new(decoder, self.likelihood, dim)?)
    }
}

/// Builds posterior bijectors of an architecture.
///
/// Draws are in its forward direction, so that this one should be cheap: the sampling formula of
/// autoregressive, planar or Sylvester layers.
pub fn bijector_of<E: Real>(
    architecture: &dyn Architecture,
) -> impl Fn(usize, usize, &mut Stream) -> Result<Box<dyn Bijector<E>>> + '_ {
    |latent, context, rng| {
        Ok(Box::new(architecture::build::<E>(architecture, latent, context, rng)?))
    }
}

/// The identity, which leaves the posterior a diagonal normal.
///
/// # Errors
/// None.
pub fn mean_field<E: Real>(
    latent: usize,
    _context: usize,
    _rng: &mut Stream,
) -> Result<Box<dyn Bijector<E>>> {
    Ok(Box::new(Chain::new(latent, Vec::new())?))
}

/// N(0, I) as the prior.
///
/// # Errors
/// None.
pub fn standard_normal_prior<E: Real>(latent: usize, _rng: &mut Stream) -> Result<Flow<E>> {
    Flow::new(Base::standard_normal(latent), Box::new(Chain::new(latent, Vec::new())?))
}

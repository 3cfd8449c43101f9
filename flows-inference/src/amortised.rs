//! Amortised variational inference: variational autoencoders whose posteriors are flows (review, Section
//! 6.2.3).
//!
//! A decoder gives the likelihood p(x | z) of data x given latent variables z with a prior p(z). An encoder
//! reads x and gives the posterior q(z | x), a diagonal normal that a flow transforms. Both are trained
//! together by the evidence lower bound ([`AutoencoderTrainer`]), or the posterior alone, where the model
//! is given ([`Autoencoder::with_fixed_model`]).

mod autoencoder;
mod config;
mod decoder;
mod elbo;
mod encoder;
mod evaluation;
mod likelihood;
mod resume;
mod trainer;
mod training;

pub use autoencoder::Autoencoder;
pub use config::{AutoencoderConfig, bijector_of, mean_field, standard_normal_prior};
pub use decoder::Decoder;
pub use elbo::LatentDraws;
pub use encoder::Encoder;
pub use evaluation::Evaluation;
pub use likelihood::Likelihood;
pub use trainer::AutoencoderTrainer;
pub use training::AutoencoderTraining;

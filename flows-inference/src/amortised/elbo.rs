//! The evidence lower bound and its gradient.

use flows_core::rowwise::{gradient_of_mean, mean, scaled, sum};
use flows_core::tensor::{batch, columns};
use flows_core::{Batch, Error, Loss, PerRow, Real, Result, Stream, Tape, Values, Work};

use super::Autoencoder;
use super::encoder::repeated;

/// Draws z of the posteriors q(z | x) of several rows x, those of a row one after another. With K draws a
/// row, tensors have `rows K` rows.
#[derive(Debug)]
pub struct LatentDraws<E: Real> {
    /// z, `(rows K, latent)`
    pub latent: Batch<E>,
    /// log p(x | z) in nats.
    pub log_likelihood: PerRow<E>,
    /// log p(z) in nats.
    pub log_prior: PerRow<E>,
    /// log q(z | x) in nats.
    pub log_posterior: PerRow<E>,
    /// Regularisation that the bijectors add to the training loss, nats a row.
    pub penalties: Vec<PerRow<E>>,
    /// Counted work of the bijectors.
    pub work: Work,
}

impl<E: Real> Autoencoder<E> {
    /// Draws `draws` reparameterised points z of q(z | x) for each row of `x`, `(rows, dim)`, with the
    /// terms of the evidence lower bound
    ///
    /// ```text
    /// log p(x) >= E_q [ log p(x | z) ] - KL,   KL = E_q [ log q(z | x) - log p(z) ]
    /// ```
    ///
    /// # Errors
    /// [`Error::Dimension`] unless `x` has [`dim`](Self::dim) columns; [`Error::Parameter`] for 0 draws;
    /// [`Error::Caller`] for values that the likelihood does not have; those of the bijectors.
    pub fn draw(
        &self,
        x: &Batch<E>,
        draws: usize,
        tape: &mut Tape<E>,
        rng: &mut Stream,
    ) -> Result<LatentDraws<E>> {
        if draws == 0 {
            let (name, requirement) = ("draws of the posterior", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        flows_core::tensor::check_columns("data of an autoencoder", x, self.dim())?;
        let mut input = x.values();
        self.decoder.likelihood().network_input(&mut input);
        let outputs = self.encoder.outputs(&batch(input, x.rows(), columns(x))?, tape)?;
        let normal = self.encoder.draw(&outputs, draws, tape, rng)?;
        let mapped = self.posterior.forward(&normal.value, &normal.context, tape)?;
        let minus = scaled(mapped.log_det, -1.0, tape)?;
        let log_posterior = sum(vec![normal.log_prob, minus], tape)?;
        let none = flows_core::Context::none();
        let prior = self.prior.log_prob(&mapped.value, &none, tape)?;
        let x = repeated(x, draws, &mut Tape::none())?;
        let log_likelihood = self.decoder.log_prob(&x, &mapped.value, tape)?;
        let mut work = mapped.work;
        work += prior.work;
        Ok(LatentDraws {
            latent: mapped.value,
            log_likelihood,
            log_prior: prior.value,
            log_posterior,
            penalties: mapped.penalty.into_iter().chain(prior.penalty).collect(),
            work,
        })
    }

    /// The mean over rows and draws of `kl_weight` KL - log p(x | z), with the bijectors' penalties, and
    /// its gradient; at weight 1 the negative evidence lower bound.
    ///
    /// # Errors
    /// As [`draw`](Self::draw).
    pub fn loss(
        &self,
        x: &Batch<E>,
        draws: usize,
        kl_weight: f64,
        rng: &mut Stream,
    ) -> Result<Loss<E>> {
        let tape = &mut Tape::recording();
        let drawn = self.draw(x, draws, tape, rng)?;
        let mut terms = vec![
            scaled(drawn.log_posterior, kl_weight, tape)?,
            scaled(drawn.log_prior, -kl_weight, tape)?,
            scaled(drawn.log_likelihood, -1.0, tape)?,
        ];
        terms.extend(drawn.penalties);
        let losses = sum(terms, tape)?;
        let value = mean(&losses);
        let gradient = gradient_of_mean(1.0, &losses, std::mem::replace(tape, Tape::none()))?;
        Ok(Loss { value, gradient, work: drawn.work })
    }
}

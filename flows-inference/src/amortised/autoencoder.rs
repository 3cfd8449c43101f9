//! The variational autoencoder.

use flows_core::parameters::{Role, Visitor, VisitorMut, visit_part, visit_part_mut};
use flows_core::{
    Batch, Bijector, Context, Error, Flow, Gradients, Parameters, Purpose, Real, Result, Stream,
};

use super::{Decoder, Encoder};

/// A variational autoencoder with a flow posterior and a flow prior:
///
/// ```text
/// p(x, z) = p(z) p(x | z),   q(z | x): z = T(m(x) + e^s(x) u; h(x)),   u from N(0, I)
/// ```
///
/// T is the forward direction of a bijector that reads h(x) as its context; without parts it is the
/// identity, and the posterior a mean-field normal. A bijector that takes no context, such as planar or
/// Sylvester layers, has weights that all rows share: a normal that depends on x goes through one flow,
/// where the originals of both let an encoder give the layers' weights too. The posterior's bijector needs
/// no inverse. It is not initialised from data (act-norm starts at the identity).
///
/// # Reference
/// Kingma, Welling, *Auto-Encoding Variational Bayes*, ICLR 2014; Rezende, Mohamed, *Variational Inference
/// with Normalizing Flows*, ICML 2015 (flow posterior); Chen et al., *Variational Lossy Autoencoder*, ICLR
/// 2017 (flow prior).
#[derive(Debug)]
pub struct Autoencoder<E: Real> {
    pub(super) encoder: Encoder<E>,
    pub(super) posterior: Box<dyn Bijector<E>>,
    pub(super) prior: Flow<E>,
    pub(super) decoder: Decoder<E>,
    /// The role of the tensors of prior and decoder.
    model: Role,
}

impl<E: Real> Autoencoder<E> {
    /// An autoencoder of its four parts.
    ///
    /// # Errors
    /// [`Error::Dimension`] if they differ in the number of latent variables, of features of the data or
    /// of the context.
    pub fn new(
        encoder: Encoder<E>,
        posterior: Box<dyn Bijector<E>>,
        prior: Flow<E>,
        decoder: Decoder<E>,
    ) -> Result<Self> {
        let latent = encoder.latent();
        for (op, expected, got) in [
            ("posterior flow of an autoencoder", latent, posterior.dim()),
            ("context of the posterior flow", encoder.context(), posterior.context_dim()),
            ("prior of an autoencoder", latent, prior.dim()),
            ("context of the prior", 0, prior.bijector().context_dim()),
            ("latent variables of the decoder", latent, decoder.latent()),
            ("data of the decoder", encoder.dim(), decoder.dim()),
        ] {
            if expected != got {
                return Err(Error::Dimension { op, expected, got });
            }
        }
        Ok(Self { encoder, posterior, prior, decoder, model: Role::Learned })
    }

    /// The same with prior and decoder fixed, so that training fits the posterior of a given model.
    #[must_use]
    pub fn with_fixed_model(self) -> Self {
        Self { model: Role::Fixed, ..self }
    }

    /// Number of features of the data.
    pub fn dim(&self) -> usize {
        self.decoder.dim()
    }

    /// Number of latent variables.
    pub fn latent(&self) -> usize {
        self.encoder.latent()
    }

    /// The decoder.
    pub fn decoder(&self) -> &Decoder<E> {
        &self.decoder
    }

    /// The prior.
    pub fn prior(&self) -> &Flow<E> {
        &self.prior
    }

    /// Draws data, `(rows, dim)`: latent variables of the prior, then data of the decoder.
    ///
    /// # Errors
    /// As [`Flow::sample`].
    pub fn sample(&self, rows: usize, rng: &mut Stream) -> Result<Batch<E>> {
        let (z, _) = self.prior.sample(rows, &Context::none(), rng)?;
        self.decoder.sample(&z, rng)
    }

    /// Sets the purpose of posterior and prior, see [`Bijector::set_purpose`].
    ///
    /// # Errors
    /// As [`Bijector::set_purpose`].
    pub fn set_purpose(&mut self, purpose: Purpose) -> Result<()> {
        self.posterior.set_purpose(purpose)?;
        self.prior.bijector_mut().set_purpose(purpose)
    }

    /// Begins a training step of posterior and prior, see [`Bijector::begin_step`].
    ///
    /// # Errors
    /// As [`Bijector::begin_step`].
    pub fn begin_step(&mut self, rng: &mut Stream) -> Result<()> {
        self.posterior.begin_step(rng)?;
        self.prior.bijector_mut().begin_step(rng)
    }

    /// Ends a training step of posterior and prior, see [`Bijector::end_step`].
    ///
    /// # Errors
    /// As [`Bijector::end_step`].
    pub fn end_step(&mut self, gradients: &mut Gradients<E>) -> Result<()> {
        self.posterior.end_step(gradients)?;
        self.prior.bijector_mut().end_step(gradients)
    }
}

/// The role of a tensor of a part whose role is `part`.
fn in_part(part: Role, role: Role) -> Role {
    if part == Role::Fixed { Role::Fixed } else { role }
}

impl<E: Real> Parameters<E> for Autoencoder<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        let model = self.model;
        visit_part(&self.encoder, "encoder", f);
        visit_part(&*self.posterior, "posterior", f);
        let f = &mut |name: &str, role, tensor: &Batch<E>| f(name, in_part(model, role), tensor);
        visit_part(&self.prior, "prior", f);
        visit_part(&self.decoder, "decoder", f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        let model = self.model;
        visit_part_mut(&mut self.encoder, "encoder", f)?;
        visit_part_mut(&mut *self.posterior, "posterior", f)?;
        let f =
            &mut |name: &str, role, tensor: &mut Batch<E>| f(name, in_part(model, role), tensor);
        visit_part_mut(&mut self.prior, "prior", f)?;
        visit_part_mut(&mut self.decoder, "decoder", f)
    }
}

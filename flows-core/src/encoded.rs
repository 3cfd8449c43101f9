//! Context encoders: a network between a context and the bijector that it conditions.

use crate::bijector::{Bijector, FieldFlow, Mapped};
use crate::mlp::MlpKernel;
use crate::network::Network;
use crate::parameters::{Parameters, Visitor, VisitorMut, visit_part, visit_part_mut};
use crate::tape::Tape;
use crate::tensor::Batch;
use crate::{Context, Error, Real, Result, Space, Work};

/// A bijector conditioned on the output of an encoder of the context, e = network(c), which is trained
/// with it.
///
/// Wide contexts are read once by the encoder instead of by the network of each layer.
#[derive(Debug)]
pub struct Encoded<E: Real> {
    encoder: Network<E, MlpKernel>,
    inner: Box<dyn Bijector<E>>,
}

impl<E: Real> Encoded<E> {
    /// `inner` with its context from `encoder`.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless the encoder has as many outputs as `inner` has conditioning
    /// features.
    pub fn new(encoder: Network<E, MlpKernel>, inner: Box<dyn Bijector<E>>) -> Result<Self> {
        let (_, outputs) = sizes(&encoder);
        let expected = inner.context_dim();
        if expected != outputs {
            return Err(Error::Dimension { op: "context encoder", expected, got: outputs });
        }
        Ok(Self { encoder, inner })
    }

    fn encode(&self, context: &Context<E>, tape: &mut Tape<E>) -> Result<Context<E>> {
        let (expected, _) = sizes(&self.encoder);
        match context.features() {
            None => Err(Error::Dimension { op: "context encoder", expected, got: 0 }),
            Some(features) => Ok(Context::of(self.encoder.forward(features, tape)?)),
        }
    }
}

/// Inputs and outputs.
fn sizes<E: Real>(encoder: &Network<E, MlpKernel>) -> (usize, usize) {
    let widths = encoder.kernel().widths();
    let end = |width: Option<&usize>| width.copied().unwrap_or(0);
    (end(widths.first()), end(widths.last()))
}

impl<E: Real> Parameters<E> for Encoded<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        visit_part(&self.encoder, "encoder", f);
        visit_part(&*self.inner, "flow", f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        visit_part_mut(&mut self.encoder, "encoder", f)?;
        visit_part_mut(&mut *self.inner, "flow", f)
    }
}

impl<E: Real> Bijector<E> for Encoded<E> {
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    fn context_dim(&self) -> usize {
        sizes(&self.encoder).0
    }

    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        self.inner.image_space(from)
    }

    fn forward(&self, z: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        let context = self.encode(context, tape)?;
        self.inner.forward(z, &context, tape)
    }

    fn inverse(&self, x: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        let context = self.encode(context, tape)?;
        self.inner.inverse(x, &context, tape)
    }

    fn parts(&self) -> Vec<&dyn Bijector<E>> {
        vec![&*self.inner]
    }

    fn parts_mut(&mut self) -> Vec<&mut dyn Bijector<E>> {
        vec![&mut *self.inner]
    }

    fn image(&self, z: &Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        self.inner.image(z, &self.encode(context, &mut Tape::none())?)
    }

    fn stages(&self, z: &Batch<E>, context: &Context<E>) -> Result<Vec<Batch<E>>> {
        self.inner.stages(z, &self.encode(context, &mut Tape::none())?)
    }

    fn initialise(&mut self, x: &Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        let context = self.encode(context, &mut Tape::none())?;
        self.inner.initialise(x, &context)
    }

    fn as_field(&self) -> Option<&dyn FieldFlow<E>> {
        self.inner.as_field().is_some().then_some(self)
    }
}

impl<E: Real> FieldFlow<E> for Encoded<E> {
    fn velocity(
        &self,
        points: &Batch<E>,
        fractions: &[E],
        context: &Context<E>,
        tape: &mut Tape<E>,
    ) -> Result<Batch<E>> {
        let context = self.encode(context, tape)?;
        self.field()?.velocity(points, fractions, &context, tape)
    }

    fn to_field(&self, x: &Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        self.field()?.to_field(x, &self.encode(context, &mut Tape::none())?)
    }
}

impl<E: Real> Encoded<E> {
    fn field(&self) -> Result<&dyn FieldFlow<E>> {
        let (what, advice) = ("the velocity of a map without a field", "choose a continuous flow");
        self.inner.as_field().ok_or(Error::Unavailable { what, advice })
    }
}

//! What the coupling architectures have in common.

use flows_core::activation::Activation;
use flows_core::{BoxBijector, Chain, Error, MlpKernel, Real, Result, Stream};

use crate::{ActNorm, Coupling, LuLinear, Mask, Transformer};

/// Couplings with alternating halves, with what may stand between and behind them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Couplings<'a> {
    pub(super) layers: usize,
    pub(super) hidden: &'a [usize],
    pub(super) activation: Activation,
    pub(super) linear: bool,
    pub(super) act_norm: bool,
}

impl Couplings<'_> {
    pub(super) fn build<E: Real>(
        self,
        transformer: &impl Transformer<E>,
        (dim, context_dim): (usize, usize),
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        if self.layers == 0 {
            let (name, requirement) = ("layers", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        let mut parts = Vec::new();
        for layer in 0..self.layers {
            if self.linear {
                parts.push(BoxBijector::new(LuLinear::new(dim)?));
            }
            let mask = Mask::halves(dim, layer % 2 == 1)?;
            let kernel =
                |inputs, outputs| MlpKernel::new(inputs, self.hidden, outputs, self.activation);
            let coupling = Coupling::new(&mask, context_dim, transformer.clone(), kernel, rng)?;
            parts.push(BoxBijector::new(coupling));
        }
        if self.act_norm {
            parts.push(BoxBijector::new(ActNorm::new(dim)?));
        }
        Chain::new(dim, parts)
    }
}

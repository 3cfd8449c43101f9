//! What the coupling architectures have in common.

use flows_core::{BoxBijector, Chain, Error, Real, Result, Stream};

use super::conditioner::Conditioner;
use crate::{ActNorm, LuLinear, Mask, Transformer};

/// Couplings with alternating halves, with what may stand between and behind them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Couplings<'a> {
    pub(super) layers: usize,
    pub(super) conditioner: &'a Conditioner,
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
            parts.push(self.conditioner.coupling(&mask, context_dim, transformer.clone(), rng)?);
        }
        if self.act_norm {
            parts.push(BoxBijector::new(ActNorm::new(dim)?));
        }
        Chain::new(dim, parts)
    }
}

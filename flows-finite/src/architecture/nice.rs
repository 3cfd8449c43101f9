//! NICE: additive couplings, which keep volumes.

use super::conditioner::Conditioner;
use super::couplings::{CouplingFlow, MaskConfig};
use super::mixing::Mixing;
use crate::transformer::{AdditiveConfig, TransformerConfig};

impl CouplingFlow {
    /// Four additive couplings on alternating features, their conditioners of 5 hidden layers; the
    /// act-norm on the data side is the original's scaling of each feature.
    ///
    /// The networks start at random, not at zero. With all shifts zero the gradient of the likelihood by
    /// a shift t(z_a) of feature b is E[z_b h(z_a)] for its units h: nothing where features are
    /// uncorrelated whatever the power, as on rings or between modes that lie symmetrically. No coupling
    /// would move before another one has, and training would end at a normal.
    ///
    /// # Reference
    /// Dinh, Krueger, Bengio, *NICE*, 2014, section 5.1 (hidden layers of 1,000 there).
    /// <https://arxiv.org/abs/1410.8516>
    #[must_use]
    pub fn nice() -> Self {
        Self {
            layers: 4,
            transformer: AdditiveConfig {}.shared(),
            conditioner: Conditioner::perceptron(vec![128; 5]),
            mask: MaskConfig::Alternating,
            mixing: Mixing::None,
            identity_start: false,
            ..Self::default()
        }
    }
}

//! Real NVP: affine couplings with alternating halves.

use super::couplings::CouplingFlow;
use crate::transformer::{AffineConfig, TransformerConfig};

impl CouplingFlow {
    /// Real NVP: ten affine couplings with alternating halves, their log-scales bounded by 1, an LU
    /// linear layer before each.
    ///
    /// # Reference
    /// Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, ICLR 2017.
    /// <https://arxiv.org/abs/1605.08803>
    #[must_use]
    pub fn real_nvp() -> Self {
        let transformer = AffineConfig::default().in_deep_stack().shared();
        Self { layers: 10, transformer, ..Self::default() }
    }
}

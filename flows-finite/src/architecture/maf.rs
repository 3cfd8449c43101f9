//! Masked and inverse autoregressive flows: affine maps in masked layers.

use super::Direction;
use super::autoregressive::AutoregressiveFlow;
use crate::Scale;
use crate::transformer::{AffineConfig, TransformerConfig};

impl AutoregressiveFlow {
    /// MAF: ten masked affine layers with log-scales bounded by 1, the order reversed each layer; one
    /// pass for a density (the original has 5 or 10 layers with batch norm between, 1 or 2 times 100 to 1,024 units and
    /// unbounded log-scales).
    ///
    /// # Reference
    /// Papamakarios, Pavlakou, Murray, *Masked Autoregressive Flow for Density Estimation*, NeurIPS
    /// 2017. <https://arxiv.org/abs/1705.07057>
    #[must_use]
    pub fn maf() -> Self {
        let transformer = AffineConfig::inverted().in_deep_stack().shared();
        Self { layers: 10, transformer, ..Self::default() }
    }

    /// IAF: the same the other way round, one pass for a draw, with the scale as a sigmoid gate that
    /// starts near 1 (the original's numerically stable form).
    ///
    /// # Reference
    /// Kingma et al., *Improved Variational Inference with Inverse Autoregressive Flow*, NeurIPS
    /// 2016, eq. 13. <https://arxiv.org/abs/1606.04934>
    #[must_use]
    pub fn iaf() -> Self {
        let gate = AffineConfig { scale: Scale::Sigmoid, inverted: false };
        let transformer = gate.shared();
        Self { layers: 8, transformer, formula: Direction::Sampling, ..Self::default() }
    }
}

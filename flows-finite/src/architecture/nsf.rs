//! Neural spline flows: rational-quadratic splines in coupling or masked layers.

use super::autoregressive::AutoregressiveFlow;
use super::couplings::CouplingFlow;
use super::mixing::Mixing;
use crate::transformer::{RationalQuadraticConfig, SplineConfig, TransformerConfig};

impl CouplingFlow {
    /// RQ-NSF (C): six spline couplings with alternating halves, 16 bins on [-4, 4], an LU linear
    /// layer before each.
    ///
    /// # Reference
    /// Durkan, Bekasov, Murray, Papamakarios, *Neural Spline Flows*, NeurIPS 2019.
    /// <https://arxiv.org/abs/1906.04032>
    #[must_use]
    pub fn nsf() -> Self {
        let transformer = RationalQuadraticConfig(SplineConfig::default()).shared();
        Self { layers: 6, transformer, ..Self::default() }
    }
}

impl AutoregressiveFlow {
    /// RQ-NSF (AR): four masked layers, 16 bins on [-4, 4], an LU linear layer after each (the
    /// original for tables has 10 layers, 8 bins on [-3, 3] and residual conditioners).
    ///
    /// # Reference
    /// Durkan, Bekasov, Murray, Papamakarios, *Neural Spline Flows*, NeurIPS 2019.
    /// <https://arxiv.org/abs/1906.04032>
    #[must_use]
    pub fn nsf() -> Self {
        let transformer = RationalQuadraticConfig(SplineConfig::default()).shared();
        Self { layers: 4, transformer, mixing: Mixing::Lu, ..Self::default() }
    }
}

//! Neural autoregressive flows and their kin: flexible monotone maps in masked layers.

use super::autoregressive::AutoregressiveFlow;
use super::conditioner::Conditioner;
use crate::transformer::{
    DeepSigmoidalConfig, IntegratedConfig, SumOfSquaresConfig, TransformerConfig,
};

impl AutoregressiveFlow {
    /// NAF: deep sigmoidal maps of 16 units, as in the original (which has 5 layers, each with a
    /// masked network of one hidden layer of 100 units).
    ///
    /// # Reference
    /// Huang, Krueger, Lacoste, Courville, *Neural Autoregressive Flows*, ICML 2018.
    /// <https://arxiv.org/abs/1804.00779>
    #[must_use]
    pub fn naf() -> Self {
        let transformer = DeepSigmoidalConfig::default().shared();
        Self { layers: 5, transformer, ..Self::default() }
    }

    /// UMNN-MAF: integrals of positive networks, whose weights the masked network computes (the
    /// original has one integrand of 4 x 50 units shared by all features and fed with an embedding).
    ///
    /// # Reference
    /// Wehenkel, Louppe, *Unconstrained Monotonic Neural Networks*, NeurIPS 2019.
    /// <https://arxiv.org/abs/1908.05164>
    #[must_use]
    pub fn umnn() -> Self {
        let transformer = IntegratedConfig::default().shared();
        Self { layers: 5, transformer, ..Self::default() }
    }

    /// SOS: integrals of sums of squared polynomials (the original: 8 layers, 5 polynomials of degree
    /// 4; layers multiply their degrees, 5 each here, and single precision holds 7^25 but not
    /// 7^125).
    ///
    /// # Reference
    /// Jaini, Selby, Yu, *Sum-of-Squares Polynomial Flow*, ICML 2019.
    /// <https://arxiv.org/abs/1905.02325>
    #[must_use]
    pub fn sum_of_squares() -> Self {
        let transformer = SumOfSquaresConfig::default().shared();
        let conditioner = Conditioner::default();
        Self { layers: 2, transformer, conditioner, ..Self::default() }
    }
}

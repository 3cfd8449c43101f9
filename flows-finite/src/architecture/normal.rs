//! Normal distributions as flows: one affine layer.

use std::sync::Arc;

use flows_core::{Architecture, Bijector, Chain, Error, Layer, Real, Result, Stream};
use serde::{Deserialize, Serialize};

use crate::Elementwise;
use crate::linear::{Triangle, Triangular};
use crate::transformer::{Affine, Scale};

/// The covariance of a [`NormalFlow`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Covariance {
    /// Independent features: the mean-field approximation.
    #[default]
    Diagonal,
    /// Any covariance: the full-rank approximation.
    Full,
}

/// A normal distribution: x = L z + m, with L diagonal or lower triangular, on a normal base.
///
/// The baseline of variational inference (review, Section 6.2.3): what a flow adds is what it gains over
/// these. It has no parameters that depend on a context, and refuses one.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `covariance` | diagonal | see [`Covariance`] | |
///
/// # Reference
/// Kucukelbir, Tran, Ranganath, Gelman, Blei, *Automatic differentiation variational inference*, JMLR
/// 18(14), 2017, Section 2.4. <https://arxiv.org/abs/1603.00788>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NormalFlow {
    /// The covariance.
    pub covariance: Covariance,
}

#[typetag::serde(name = "normal")]
impl Architecture for NormalFlow {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        let dim = dim as f64;
        Ok(match self.covariance {
            Covariance::Diagonal => 2.0 * dim,
            Covariance::Full => dim * (dim + 2.0),
        })
    }

    /// There is nothing to widen.
    fn scaled(&self, _: f64) -> Arc<dyn Architecture> {
        Arc::new(*self)
    }
}

impl NormalFlow {
    /// Independent features.
    #[must_use]
    pub fn mean_field() -> Self {
        Self { covariance: Covariance::Diagonal }
    }

    /// Any covariance.
    #[must_use]
    pub fn full_rank() -> Self {
        Self { covariance: Covariance::Full }
    }

    fn compose<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        if context_dim > 0 {
            let what = "a context for a normal distribution";
            let advice = "its parameters are not made by a network; choose an autoregressive flow of one \
                          layer, or leave the context out";
            return Err(Error::Unavailable { what, advice });
        }
        let layer: Box<dyn Bijector<E>> = match self.covariance {
            Covariance::Diagonal => {
                let affine = Arc::new(Affine::new(Scale::Exp)?);
                Box::new(Layer::new(Elementwise::new(dim, affine), rng)?)
            }
            Covariance::Full => Box::new(Layer::new(Triangular::new(dim, Triangle::Lower)?, rng)?),
        };
        Chain::new(dim, vec![layer])
    }
}

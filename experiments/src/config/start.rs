//! Where a flow on a density starts.

use anyhow::Context as _;
use flows_core::{Bijector, Chain, Layer, Real};
use flows_finite::linear::{Triangle, Triangular};
use flows_inference::Laplace;
use serde::{Deserialize, Serialize};

use crate::density::Density;

/// A normal that a flow on a density starts from: its last layer is triangular with this location and scale.
///
/// It is not trained: a step of the optimiser is as large for an entry of 1e-3 as for one of 1, and would ruin
/// it. The layers before it learn what the normal leaves over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartConfig {
    /// The location of each feature.
    pub location: Vec<f64>,
    /// The lower triangular L of the covariance L L^T, row after row, with a positive diagonal.
    pub factor: Vec<f64>,
}

impl From<Laplace> for StartConfig {
    fn from(Laplace { mode, factor, .. }: Laplace) -> Self {
        Self { location: mode, factor }
    }
}

impl StartConfig {
    /// A Laplace approximation of a density, around the mode that a search from 0 finds.
    ///
    /// # Errors
    /// As [`Laplace::at_mode`].
    pub fn at_mode(density: &Density) -> anyhow::Result<Self> {
        let found = Laplace::at_mode(density.target(), &vec![0.0; density.dim()]);
        Ok(found.with_context(|| format!("--laplace: {density}"))?.into())
    }

    /// `flow`, followed by the layer x = L z + m.
    ///
    /// # Errors
    /// For another number of features, or a diagonal that is not positive.
    pub(super) fn after<E: Real>(
        &self,
        flow: Box<dyn Bijector<E>>,
    ) -> flows_core::Result<Box<dyn Bijector<E>>> {
        let dim = flow.dim();
        let Self { location, factor } = self;
        if location.len() != dim || factor.len() != dim * dim {
            let (op, got) = ("start of a flow", location.len());
            return Err(flows_core::Error::Dimension { op, expected: dim, got });
        }
        let diagonal: Vec<f64> = (0..dim).map(|i| factor[i * dim + i]).collect();
        if let Some(value) = diagonal.iter().copied().find(|l| !(*l > 0.0 && l.is_finite())) {
            let (name, requirement) = ("diagonal of a flow's start", "positive and finite");
            return Err(flows_core::Error::Parameter { name, requirement, value });
        }
        let logarithms: Vec<f64> = diagonal.iter().map(|l| l.ln()).collect();
        let values = vec![factor.clone(), logarithms, location.clone()];
        let layer = Layer::with_values(Triangular::new(dim, Triangle::Lower)?.fixed(), values)?;
        Ok(Box::new(Chain::new(dim, vec![flow, Box::new(layer)])?))
    }
}

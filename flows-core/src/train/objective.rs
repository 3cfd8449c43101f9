//! Choice of the training objective.

use serde::{Deserialize, Serialize};

use crate::matching::{FlowMatching, Pairing, ProbabilityPath};
use crate::{Error, Estimator, Result};

/// The training objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Objective {
    /// Maximum likelihood, with the penalties of the bijector.
    #[default]
    #[serde(deserialize_with = "crate::config::no_settings")]
    MaximumLikelihood,
    /// Flow matching, which solves no ODE, for the flow of a vector field.
    FlowMatching(SimulationFree),
    /// The reverse KL divergence from an unnormalised density; needs no rows.
    ReverseKl(ReverseKl),
    /// The maximum mean discrepancy between draws and rows; needs neither log-det nor inverse.
    MaximumMeanDiscrepancy(MaximumMeanDiscrepancy),
}

/// Settings of flow matching, optionally followed by maximum likelihood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulationFree {
    /// The path between a base draw and a row of data.
    pub path: ProbabilityPath,
    /// The coupling of base draws and rows.
    pub coupling: Pairing,
    /// Last fraction of the budget that trains by maximum likelihood, in [0, 1].
    pub fine_tune: f64,
}

/// Settings of [`reverse_kl`](crate::reverse_kl); a step takes as many draws as a minibatch has
/// rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReverseKl {
    /// The gradient estimator.
    pub estimator: Estimator,
    /// An inverse temperature below 1 at first, so that all modes are found before any is fitted.
    pub annealing: Option<Annealing>,
}

/// An inverse temperature that grows linearly to 1, where it stays.
///
/// # Reference
/// Rezende, Mohamed, *Variational Inference with Normalizing Flows*, ICML 2015, eq. 20.
/// <https://arxiv.org/abs/1505.05770>
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Annealing {
    /// Its start, in (0, 1].
    pub from: f64,
    /// The fraction of the budget at which it is 1, in (0, 1].
    pub until: f64,
}

/// Settings of [`mmd`](crate::objective::mmd): Gaussian kernels whose bandwidths double.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaximumMeanDiscrepancy {
    /// The smallest bandwidth, in units of the data; 0.25 unless given, for standardised data.
    pub bandwidth: f64,
    /// Number of kernels, each twice as wide as the one before; 5 unless given.
    pub kernels: u32,
}

impl Default for MaximumMeanDiscrepancy {
    fn default() -> Self {
        Self { bandwidth: 0.25, kernels: 5 }
    }
}

impl MaximumMeanDiscrepancy {
    /// The bandwidths, from narrow to wide.
    #[must_use]
    pub fn bandwidths(&self) -> Vec<f64> {
        (0..self.kernels).map(|k| self.bandwidth * 2.0_f64.powi(k as i32)).collect()
    }

    fn check(&self) -> Result<()> {
        let Self { bandwidth, kernels } = *self;
        if !(bandwidth > 0.0 && bandwidth.is_finite()) {
            let requirement = "positive and finite";
            return Err(Error::Parameter { name: "bandwidth", requirement, value: bandwidth });
        }
        if !(1..=32).contains(&kernels) {
            let (requirement, value) = ("between 1 and 32", f64::from(kernels));
            return Err(Error::Parameter { name: "kernels", requirement, value });
        }
        Ok(())
    }
}

impl ReverseKl {
    /// The inverse temperature at this fraction of the budget.
    #[must_use]
    pub fn inverse_temperature(&self, fraction: f64) -> f64 {
        self.annealing.map_or(1.0, |Annealing { from, until }| {
            from + (1.0 - from) * (fraction / until).clamp(0.0, 1.0)
        })
    }

    fn check(&self) -> Result<()> {
        let Some(Annealing { from, until }) = self.annealing else { return Ok(()) };
        for (name, value) in [("from of annealing", from), ("until of annealing", until)] {
            if !(value > 0.0 && value <= 1.0) {
                let requirement = "above 0 and at most 1";
                return Err(Error::Parameter { name, requirement, value });
            }
        }
        Ok(())
    }
}

impl Objective {
    /// The flow matching of a step at this fraction of the budget; `None` for maximum likelihood.
    pub(crate) fn matching(&self, fraction: f64) -> Option<FlowMatching> {
        match *self {
            Self::FlowMatching(SimulationFree { path, coupling, fine_tune })
                if fraction < 1.0 - fine_tune =>
            {
                Some(FlowMatching { path, coupling })
            }
            _ => None,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::MaximumLikelihood => Ok(()),
            Self::FlowMatching(settings) => settings.check(),
            Self::ReverseKl(settings) => settings.check(),
            Self::MaximumMeanDiscrepancy(settings) => settings.check(),
        }
    }
}

impl SimulationFree {
    fn check(&self) -> Result<()> {
        let Self { path, coupling, fine_tune } = *self;
        if !(0.0..=1.0).contains(&fine_tune) {
            let (name, requirement) = ("fine_tune", "between 0 and 1");
            return Err(Error::Parameter { name, requirement, value: fine_tune });
        }
        FlowMatching { path, coupling }.check()
    }
}

//! How a flow on a density is trained as a proposal of importance sampling.

use std::fmt;

use flows_inference::BootstrapConfig;
use flows_inference::objective::ImportanceObjective;
use serde::{Deserialize, Serialize};

use crate::cli::ObjectiveName;

/// An objective that sees the importance weights p~/q of a flow (review, Section 6.2.1). Where a config has
/// one, it replaces `train.objective`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ProposalConfig {
    /// Forward KL by self-normalised weights of the flow's own draws.
    ForwardKl {},
    /// The alpha divergence, chi squared for alpha of 2.
    AlphaDivergence {
        /// Its order.
        #[serde(default = "alpha")]
        alpha: f64,
    },
    /// The importance-weighted bound of log Z.
    ImportanceBound {
        /// Draws of a bound.
        #[serde(default = "draws")]
        draws: usize,
    },
    /// The alpha divergence by annealed importance sampling with a replay buffer, against lost modes.
    Bootstrap(BootstrapConfig),
}

/// That of chi squared.
fn alpha() -> f64 {
    2.0
}

fn draws() -> usize {
    8
}

impl ProposalConfig {
    /// The kind of a flag with its default settings; `None` for objectives that see no weights.
    #[must_use]
    pub fn named(objective: ObjectiveName) -> Option<Self> {
        match objective {
            ObjectiveName::MaximumLikelihood | ObjectiveName::ReverseKl => None,
            ObjectiveName::ForwardKl => Some(Self::ForwardKl {}),
            ObjectiveName::AlphaDivergence => Some(Self::AlphaDivergence { alpha: alpha() }),
            ObjectiveName::ImportanceBound => Some(Self::ImportanceBound { draws: draws() }),
            ObjectiveName::Bootstrap => Some(Self::Bootstrap(BootstrapConfig::default())),
        }
    }

    /// Whether it is of the same kind, whatever its settings.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// The objective of a training, which a bootstrap has a loop of its own for.
    #[must_use]
    pub fn objective(&self) -> Option<ImportanceObjective> {
        match *self {
            Self::ForwardKl {} => Some(ImportanceObjective::ForwardKl),
            Self::AlphaDivergence { alpha } => Some(ImportanceObjective::AlphaDivergence { alpha }),
            Self::ImportanceBound { draws } => Some(ImportanceObjective::ImportanceBound { draws }),
            Self::Bootstrap(_) => None,
        }
    }

    /// # Errors
    /// [`flows_core::Error::Parameter`] for a setting out of its range.
    pub fn check(&self) -> flows_core::Result<()> {
        let (name, requirement, value) = match self {
            Self::AlphaDivergence { alpha } if !alpha.is_finite() => {
                ("proposal.alpha", "finite", *alpha)
            }
            Self::ImportanceBound { draws: 0 } => ("proposal.draws", "at least 1", 0.0),
            Self::Bootstrap(config) => return config.check(),
            _ => return Ok(()),
        };
        Err(flows_core::Error::Parameter { name, requirement, value })
    }
}

impl fmt::Display for ProposalConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForwardKl {} => f.write_str("forward KL by importance weights"),
            Self::AlphaDivergence { alpha } => write!(f, "the alpha divergence of order {alpha}"),
            Self::ImportanceBound { draws } => {
                write!(f, "the importance-weighted bound of {draws} draws")
            }
            Self::Bootstrap(_) => f.write_str("annealed importance sampling bootstrap"),
        }
    }
}

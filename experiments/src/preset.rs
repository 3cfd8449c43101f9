//! Flow presets: named configs with the training settings that suit them.

use std::sync::LazyLock;

use anyhow::Result;
use flows_continuous::Ffjord;
use flows_core::train::{AdamConfig, TrainConfig};
use flows_finite::architecture::{NsfCoupling, RealNvp};

use crate::Usage;
use crate::config::FlowConfig;
use crate::record::Family;

/// A flow that can be asked for by name.
#[derive(Clone, Debug)]
pub struct Preset {
    /// Name on the command line.
    pub name: &'static str,
    /// Name for readers.
    pub title: &'static str,
    /// Finite or continuous.
    pub family: Family,
    /// One sentence: architecture and source.
    pub description: &'static str,
    /// The architecture.
    pub flow: FlowConfig,
    /// How it is trained.
    pub train: TrainConfig,
}

/// All presets, in the order of reports.
pub static ALL: LazyLock<Vec<Preset>> = LazyLock::new(|| {
    let train = |learning_rate: f64| TrainConfig {
        optimiser: AdamConfig { learning_rate, ..AdamConfig::default() },
        ema: Some(0.99),
        ..TrainConfig::default()
    };
    vec![
        Preset {
            name: "real-nvp",
            title: "Real NVP",
            family: Family::Finite,
            description: "10 affine couplings with halves alternating and an LU linear layer before \
                          each, conditioners of 2 x 128 ReLU (Dinh et al. 2017)",
            flow: FlowConfig::RealNvp(RealNvp::default()),
            train: train(2e-3),
        },
        Preset {
            name: "nsf-coupling",
            title: "NSF (coupling)",
            family: Family::Finite,
            description: "6 rational-quadratic spline couplings, 16 bins on [-4, 4], with an LU \
                          linear layer before each, conditioners of 2 x 128 ReLU (Durkan et al. 2019)",
            flow: FlowConfig::NsfCoupling(NsfCoupling::default()),
            train: train(2e-3),
        },
        Preset {
            name: "ffjord",
            title: "FFJORD",
            family: Family::Continuous,
            description: "one ODE on [0, 1], field of 3 x 64 tanh on state and time, trained with \
                          one Rademacher probe at tolerance 1e-3, reported with the exact trace at \
                          1e-5 (Grathwohl et al. 2019)",
            flow: FlowConfig::Ffjord(Ffjord::default()),
            train: train(1e-2),
        },
    ]
});

/// What `fit` takes if nothing is asked for.
const DEFAULT: &str = "nsf-coupling";

impl Preset {
    /// The preset called `name`, or the default one.
    ///
    /// # Errors
    /// [`Usage`] with all names, if there is none.
    pub fn named(name: Option<&str>) -> Result<&'static Self> {
        let name = name.unwrap_or(DEFAULT);
        let names = || ALL.iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
        let found = ALL.iter().find(|preset| preset.name == name);
        found.ok_or_else(|| Usage(format!("unknown preset {name:?}; there are {}", names())).into())
    }
}

impl Preset {
    /// The first preset of the architecture that configs call `kind`.
    pub fn of_kind(kind: Option<&str>) -> Option<&'static Self> {
        let kind = kind?;
        ALL.iter().find(|preset| {
            let flow = toml::Table::try_from(&preset.flow).unwrap_or_default();
            flow.get("kind").and_then(toml::Value::as_str) == Some(kind)
        })
    }
}

/// The family of an architecture.
pub fn family(flow: &FlowConfig) -> Family {
    match flow {
        FlowConfig::RealNvp(_) | FlowConfig::NsfCoupling(_) => Family::Finite,
        FlowConfig::Ffjord(_) => Family::Continuous,
    }
}

/// Solver and divergence of both purposes in words, for continuous flows.
pub fn accuracy(flow: &FlowConfig) -> Option<crate::record::Accuracy> {
    let FlowConfig::Ffjord(config) = flow else { return None };
    let words = |accuracy: &flows_continuous::Accuracy| {
        use flows_continuous::{Divergence, Solver};
        let solver = match accuracy.solver {
            Solver::Euler(s) => format!("{} Euler steps", s.steps),
            Solver::Midpoint(s) => format!("{} midpoint steps", s.steps),
            Solver::Rk4(s) => format!("{} RK4 steps", s.steps),
            Solver::Dopri5(s) => format!("Dopri5 rtol {:e} atol {:e}", s.rtol, s.atol),
        };
        match accuracy.divergence {
            Divergence::Exact => format!("{solver}, exact trace"),
            Divergence::Hutchinson(h) => format!("{solver}, {} Hutchinson probe(s)", h.probes),
        }
    };
    Some(crate::record::Accuracy {
        train: words(&config.training),
        report: words(&config.reporting),
    })
}

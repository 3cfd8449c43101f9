//! What `npe` estimates and how: a file, with the arguments over it.

use std::path::Path;

use anyhow::{Result, bail};
use clap::ValueEnum;
use flows_bench::simulators::Simulator as Known;
use flows_core::train::{Budget, TrainConfig};
use flows_core::{Flow, Real, Stream};
use flows_inference::simulation::{
    Estimation, Invalid, Marginal, ProductPrior, ProgramSettings, ProgramSimulator, Sequential,
    Simulator,
};
use serde::{Deserialize, Serialize};

use super::known::KnownSimulator;
use crate::Usage;
use crate::cli::Npe;
use crate::config::{Precision, RunConfig, Set, Setting, message, read_table};
use crate::preset::Preset;
use crate::stated::Stated;

/// Settings of an estimation; all but simulator and prior have defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NpeConfig {
    /// A program, or the name of a simulator that comes along.
    pub simulator: SimulatorName,
    /// Distributions of the parameters of a program, in the order in which it reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prior: Vec<Parameter>,
    /// What the flow learns.
    #[serde(default)]
    pub method: Method,
    /// A preset, or the path of a flow's config.
    #[serde(default = "default_flow")]
    pub flow: String,
    /// Settings over the flow's config: key=value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// Simulations, of each round if there are several.
    #[serde(default = "default_simulations")]
    pub simulations: usize,
    /// Rounds; with more than one, for a single observation, each simulates from the posterior of the one
    /// before (SNPE-C).
    #[serde(default = "one")]
    pub rounds: usize,
    /// What is done with rows of data that are not finite.
    #[serde(default)]
    pub invalid: Invalid,
    /// Training, of each round.
    #[serde(default = "default_budget")]
    pub budget: Budget,
    /// Precision of the flow.
    #[serde(default)]
    pub precision: Precision,
    /// Seed of all random numbers.
    #[serde(default)]
    pub seed: u64,
}

/// What a flow learns of a simulator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The posterior, for any observation (neural posterior estimation)
    #[default]
    Npe,
    /// The likelihood, and the posterior by sequential Monte Carlo with the evidence (neural likelihood
    /// estimation)
    Nle,
}

/// A simulator as a config names it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SimulatorName {
    /// One that comes along.
    Known(String),
    /// A program.
    Program(ProgramSettings),
}

/// A parameter with its prior.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its distribution.
    #[serde(flatten)]
    pub marginal: Marginal,
}

fn default_flow() -> String {
    "nsf-coupling".into()
}

fn default_simulations() -> usize {
    10_000
}

fn one() -> usize {
    1
}

fn default_budget() -> Budget {
    Budget::Steps { steps: 5_000 }
}

impl NpeConfig {
    /// A simulator that comes along, with the defaults.
    #[must_use]
    pub fn of(simulator: Known) -> Self {
        Self {
            simulator: SimulatorName::Known(simulator.name().into()),
            prior: Vec::new(),
            method: Method::default(),
            flow: default_flow(),
            set: Vec::new(),
            simulations: default_simulations(),
            rounds: one(),
            invalid: Invalid::default(),
            budget: default_budget(),
            precision: Precision::default(),
            seed: 0,
        }
    }

    /// The file, if there is one, with the arguments over it.
    ///
    /// # Errors
    /// [`Usage`] for an unreadable file, unknown keys or values, or neither file nor simulator.
    pub fn read(arguments: &Npe) -> Result<Self> {
        let mut config = match (&arguments.config, &arguments.simulator) {
            (Some(path), _) => Self::of_file(path)?,
            (None, Some(name)) => Self::of(known(name)?),
            (None, None) => {
                let advice = "give a file with simulator and prior, or --simulator NAME";
                return Err(Usage(format!("nothing to simulate; {advice}")).into());
            }
        };
        if let Some(flow) = &arguments.flow {
            config.flow.clone_from(flow);
        }
        if !arguments.set.is_empty() {
            let single = |set: &Setting| set.single().map(|set| set.to_string());
            config.set = arguments.set.iter().map(single).collect::<Result<_, _>>()?;
        }
        config.method = arguments.method.unwrap_or(config.method);
        config.simulations = arguments.simulations.unwrap_or(config.simulations);
        config.rounds = arguments.rounds.unwrap_or(config.rounds);
        config.precision = arguments.precision.unwrap_or(config.precision);
        config.seed = arguments.seed.unwrap_or(config.seed);
        config.budget = match (arguments.seconds, arguments.steps) {
            (Some(seconds), _) => Budget::Seconds { seconds },
            (None, Some(steps)) => Budget::Steps { steps },
            (None, None) => config.budget,
        };
        Ok(config)
    }

    fn of_file(path: &Path) -> Result<Self> {
        let table = read_table(path)?;
        let name = path.display();
        Self::deserialize(table)
            .map_err(|error| Usage(format!("{name}: {}", message(&error))).into())
    }

    /// Refuses what only one of the methods has.
    ///
    /// # Errors
    /// [`Usage`] with the setting.
    pub fn check_method(&self, arguments: &Npe) -> Result<()> {
        if self.method == Method::Npe {
            return Ok(());
        }
        if self.rounds > 1 {
            bail!(Usage(format!("--rounds {}: nle has one; take --method npe", self.rounds)));
        }
        if arguments.calibrate.is_some() {
            let advice = "take --method npe, which needs no sampler";
            bail!(Usage(format!("--calibrate draws from hundreds of posteriors; {advice}")));
        }
        if arguments.draws < 16 {
            let got = arguments.draws;
            bail!(Usage(format!("--draws: particles of nle must be at least 16, got {got}")));
        }
        Ok(())
    }

    /// The simulator, a program started.
    ///
    /// # Errors
    /// [`Usage`] for an unknown name, a prior where there is one already or none where one is needed;
    /// a program that does not start.
    pub fn simulator(&self) -> Result<Box<dyn Simulator>> {
        match &self.simulator {
            SimulatorName::Known(name) if self.prior.is_empty() => {
                Ok(Box::new(KnownSimulator::new(known(name)?)?))
            }
            SimulatorName::Known(name) => {
                Err(Usage(format!("prior: the simulator {name} has its own; leave it out")).into())
            }
            SimulatorName::Program(program) => {
                let parameter = |p: &Parameter| (p.name.clone(), p.marginal);
                let prior = ProductPrior::new(self.prior.iter().map(parameter).collect());
                let prior = prior.map_err(|error| Usage(format!("prior: {error}")))?;
                Ok(Box::new(ProgramSimulator::start(prior, program.clone())?))
            }
        }
    }

    /// The flow's config.
    ///
    /// # Errors
    /// [`Usage`] for an unknown preset, key or value.
    pub fn flow(&self) -> Result<RunConfig> {
        let sets: Vec<Set> = self
            .set
            .iter()
            .map(|set| set.parse::<Setting>().map_err(Usage)?.single())
            .collect::<Result<_, _>>()?;
        let (file, preset) = match self.flow.ends_with(".toml") {
            true => (Some(Path::new(&self.flow)), None),
            false => (None, Some(&*self.flow)),
        };
        if let Some(name) = preset {
            Preset::named(Some(name))?;
        }
        let mut config = Stated { file, preset, problem: None, sets: &sets }.read()?.config;
        config.seed = self.seed;
        Ok(config)
    }

    /// How simulation and training are done.
    ///
    /// # Errors
    /// [`Usage`] for a setting out of its range.
    pub fn estimation(&self, flow: &RunConfig) -> Result<Sequential> {
        // Small batches, since a table of simulations is small.
        let mut train = TrainConfig { batch_rows: 256, patience: Some(20), ..flow.train.clone() };
        if self.rounds > 1 {
            // The atomic loss has no averaged weights.
            train.ema = None;
        }
        let estimation = Estimation {
            rows: self.simulations,
            invalid: self.invalid,
            train,
            budget: self.budget,
            ..Estimation::default()
        };
        let settings = Sequential { rounds: self.rounds, estimation, ..Sequential::default() };
        let checked = if self.rounds == 1 { settings.estimation.check() } else { settings.check() };
        checked.map_err(|error| Usage(error.to_string()))?;
        Ok(settings)
    }
}

/// Builds flows of a config.
pub(crate) fn builder<E: Real>(
    flow: &RunConfig,
) -> impl Fn(usize, usize, &mut Stream) -> flows_core::Result<Flow<E>> + '_ {
    |dim, context_dim, _| {
        let built = flow.build(dim, context_dim);
        built.map_err(|error| flows_core::Error::Caller(format!("{error:#}")))
    }
}

fn known(name: &str) -> Result<Known> {
    name.parse::<Known>().map_err(|error| Usage(error.to_string()).into())
}

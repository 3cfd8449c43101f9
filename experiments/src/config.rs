//! The config of a run: what a TOML file may say, merged over a preset.

mod base;
mod column_name;
mod data;
mod flow;
mod proposal;
pub mod setting;
pub(crate) mod spelling;
mod start;
pub mod support;

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use flows_core::train::{Budget, TrainConfig};
use flows_core::{Flow, Real, stream};
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::Usage;
use crate::density::{Density, DensityName};
use crate::preset::Preset;

pub use base::{BaseConfig, MixtureBase, StudentTBase};
pub use column_name::ColumnName;
pub use data::{DataConfig, Dequantise, SplitName, TableFile};
pub use flow::{EncoderConfig, FlowConfig};
pub use proposal::ProposalConfig;
pub use setting::{Set, Setting};
pub use start::StartConfig;
pub use support::Support;

/// Most weights of a flow; training holds some six numbers for each.
const MOST_WEIGHTS: f64 = 1e8;

/// Everything that a run is determined by, beside its data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// What the flow is called in a report of the run; else the name of its preset or file, with the
    /// settings over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Precision of all numbers.
    pub precision: Precision,
    /// When training ends.
    pub budget: Budget,
    /// The density that is fitted instead of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<DensityName>,
    /// The normal that a flow on a density starts from; without it the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartConfig>,
    /// What a flow on a density is trained by as a proposal of importance sampling; without it
    /// `train.objective`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<ProposalConfig>,
    /// The problem that comes along and is learned instead of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Where each column lies, in its own units; empty means on the real line. The flow ends with
    /// a fixed map onto it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub support: Vec<Support>,
    /// What is done to the table.
    pub data: DataConfig,
    /// The base distribution.
    pub base: BaseConfig,
    /// The architecture of the transformation.
    pub flow: FlowConfig,
    /// How it is trained.
    pub train: TrainConfig,
}

/// As for an architecture: what configs print tells them apart.
impl PartialEq for RunConfig {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

/// Precision of all numbers of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single.
    #[default]
    F32,
    /// Double.
    F64,
}

impl RunConfig {
    /// Whether another config trains the same on the same rows: a table counts by its bytes, wherever
    /// it lies.
    #[must_use]
    pub fn is_same_run(&self, other: &Self) -> bool {
        let without_path = |config: &Self| {
            let mut config = config.clone();
            if let Some(file) = &mut config.data.table {
                file.path.clear();
            }
            config
        };
        without_path(self) == without_path(other)
    }

    /// The preset's config.
    pub fn of(preset: &Preset) -> Self {
        Self {
            name: None,
            seed: 0,
            precision: Precision::default(),
            budget: Budget::Seconds { seconds: 60.0 },
            target: None,
            start: None,
            proposal: None,
            problem: None,
            support: Vec::new(),
            data: DataConfig::default(),
            base: BaseConfig::default(),
            flow: preset.flow.clone().into(),
            // A table can be overfitted: the weights that validated best are kept.
            train: TrainConfig { patience: Some(30), validate_every: 50, ..preset.train.clone() },
        }
    }

    /// The preset's config for fitting a density.
    pub fn of_target(preset: &Preset, target: &Density) -> Self {
        Self {
            target: Some(target.config().clone()),
            support: target.own_support().unwrap_or_default(),
            flow: preset.flow_on_target().into(),
            train: preset.train_on_target(target.dim()),
            ..Self::of(preset)
        }
    }

    /// The same run for rows in the units of [`Units`](crate::data::Units), which has the supports.
    #[must_use]
    pub fn on_line(&self) -> Self {
        Self { support: Vec::new(), ..self.clone() }
    }

    /// Checks the objective of a proposal, if there is one, which is for a density.
    ///
    /// # Errors
    /// [`Usage`] for a setting out of its range, or without a target.
    pub fn check_proposal(&self) -> Result<(), Usage> {
        let Some(proposal) = &self.proposal else { return Ok(()) };
        proposal.check().map_err(|error| Usage(format!("proposal: {error}")))?;
        if self.target.is_none() {
            let advice = "add --target or --target-command, or leave it out";
            return Err(Usage(format!("{proposal} is for a density, and there is none; {advice}")));
        }
        Ok(())
    }

    /// Builds the flow of `dim` features and `context_dim` conditioning features, with weights drawn
    /// from the seed.
    ///
    /// # Errors
    /// [`Usage`] for a setting out of its range.
    pub fn build<E: Real>(&self, dim: usize, context_dim: usize) -> Result<Flow<E>> {
        self.check_size(dim)?;
        let mut rng = stream(self.seed, "init");
        let bijector = self.flow.transformation::<E>(dim, context_dim, &mut rng);
        let mut bijector = bijector.map_err(|error| Usage(format!("flow: {error}")))?;
        if context_dim > 0 {
            bijector = self.base.given(bijector, context_dim, &mut rng)?;
        }
        debug_assert_eq!(bijector.dim(), dim, "architectures keep their dimension");
        if let Some(start) = &self.start {
            let started = start.after(bijector);
            bijector = started.map_err(|error| Usage(format!("start: {error}")))?;
        }
        let bijector = support::onto(&self.support, bijector, dim)?;
        let base =
            self.base.build(dim, &mut rng).map_err(|error| Usage(format!("base: {error}")))?;
        Ok(Flow::new(base, bijector).map_err(|error| Usage(format!("flow: {error}")))?)
    }

    /// Refuses what would not fit in memory: there, the program could only be aborted.
    fn check_size(&self, dim: usize) -> Result<()> {
        let weights = self.flow.weights(dim);
        let weights = weights.map_err(|error| Usage(format!("flow: {error}")))?;
        if self.base.weights(dim) > MOST_WEIGHTS {
            let most = format!("base: at most {MOST_WEIGHTS:e} numbers, got about");
            bail!(Usage(format!("{most} {:.1e}; lower components", self.base.weights(dim))));
        }
        if weights > MOST_WEIGHTS {
            bail!(Usage(format!(
                "flow: expected at most {MOST_WEIGHTS:e} weights, got about {weights:.1e}; lower layers or \
                 widths"
            )));
        }
        Ok(())
    }
}

/// How to write today what a whole config says in a spelling of earlier releases, if it does.
pub(crate) fn advice(text: &str) -> Option<String> {
    let over = text.parse::<Table>().ok()?;
    let preset = Preset::of_kind(kind(&over)).map_or_else(|| Preset::named(None).ok(), Some)?;
    spelling::advice(&Table::try_from(RunConfig::of(preset)).ok()?, &over)
}

/// The architecture that a file names.
pub(crate) fn kind(over: &Table) -> Option<&str> {
    over.get("flow")?.get("kind")?.as_str()
}

pub(crate) fn read_table(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{}: cannot be read; check the path", path.display()))?;
    text.parse::<Table>().map_err(|error| {
        let line = line_of(&error, &text);
        let message = error.message();
        Usage(format!("{}, line {line}: not valid TOML: {message}", path.display())).into()
    })
}

/// The line that an error is about.
pub(crate) fn line_of(error: &toml::de::Error, text: &str) -> usize {
    let start = error.span().map_or(0, |span| span.start);
    1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count()
}

/// Puts the values of `over` over those of `under`, table by table; a table of another `kind`
/// replaces the whole, so that no setting of one option is taken for another's.
pub(crate) fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above))
                if !of_other_kind(below, &above) =>
            {
                merge(below, above);
            }
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

fn of_other_kind(below: &Table, above: &Table) -> bool {
    below.get("kind").zip(above.get("kind")).is_some_and(|(below, above)| below != above)
}

/// What is wrong with a config, on one line and in words of the file.
pub(crate) fn message(error: &toml::de::Error) -> String {
    let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    // What serde calls a choice: a trait's or an enum's name.
    let text = text
        .replace("dyn Architecture", "the `kind` of an architecture")
        .replace("dyn TransformerConfig", "the `kind` of a transformer");
    match text.split_once("internally tagged enum ") {
        None => text,
        Some((before, after)) => {
            let after = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            format!("{before}a table with its `kind`{after}")
        }
    }
}

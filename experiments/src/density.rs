//! Densities that are known up to a constant: what a run fits, or importance sampling weighs, where
//! there are no rows.

mod known;
mod posterior;
mod program;
mod run;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use flows_bench::targets::KnownTarget;
use flows_core::{Stream, Target};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Support;
use crate::data::RunData;

pub use posterior::PosteriorConfig;
pub use program::ProgramConfig;
pub use run::TeacherConfig;

/// Settings of a density of one kind, a table of that name in a config: `[target.program]`.
///
/// A density of your own is a type with its settings that implements this with
/// `#[typetag::serde(name = "its-kind")]`; a program that links it takes `[target.its-kind]` wherever a
/// density is asked for.
#[typetag::serde]
pub trait DensityConfig: fmt::Debug + Send + Sync {
    /// Name in reports and of folders.
    fn name(&self) -> &str;

    /// The density, ready to be evaluated, with what is known of it.
    ///
    /// # Errors
    /// [`Usage`](crate::Usage) for settings out of range; unreadable files.
    fn open(&self) -> anyhow::Result<Opened>;

    /// One line for readers, without the number of features.
    fn description(&self) -> String {
        self.name().to_owned()
    }

    /// Names of the features; `x1`, `x2` and so on where there are none.
    fn columns(&self) -> Vec<String> {
        Vec::new()
    }

    /// Supports of the features that a flow on it ends with; `None` where a config says them, which has
    /// the real line unless it does.
    fn support(&self) -> Option<Vec<Support>> {
        None
    }

    /// Independent exact draws, row after row, where there are any.
    fn sample(&self, _rows: usize, _rng: &mut Stream) -> Option<Vec<f64>> {
        None
    }

    /// The folder of the run whose flow it is, if it is one.
    fn run(&self) -> Option<&Path> {
        None
    }
}

/// A density that can be evaluated.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The density.
    pub target: Arc<dyn Target>,
    /// log Z in nats, where it is known.
    pub log_normaliser: Option<f64>,
    /// What the features stand for, where they are coordinates of something else.
    pub parameters: Option<Parameters>,
    /// The data whose standardised units the features are in, if they are: a run on the density inherits
    /// them.
    pub data: Option<Arc<RunData>>,
}

impl Opened {
    /// A density of which nothing else is known.
    #[must_use]
    pub fn new(target: impl Target + 'static) -> Self {
        Self { target: Arc::new(target), log_normaliser: None, parameters: None, data: None }
    }
}

/// Values of parameters at a point.
pub type AtPoint = dyn Fn(&[f64]) -> Vec<f64> + Send + Sync;

/// The parameters of a model as functions of the features of its density.
#[derive(Clone)]
pub struct Parameters {
    /// Their names.
    pub names: Vec<String>,
    /// Their values at a point.
    pub at: Arc<AtPoint>,
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameters").field("names", &self.names).finish_non_exhaustive()
    }
}

/// A density that can be evaluated, with what is known of it. Clones share it.
#[derive(Clone, Debug)]
pub struct Density {
    name: DensityName,
    config: Arc<dyn DensityConfig>,
    opened: Opened,
}

impl Density {
    /// The density with these settings.
    ///
    /// # Errors
    /// As [`DensityConfig::open`].
    pub fn open(name: &DensityName) -> anyhow::Result<Self> {
        let config = name.config();
        Ok(Self { opened: config.open()?, config, name: name.clone() })
    }

    /// What a config says to have it.
    #[must_use]
    pub fn config(&self) -> &DensityName {
        &self.name
    }

    /// The density itself.
    #[must_use]
    pub fn target(&self) -> &dyn Target {
        &*self.opened.target
    }

    /// Number of features.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.opened.target.dim()
    }

    /// Name on the command line and of folders.
    #[must_use]
    pub fn name(&self) -> &str {
        self.config.name()
    }

    /// One line for `list`.
    #[must_use]
    pub fn description(&self) -> String {
        let log_z =
            self.log_normaliser().map_or(String::new(), |nats| format!("; log Z {nats:.6}"));
        format!("{}-D, {}{log_z}", self.dim(), self.config.description())
    }

    /// Names of the features.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        let names = self.config.columns();
        if names.is_empty() { (1..=self.dim()).map(|i| format!("x{i}")).collect() } else { names }
    }

    /// Supports that it says itself, so that a config cannot; empty for the real line.
    #[must_use]
    pub fn own_support(&self) -> Option<Vec<Support>> {
        self.config.support()
    }

    /// What is known of the data of a run on it: those whose units it is in, or its columns alone.
    ///
    /// # Errors
    /// For no columns.
    pub fn data(&self) -> anyhow::Result<RunData> {
        match &self.opened.data {
            Some(data) => Ok(RunData::clone(data)),
            None => RunData::of_columns(self.columns(), Vec::new()),
        }
    }

    /// Whether its features are data in standardised units.
    #[must_use]
    pub fn is_in_units(&self) -> bool {
        self.opened.data.is_some()
    }

    /// Names of what points stand for, as [`values`](Self::values) has them.
    #[must_use]
    pub fn value_names(&self, names: &[String]) -> Vec<String> {
        match (&self.opened.parameters, &self.opened.data) {
            (Some(Parameters { names, .. }), _) => names.clone(),
            (None, Some(data)) => data.columns.clone(),
            (None, None) => names.to_vec(),
        }
    }

    /// Rows of what points stand for with its names: the parameters of a model, the columns of data in their own
    /// units, or the features under the names that are given.
    ///
    /// # Errors
    /// Points that do not fill whole rows.
    pub fn values(
        &self,
        names: &[String],
        mut points: Vec<f64>,
    ) -> anyhow::Result<(Vec<String>, Vec<f64>)> {
        if let Some(Parameters { at, .. }) = &self.opened.parameters {
            points = points.chunks(self.dim()).flat_map(|point| at(point)).collect();
        } else if let Some(data) = &self.opened.data {
            data.units.undo(&mut points)?;
            data.dequantisation.restore(&mut points, self.dim());
        }
        Ok((self.value_names(names), points))
    }

    /// log Z in nats, where it is known.
    #[must_use]
    pub fn log_normaliser(&self) -> Option<f64> {
        self.opened.log_normaliser
    }

    /// Independent exact draws, row after row, where there are any.
    #[must_use]
    pub fn sample(&self, rows: usize, rng: &mut Stream) -> Option<Vec<f64>> {
        self.config.sample(rows, rng)
    }
}

impl From<KnownTarget> for Density {
    fn from(target: KnownTarget) -> Self {
        let name = DensityName::Known(target);
        Self { config: name.config(), opened: known::opened(target), name }
    }
}

impl fmt::Display for Density {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A density as a config names it: one that comes along by its name, `target = "funnel"`, or with
/// settings, `[target.funnel]`; any other as the table of its kind, `[target.program]`.
#[derive(Clone, Debug)]
pub enum DensityName {
    /// One that comes along.
    Known(KnownTarget),
    /// Any other.
    Other(Arc<dyn DensityConfig>),
}

impl DensityName {
    fn config(&self) -> Arc<dyn DensityConfig> {
        match self {
            Self::Known(target) => Arc::new(*target),
            Self::Other(config) => Arc::clone(config),
        }
    }
}

/// What configs print tells densities apart.
impl PartialEq for DensityName {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

impl Serialize for DensityName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(target) => target.serialize(to),
            Self::Other(config) => config.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for DensityName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(from)?;
        let is_known = match value.as_table() {
            None => true,
            Some(table) => table.keys().any(|key| key.parse::<KnownTarget>().is_ok()),
        };
        if is_known {
            return Ok(Self::Known(value.try_into().map_err(D::Error::custom)?));
        }
        let config: Box<dyn DensityConfig> = value.try_into().map_err(D::Error::custom)?;
        Ok(Self::Other(config.into()))
    }
}

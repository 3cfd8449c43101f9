//! A density that a program computes, as a config names it.

use flows_inference::{Format, ProgramDensity};
use serde::{Deserialize, Serialize};

use super::{DensityConfig, Opened};
use crate::Usage;

/// Seconds that a program may take for an answer, where nothing else is said.
const LIMIT: f64 = 60.0;

/// A program that answers points with log-densities and gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramConfig {
    /// What it is called in reports and folders.
    #[serde(default = "name")]
    pub name: String,
    /// Run once by `sh -c`.
    pub command: String,
    /// Number of features.
    pub dim: usize,
    /// How it reads and answers.
    #[serde(default)]
    pub format: Format,
    /// Seconds that it may take for an answer.
    #[serde(default = "limit")]
    pub limit: f64,
}

fn name() -> String {
    "program".into()
}

fn limit() -> f64 {
    LIMIT
}

impl ProgramConfig {
    /// A program of `dim` features that reads text.
    #[must_use]
    pub fn new(command: &str, dim: usize) -> Self {
        let command = command.to_owned();
        Self { name: name(), command, dim, format: Format::default(), limit: LIMIT }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`Usage`] with the setting.
    fn check(&self) -> Result<(), Usage> {
        if self.dim == 0 {
            return Err(Usage("dim of a target's program must be at least 1, got 0".into()));
        }
        if self.command.trim().is_empty() {
            return Err(Usage("command of a target's program is empty; name a program".into()));
        }
        if !(self.limit > 0.0 && self.limit.is_finite()) {
            let got = self.limit;
            return Err(Usage(format!("limit of a target's program must be above 0, got {got}")));
        }
        Ok(())
    }
}

#[typetag::serde(name = "program")]
impl DensityConfig for ProgramConfig {
    fn name(&self) -> &str {
        &self.name
    }

    /// The program starts when the density is first evaluated.
    fn open(&self) -> anyhow::Result<Opened> {
        self.check()?;
        Ok(Opened::new(ProgramDensity::new(&self.command, self.dim, self.format, self.limit)))
    }

    fn description(&self) -> String {
        self.command.clone()
    }
}

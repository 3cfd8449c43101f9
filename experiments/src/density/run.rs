//! The density of a trained run's flow, as a config names it: what a student is distilled from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use flows_core::{Context, Flow, Real, Stream, Target, Values};
use flows_inference::FlowTarget;
use serde::{Deserialize, Serialize};

use super::{DensityConfig, Opened};
use crate::config::{Precision, RunConfig, Support};
use crate::data::RunData;
use crate::run::RunFolder;
use crate::{CHUNK, Usage};

/// The run whose flow is the density.
///
/// The density is over the coordinates of that flow, in which the run's data were standardised, and log Z is
/// 0. A run on it inherits units, columns and noise of the data, so that the draws of both are in the same
/// units: divergences are the same in either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// Its folder.
    pub path: PathBuf,
}

/// What a run left of itself.
struct Teacher {
    config: RunConfig,
    data: RunData,
}

impl TeacherConfig {
    /// The run, if its flow is a density.
    ///
    /// # Errors
    /// A folder without a run; [`Usage`] for a conditional run or one whose target is itself.
    fn read(&self) -> Result<Teacher> {
        let (folder, run) = (RunFolder::new(&self.path), self.path.display());
        let (config, data) = (folder.config()?, folder.data()?);
        if !data.context.is_empty() {
            let names = data.context_names().join(", ");
            bail!(Usage(format!(
                "{run}: its density is conditional on {names}; take a run without contexts"
            )));
        }
        if let Some(super::DensityName::Other(target)) = &config.target
            && target.run().is_some_and(|path| is_same(path, &self.path))
        {
            bail!(Usage(format!("{run}: its target is itself; name another run as the target")));
        }
        // The supports of a table are part of its units; those of a target are part of the flow.
        let config = if config.target.is_none() { config.on_line() } else { config };
        Ok(Teacher { config, data })
    }

    fn flow<E: Real>(&self, teacher: &Teacher) -> Result<Flow<E>> {
        RunFolder::new(&self.path).flow::<E>(&teacher.config, &teacher.data)
    }

    fn draws<E: Real>(&self, teacher: &Teacher, rows: usize, rng: &mut Stream) -> Result<Vec<f64>> {
        let flow = self.flow::<E>(teacher)?;
        let mut draws = Vec::with_capacity(rows * flow.dim());
        for first in (0..rows).step_by(CHUNK) {
            let (drawn, _) = flow.sample(CHUNK.min(rows - first), &Context::none(), rng)?;
            draws.extend(drawn.values().iter().map(|value| value.as_f64()));
        }
        Ok(draws)
    }
}

/// Whether two paths lead to one folder.
fn is_same(a: &Path, b: &Path) -> bool {
    a == b || a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b)
}

#[typetag::serde(name = "run")]
impl DensityConfig for TeacherConfig {
    fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or("run")
    }

    fn open(&self) -> Result<Opened> {
        let teacher = self.read()?;
        let target: Arc<dyn Target> = match teacher.config.precision {
            Precision::F32 => Arc::new(FlowTarget::new(self.flow::<f32>(&teacher)?)?),
            Precision::F64 => Arc::new(FlowTarget::new(self.flow::<f64>(&teacher)?)?),
        };
        let data = Arc::new(RunData { rows: [0; 3], ..teacher.data });
        Ok(Opened { target, log_normaliser: Some(0.0), parameters: None, data: Some(data) })
    }

    fn description(&self) -> String {
        format!("the flow of the run {}", self.path.display())
    }

    fn columns(&self) -> Vec<String> {
        self.read().map(|teacher| teacher.data.columns).unwrap_or_default()
    }

    fn support(&self) -> Option<Vec<Support>> {
        Some(self.read().map(|teacher| teacher.config.support).unwrap_or_default())
    }

    fn sample(&self, rows: usize, rng: &mut Stream) -> Option<Vec<f64>> {
        let teacher = self.read().ok()?;
        match teacher.config.precision {
            Precision::F32 => self.draws::<f32>(&teacher, rows, rng),
            Precision::F64 => self.draws::<f64>(&teacher, rows, rng),
        }
        .ok()
    }

    fn run(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

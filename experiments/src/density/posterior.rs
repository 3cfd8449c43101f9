//! The posterior of a model over unconstrained parameters, as a config names it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use flows_bench::posteriors::Posterior;
use serde::{Deserialize, Serialize};

use super::{DensityConfig, Opened, Parameters};
use crate::Usage;

/// One of [`Posterior::NAMES`], with its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PosteriorConfig {
    /// Its name.
    pub name: String,
    /// The folder of its data, in the layout of posteriordb; none for one that comes along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

impl PosteriorConfig {
    fn read(&self) -> Result<Posterior> {
        let posterior = match &self.folder {
            Some(folder) => Posterior::read(&self.name, folder),
            None => Posterior::embedded(&self.name),
        };
        Ok(posterior.map_err(|error| match &self.folder {
            None if Posterior::NAMES.contains(&&*self.name) => Usage(format!(
                "{}: its data do not come along; add --posterior-data DIR",
                self.name
            )),
            _ => Usage(error.to_string()),
        })?)
    }
}

#[typetag::serde(name = "posterior")]
impl DensityConfig for PosteriorConfig {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self) -> Result<Opened> {
        let posterior = Arc::new(self.read()?);
        let log_normaliser = posterior.log_normaliser().map(|log_z| log_z.nats);
        let (names, shared) = (posterior.parameters().to_vec(), Arc::clone(&posterior));
        let at = Arc::new(move |point: &[f64]| shared.constrain(point));
        let parameters = Some(Parameters { names, at });
        Ok(Opened { target: posterior, log_normaliser, parameters, data: None })
    }
}

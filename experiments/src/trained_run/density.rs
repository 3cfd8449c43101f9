//! The density that a run is used on.

use std::path::Path;

use anyhow::{Result, bail};

use crate::Usage;
use crate::cli::DensityArguments;
use crate::config::RunConfig;
use crate::data::RunData;
use crate::density::Density;

/// The density that is asked for, or the one that a run was fitted to.
///
/// # Errors
/// [`Usage`] for a conditional run, a density of another dimension, or none at all; those of opening it.
pub(crate) fn density_of(
    run: &Path,
    asked: &DensityArguments,
    (config, data): (&RunConfig, &RunData),
) -> Result<Density> {
    let run = run.display();
    if !data.context.is_empty() {
        let names = data.context_names().join(", ");
        bail!(Usage(format!(
            "{run}: its density is conditional on {names}; take a run without contexts"
        )));
    }
    let Some(asked) = asked.config().or_else(|| config.target.clone()) else {
        bail!(Usage(format!(
            "{run}: it was trained on rows; name a density, --target NAME or --target-command COMMAND \
             --dim {}",
            data.columns.len()
        )));
    };
    let density = Density::open(&asked)?;
    let (expected, got) = (data.columns.len(), density.dim());
    if expected != got {
        bail!(Usage(format!(
            "{run}: expected a density of its {expected} features, got {density} of {got}; choose another \
             target or run"
        )));
    }
    // Coordinates of two flows are comparable where they are the same of the data.
    if density.is_in_units() && density.data()?.units != data.units {
        bail!(Usage(format!(
            "{run}: its flow is over other units than {density}, the flow of a run; take one on the same              rows, or one that was fitted to it"
        )));
    }
    Ok(density)
}

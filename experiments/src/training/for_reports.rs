//! The flow of a training that has no folder.

use anyhow::{Result, bail};
use flows_core::train::{StopReason, Trainer};
use flows_core::{Flow, Purpose, Real};

/// The trained flow, set for reports.
///
/// # Errors
/// The reason of a divergence.
pub(crate) fn for_reports<E: Real>(trainer: Trainer<E>, stopped: StopReason) -> Result<Flow<E>> {
    if let StopReason::Diverged { reason, .. } = stopped {
        bail!(reason);
    }
    let mut flow = trainer.into_flow()?;
    flow.bijector_mut().set_purpose(Purpose::Reporting)?;
    Ok(flow)
}

//! Saving and resuming a bootstrap.

use std::path::Path;

use flows_core::{Error, Real, Result};
use serde::{Deserialize, Serialize};

use super::Bootstrap;

/// What belongs to a run beside its trainer and its buffer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    rounds: u64,
    /// Steps of the trainer whose checkpoint belongs to it.
    steps: u64,
    step_sizes: Vec<f64>,
}

impl<E: Real> Bootstrap<E> {
    /// Writes the checkpoint of the trainer and the buffer, all that [`resume`](Self::resume) needs to
    /// continue bit for bit. Each file is replaced as a whole; an interruption between them is seen
    /// when they are read.
    ///
    /// # Errors
    /// [`Error::File`] with the system's reason.
    pub fn save(&self, checkpoint: &Path, buffer: &Path) -> Result<()> {
        let (rounds, steps) = (self.rounds, self.trainer.steps());
        let state = State { rounds, steps, step_sizes: self.sampler.step_sizes().to_vec() };
        let state = serde_json::to_string(&state).unwrap_or_default();
        self.trainer.save(checkpoint)?;
        self.buffer.write(buffer, &[("bootstrap", state)])
    }

    /// Restores what [`save`](Self::save) wrote for the same flow, config and seed.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Checkpoint`] or [`Error::Tensors`] if the files do not fit this run or
    /// each other; the run should then be dropped.
    pub fn resume(&mut self, checkpoint: &Path, buffer: &Path) -> Result<()> {
        let file = self.buffer.read(buffer)?;
        let wrong = |problem: String| Error::Checkpoint { path: buffer.to_owned(), problem };
        let Some(text) = file.metadata.get("bootstrap") else {
            let problem = "expected the state of a bootstrap beside the buffer, got none; resume from \
                           a folder that a bootstrap has saved";
            return Err(wrong(problem.into()));
        };
        let state: State = serde_json::from_str(text)
            .map_err(|error| wrong(format!("the state of the bootstrap is damaged: {error}")))?;
        self.trainer.resume(checkpoint)?;
        if self.trainer.steps() != state.steps {
            return Err(wrong(format!(
                "expected the buffer after {} steps, got that after {}; one of both files is older, \
                 take both from one copy",
                self.trainer.steps(),
                state.steps
            )));
        }
        self.sampler.set_step_sizes(state.step_sizes)?;
        self.rounds = state.rounds;
        Ok(())
    }
}

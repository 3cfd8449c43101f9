//! Saving and resuming the training of an autoencoder.

use std::path::Path;

use flows_core::train::Checkpoint;
use flows_core::{Error, Real, Result};

use super::AutoencoderTrainer;
use super::trainer::State;
use crate::adam_step::values;

impl<E: Real> AutoencoderTrainer<E> {
    /// Writes everything that [`resume`](Self::resume) needs to continue bit for bit.
    ///
    /// # Errors
    /// [`Error::File`] with the system's reason.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut file = Checkpoint::new();
        file.add_model("autoencoder", &self.model);
        self.adam.save_to(&mut file, "adam");
        if let Some(best) = &self.best {
            file.add_vectors("best", best);
        }
        let state = serde_json::to_string(&self.state).unwrap_or_default();
        file.metadata.insert("autoencoder_training".into(), state);
        file.write(path)
    }

    /// Restores what [`save`](Self::save) wrote for the same model, settings and seed.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Checkpoint`] or [`Error::Tensors`] if the file does not fit; the trainer
    /// is then unchanged.
    pub fn resume(&mut self, path: &Path) -> Result<()> {
        let file = Checkpoint::read(path)?;
        let state = file.metadata.get("autoencoder_training");
        let Some(state) = state.and_then(|state| serde_json::from_str::<State>(state).ok()) else {
            let problem = "expected a checkpoint of an autoencoder's training, got a file without its \
                           state; resume from what the training saved";
            return Err(Error::Checkpoint { path: path.to_owned(), problem: problem.into() });
        };
        let adam = self.adam.restored(&file, "adam", state.steps)?;
        let mut best = state.best_nats.map(|_| values(&self.model));
        if let Some(best) = &mut best {
            file.restore_vectors("best", best)?;
        }
        file.restore_model("autoencoder", &mut self.model)?;
        (self.adam, self.best, self.state) = (adam, best, state);
        Ok(())
    }
}

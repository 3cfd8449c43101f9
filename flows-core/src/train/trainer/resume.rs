//! Saving and resuming a training run.

use std::path::Path;

use super::best::{Best, values_of};
use super::{State, Trainer};
use crate::parameters::Role;
use crate::train::Checkpoint;
use crate::{Error, Real, Result};

impl<E: Real> Trainer<E> {
    /// Writes everything that [`resume`](Self::resume) needs to continue bit for bit.
    ///
    /// # Errors
    /// [`Error::File`] with the system's reason.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut file = Checkpoint::new();
        file.add_model("flow", &self.flow);
        self.adam.save_to(&mut file, "adam");
        let best = self.best.as_ref();
        for (name, vectors) in [
            ("average", self.average.as_ref()),
            ("best", best.map(|best| &best.learned)),
            ("best_fixed", best.map(|best| &best.fixed)),
        ] {
            if let Some(vectors) = vectors {
                file.add_vectors(name, vectors);
            }
            file.metadata.insert(name.into(), vectors.is_some().to_string());
        }
        let state = serde_json::to_string(&self.state).unwrap_or_default();
        file.metadata.insert("state".into(), state);
        file.write(path)
    }

    /// Restores what [`save`](Self::save) wrote for the same flow, config and seed.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Checkpoint`] or [`Error::Tensors`] if the file does not fit.
    pub fn resume(&mut self, path: &Path) -> Result<()> {
        let file = Checkpoint::read(path)?;
        let state = file.metadata.get("state").and_then(|s| serde_json::from_str::<State>(s).ok());
        let Some(state) = state else {
            let problem = "expected a training checkpoint, got a file without a training state; \
                           resume from the checkpoint of a run, not from its model";
            return Err(Error::Checkpoint { path: path.to_owned(), problem: problem.into() });
        };
        // Everything is checked before anything of this trainer changes.
        let adam = self.adam.restored(&file, "adam", state.steps)?;
        let read = |name: &str, role: Role| -> Result<Option<Vec<Vec<E>>>> {
            if file.metadata.get(name).is_none_or(|present| present != "true") {
                return Ok(None);
            }
            let mut vectors = values_of(role, &self.flow);
            file.restore_vectors(name, &mut vectors)?;
            Ok(Some(vectors))
        };
        let (average, best) = (read("average", Role::Learned)?, read("best", Role::Learned)?);
        let fixed = read("best_fixed", Role::Fixed)?;
        file.restore_model("flow", &mut self.flow)?;
        // Checkpoints written before the fixed tensors were kept have only the latest.
        let fixed = fixed.unwrap_or_else(|| values_of(Role::Fixed, &self.flow));
        let best = best.map(|learned| Best { learned, fixed });
        (self.adam, self.average, self.best) = (adam, average, best);
        for _ in self.state.refinements..state.refinements {
            self.flow.bijector_mut().refine_training();
        }
        self.state = state;
        Ok(())
    }
}

//! Simulators: models that are known by their draws only.

use std::fmt::Debug;

use flows_core::{Result, Stream};

use super::Prior;

/// A stochastic simulator with a prior: it draws data x given parameters theta.
pub trait Simulator: Debug + Send + Sync {
    /// The prior of the parameters, with their names, number and support.
    fn prior(&self) -> &dyn Prior;

    /// Number of columns of the data.
    fn data_columns(&self) -> usize;

    /// One draw of data for each row of `parameters`, rows x [`data_columns`](Self::data_columns), row
    /// after row. A value may be NaN where there is none; see [`Invalid`](super::Invalid).
    ///
    /// # Errors
    /// Where data cannot be drawn.
    fn simulate(&self, parameters: &[f64], rng: &mut Stream) -> Result<Vec<f64>>;
}

//! A Bayesian model: its joint density of parameters and data, in which the data are fixed.

use std::fmt::Debug;

use super::transform::{Identity, Transform};

/// A transform of consecutive parameters.
pub(super) type Block = &'static dyn Transform;

/// The joint density of parameters t and fixed data.
pub(super) trait Model: Debug + Send + Sync {
    /// Names of what reference draws hold.
    fn names(&self) -> Vec<String>;

    /// Transforms of the parameters, whose widths add up to the number of parameters.
    fn blocks(&self) -> Vec<Block>;

    /// log p(t, data) in nats with all constants, and its gradient by t written over `gradient`.
    fn log_joint(&self, parameters: &[f64], gradient: &mut [f64]) -> f64;

    /// From parameters to what draws hold, in place.
    fn drawn(&self, _parameters: &mut [f64]) {}

    /// The inverse of [`drawn`](Self::drawn).
    fn of_drawn(&self, _drawn: &mut [f64]) {}
}

/// As many parameters on the whole line.
pub(super) fn identities(count: usize) -> Vec<Block> {
    vec![&Identity; count]
}

/// `name[1]`, `name[2]`, ...
pub(super) fn indexed(name: &str, count: usize) -> Vec<String> {
    (1..=count).map(|index| format!("{name}[{index}]")).collect()
}

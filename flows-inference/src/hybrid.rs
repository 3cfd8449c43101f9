//! Hybrid models: a classifier on the base variables of a flow (review, Section 6.3).
//!
//! A flow maps a row x to z = T^-1(x), and a linear classifier reads the class y from z. Both share the
//! weights of the flow, so that one pass gives p(y | x) and p(x): what the row is, and whether rows like it
//! were ever seen. [`HybridTrainer`] trains both by one objective.

mod evaluation;
mod model;
mod settings;
mod softmax;
mod trainer;

pub use evaluation::HybridEvaluation;
pub use model::{Hybrid, HybridTerms};
pub use settings::HybridTraining;
pub use trainer::HybridTrainer;

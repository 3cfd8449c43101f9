//! `pairs.csv` of a comparison: one row for each pair of flows on a problem.

use serde::{Deserialize, Serialize};

/// How much one flow loses against another on the same test rows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Pair {
    /// Name of the problem.
    pub problem: String,
    /// Name of the flow.
    pub flow: String,
    /// Name of the flow that it is compared with.
    pub against: String,
    /// Negative log-likelihood of `flow` less that of `against`; of their divergences from the
    /// truth the same, since the truth cancels.
    pub difference_nats: f64,
    /// Its standard error over rows and seeds, both paired; absent for a single row.
    pub paired_standard_error: Option<f64>,
    /// Test rows that both flows were evaluated on.
    pub rows: u64,
    /// Seeds that both flows finished.
    pub seeds: u64,
}

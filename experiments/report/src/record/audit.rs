//! What a trained map and its density are worth numerically.

use serde::{Deserialize, Serialize};

/// The same weights in both precisions, on the same rows and cells, and the Jacobian of data to base.
/// Features are standardised for tables.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Audit {
    /// Largest distance of a coordinate from its image there and back, single precision.
    pub round_trip_f32: f64,
    /// The same in double precision.
    pub round_trip_f64: f64,
    /// Integral of the density over a grid in the plane, single precision.
    pub normalisation_f32: Option<f64>,
    /// The same in double precision.
    pub normalisation_f64: Option<f64>,
    /// Largest difference of a row's log-density between the precisions, nats.
    pub precision_gap_largest: f64,
    /// Median of these differences.
    pub precision_gap_median: f64,
    /// Largest singular value of the Jacobian over rows: a lower bound of the Lipschitz constant.
    pub lipschitz: f64,
    /// One over the smallest singular value: the same of the inverse map.
    pub inverse_lipschitz: f64,
    /// Largest over smallest singular value at a row, median over rows.
    pub condition_median: f64,
}

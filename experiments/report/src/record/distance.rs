//! Distances between draws of a flow and held-out rows.

use serde::{Deserialize, Serialize};

/// A distance between draws and held-out rows, with what it is where both have one distribution.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Distance {
    /// Between the draws and the rows.
    pub value: f64,
    /// Its median if both had one distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_median: Option<f64>,
    /// What it exceeds with probability 0.05 then.
    pub null_95: f64,
}

/// What a distance is called, and what it compares.
#[derive(Clone, Copy, Debug)]
pub struct DistanceName {
    /// In files.
    pub key: &'static str,
    /// For readers.
    pub title: &'static str,
    /// What is compared, in words.
    pub compares: &'static str,
}

/// Between draws and held-out rows.
pub const BETWEEN_SAMPLES: [DistanceName; 5] = [
    DistanceName {
        key: "sliced_wasserstein",
        title: "Sliced Wasser\u{ad}stein",
        compares: "Wasserstein-1 on the line, mean over 100 random directions",
    },
    DistanceName {
        key: "sliced_kolmogorov_smirnov",
        title: "Sliced Kolmo\u{ad}gorov-Smirnov",
        compares: "largest gap of the distribution functions on the line, mean over 100 random directions",
    },
    DistanceName {
        key: "mmd",
        title: "MMD²",
        compares: "unbiased squared maximum mean discrepancy, Gaussian kernel of median width",
    },
    DistanceName {
        key: "frechet",
        title: "Fréchet",
        compares: "squared Wasserstein-2 of the normals with the same moments",
    },
    DistanceName {
        key: "c2st",
        title: "C2ST",
        compares: "classifier two-sample test: share of right answers, 0.5 where nothing differs",
    },
];

/// Of the calibration of conditional flows.
const OF_CALIBRATION: [DistanceName; 3] = [
    DistanceName {
        key: "rank_histograms",
        title: "Rank histo\u{ad}grams",
        compares: "rank of the truth among draws given its context, the worst feature: largest gap to uniform",
    },
    DistanceName {
        key: "expected_coverage",
        title: "Expected coverage",
        compares: "share of truths inside regions of highest density: largest gap to their credibility",
    },
    DistanceName {
        key: "tarp",
        title: "TARP",
        compares: "the same with balls around random points for regions",
    },
];

/// All distances, in the order of tables.
pub fn distance_names() -> impl Iterator<Item = DistanceName> {
    BETWEEN_SAMPLES.into_iter().chain(OF_CALIBRATION)
}

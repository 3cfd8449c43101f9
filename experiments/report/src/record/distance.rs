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

/// What distances there are: name in files, name for readers, and what is compared.
pub const DISTANCES: [(&str, &str, &str); 8] = [
    (
        "sliced_wasserstein",
        "Sliced Wasser\u{ad}stein",
        "Wasserstein-1 on the line, mean over 100 random directions",
    ),
    (
        "sliced_kolmogorov_smirnov",
        "Sliced Kolmo\u{ad}gorov-Smirnov",
        "largest gap of the distribution functions on the line, mean over 100 random directions",
    ),
    ("mmd", "MMD²", "unbiased squared maximum mean discrepancy, Gaussian kernel of median width"),
    ("frechet", "Fréchet", "squared Wasserstein-2 of the normals with the same moments"),
    (
        "c2st",
        "C2ST",
        "classifier two-sample test: share of right answers, 0.5 where nothing differs",
    ),
    (
        "rank_histograms",
        "Rank histo\u{ad}grams",
        "rank of the truth among draws given its context, the worst feature: largest gap to uniform",
    ),
    (
        "expected_coverage",
        "Expected coverage",
        "share of truths inside regions of highest density: largest gap to their credibility",
    ),
    ("tarp", "TARP", "the same with balls around random points for regions"),
];

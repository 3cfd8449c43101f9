//! A distance with its null band.

use serde::{Deserialize, Serialize};

/// A distance between two samples, with what it is where both have one distribution.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Distance {
    /// Its name.
    pub name: String,
    /// Between the samples.
    pub value: f64,
    /// Its median if both had one distribution.
    pub null_median: f64,
    /// What it exceeds with probability 0.05 then.
    pub null_95: f64,
}

impl Distance {
    /// Of a value and those after it, which are exchangeable with it where both samples have one
    /// distribution.
    ///
    /// Of n exchangeable others, the value in question is above their k-th smallest with probability
    /// 1 - k / (n + 1).
    #[must_use]
    pub fn among(name: &str, values: &[f64]) -> Self {
        let (value, others) = values.split_first().map_or((f64::NAN, values), |(v, o)| (*v, o));
        let mut null = others.to_vec();
        null.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * (null.len() + 1) as f64).ceil() as usize;
            null.get(rank.clamp(1, null.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
        };
        Self { name: name.to_owned(), value, null_median: at(0.5), null_95: at(0.95) }
    }

    /// Whether it is more than 95 of 100 are between samples of one distribution.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        self.value > self.null_95
    }
}

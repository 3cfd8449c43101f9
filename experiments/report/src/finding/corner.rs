//! Draws by each pair of parameters.

use serde::{Deserialize, Serialize};

/// Parameters that a corner plot has room for.
const MOST: usize = 6;

/// Draws of a sample that are kept.
const DRAWS: usize = 2_000;

/// Share of the values of a parameter beyond either limit.
const TAIL: f64 = 0.002;

/// At most two samples of the same parameters: one panel a pair, and marginals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corner {
    /// Its caption: one sentence.
    pub title: String,
    /// The parameters, at most six.
    pub names: Vec<String>,
    /// Limits of each parameter.
    pub limits: Vec<[f64; 2]>,
    /// The samples; the first in front.
    pub samples: Vec<Sample>,
}

/// Equally weighted draws, at most 2,000.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Name in the key.
    pub name: String,
    /// Row after row.
    pub rows: Vec<f32>,
}

impl Corner {
    /// Six parameters of at most two samples, each given row after row, of which every so many rows are
    /// kept: the first ones, those before elements of vectors, such as `theta[1]`. `None` where a parameter has no finite value that differs from another.
    #[must_use]
    pub fn new(title: &str, names: &[String], samples: &[(&str, &[f64])]) -> Option<Self> {
        let columns = names.len();
        let mut kept: Vec<usize> = (0..columns).collect();
        kept.sort_by_key(|&column| names[column].ends_with(']'));
        kept.truncate(MOST);
        let sample = |&(name, rows): &(&str, &[f64])| {
            let every = (rows.len() / columns).div_ceil(DRAWS).max(1);
            let rows = rows.chunks_exact(columns).step_by(every);
            let rows = rows.flat_map(|row| kept.iter().map(|&column| row[column] as f32));
            Sample { name: name.to_owned(), rows: rows.collect() }
        };
        let mut corner = Self {
            title: title.to_owned(),
            names: kept.iter().map(|&column| names[column].clone()).collect(),
            limits: Vec::new(),
            samples: samples.iter().take(2).map(sample).collect(),
        };
        corner.limits =
            (0..kept.len()).map(|index| corner.limits_of(index)).collect::<Option<_>>()?;
        Some(corner)
    }

    /// The values of a parameter in a sample.
    pub(crate) fn column(&self, sample: usize, index: usize) -> impl Iterator<Item = f64> + '_ {
        let rows = self.samples[sample].rows.iter();
        rows.skip(index).step_by(self.names.len()).map(|&value| f64::from(value))
    }

    /// The central values of all samples, and a tenth of their range on either side.
    fn limits_of(&self, index: usize) -> Option<[f64; 2]> {
        let mut ends = [f64::INFINITY, f64::NEG_INFINITY];
        for sample in 0..self.samples.len() {
            let mut values: Vec<f64> =
                self.column(sample, index).filter(|value| value.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            let last = values.len().checked_sub(1)? as f64;
            let quantile = |share: f64| values[(share * last).round() as usize];
            ends = [ends[0].min(quantile(TAIL)), ends[1].max(quantile(1.0 - TAIL))];
        }
        let room = 0.1 * (ends[1] - ends[0]);
        (room > 0.0).then(|| [ends[0] - room, ends[1] + room])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_thinned_to_six_parameters() {
        let names: Vec<String> = (0..8).map(|i| format!("p{i}")).collect();
        let rows: Vec<f64> = (0..8 * 5_000).map(f64::from).collect();
        let corner = Corner::new("t", &names, &[("draws", &rows), ("reference", &rows[..80])]);
        let corner = corner.unwrap_or_else(|| unreachable!());
        assert_eq!((corner.names.len(), corner.limits.len()), (6, 6));
        let draws = |sample: usize| corner.column(sample, 0).count();
        assert_eq!((draws(0), draws(1)), (1_667, 10));
        assert_eq!(corner.column(0, 1).take(2).collect::<Vec<_>>(), [1.0, 25.0]);
        assert!(Corner::new("t", &names[..1], &[("draws", &[3.0, 3.0])]).is_none());
        assert!(Corner::new("t", &names[..1], &[("draws", &[f64::NAN])]).is_none());
    }

    #[test]
    fn elements_of_vectors_come_last() {
        let names = ["theta[1]", "theta[2]", "mu"].map(str::to_owned);
        let rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let corner =
            Corner::new("t", &names, &[("draws", &rows)]).unwrap_or_else(|| unreachable!());
        assert_eq!(corner.names, ["mu", "theta[1]", "theta[2]"]);
        assert_eq!(corner.column(0, 0).collect::<Vec<_>>(), [3.0, 6.0]);
    }
}

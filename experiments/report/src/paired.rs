//! Differences of likelihoods on the same test rows, with the standard error of paired differences.

use crate::Estimate;

/// The log-densities that one flow gives to the test rows, for each seed that it was trained with.
#[derive(Clone, Debug, Default)]
pub struct Scores(Vec<(u64, Vec<f64>)>);

/// How much one flow loses against another on the same rows, in nats.
///
/// With l(r, s) and m(r, s) the log-densities of row r under the two flows of seed s, and n rows and
/// S seeds that both have, d(r, s) = m - l is what the first loses. Then
///
/// - the difference is the mean of all d;
/// - the row part of its error is sd_r(mean over s of d) / sqrt(n);
/// - the seed part is sd_s(mean over r of d) / sqrt(S), 0 for a single seed;
/// - its standard error is sqrt(row part^2 + seed part^2).
///
/// What makes a row or a seed hard for both flows cancels, as in the paired t test. A single seed
/// says nothing about other initial weights. Where the true density p is known, the difference of
/// divergences is the same: log p cancels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Negative log-likelihood of the first flow less that of the second.
    pub difference: f64,
    /// Its standard error; none for a single row.
    pub standard_error: Option<f64>,
    /// Number of rows n.
    pub rows: usize,
    /// Number of seeds S.
    pub seeds: usize,
}

impl Scores {
    /// Adds the rows of a seed.
    pub fn add(&mut self, seed: u64, log_prob: Vec<f64>) {
        self.0.push((seed, log_prob));
    }

    fn of(&self, seed: u64) -> Option<&[f64]> {
        self.0.iter().find(|(own, _)| *own == seed).map(|(_, log_prob)| &log_prob[..])
    }
}

impl Paired {
    /// Compares two flows over the seeds that both have; none where they share no seed, or rows
    /// differ in number, or a log-density is not finite.
    #[must_use]
    pub fn of(flow: &Scores, against: &Scores) -> Option<Self> {
        let pairs: Vec<(&[f64], &[f64])> =
            flow.0.iter().filter_map(|(seed, l)| Some((&l[..], against.of(*seed)?))).collect();
        let (seeds, rows) = (pairs.len(), pairs.first()?.0.len());
        if rows == 0 || pairs.iter().any(|(l, m)| l.len() != rows || m.len() != rows) {
            return None;
        }
        let mut by_row = vec![0.0; rows];
        let mut by_seed = Vec::with_capacity(seeds);
        for (l, m) in pairs {
            let mut sum = 0.0;
            for ((mean, l), m) in by_row.iter_mut().zip(l).zip(m) {
                *mean += (m - l) / seeds as f64;
                sum += m - l;
            }
            by_seed.push(sum / rows as f64);
        }
        let row = Estimate::of_rows(by_row.into_iter());
        let seed = Estimate::of(by_seed.into_iter()).known_error().unwrap_or(0.0);
        let standard_error = row.known_error().map(|row| row.hypot(seed));
        row.mean.is_finite().then_some(Self { difference: row.mean, standard_error, rows, seeds })
    }

    /// The same seen from the other flow.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { difference: -self.difference, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(seeds: &[(u64, &[f64])]) -> Scores {
        Scores(seeds.iter().map(|(seed, l)| (*seed, l.to_vec())).collect())
    }

    #[test]
    fn what_is_common_to_rows_and_seeds_cancels() {
        // Rows differ by hundreds and seeds by tens; the second flow is better by 1, 2, 3 and 1, 2, 6.
        let first = scores(&[(0, &[100.0, 200.0, 300.0]), (1, &[110.0, 210.0, 310.0])]);
        let second = scores(&[(1, &[111.0, 212.0, 316.0]), (0, &[101.0, 202.0, 303.0])]);
        let found = Paired::of(&first, &second).unwrap();
        // Means over seeds 1, 2, 4.5 have the variance 3.25; means over rows 2 and 3 have 0.5.
        let error = (3.25_f64 / 3.0 + 0.5 / 2.0).sqrt();
        assert!((found.difference - 2.5).abs() < 1e-12, "{found:?}");
        assert!((found.standard_error.unwrap() - error).abs() < 1e-12, "{found:?}");
        assert_eq!((found.rows, found.seeds), (3, 2));
        let back = Paired::of(&second, &first).unwrap();
        assert!((back.difference + 2.5).abs() < 1e-12);
        assert_eq!(back.standard_error, found.reversed().standard_error);
    }

    #[test]
    fn only_seeds_that_both_flows_have_are_compared() {
        let first = scores(&[(0, &[0.0; 4]), (1, &[9.0; 4])]);
        let second = scores(&[(0, &[1.0, 3.0, 3.0, 1.0]), (2, &[-9.0; 4])]);
        let found = Paired::of(&first, &second).unwrap();
        // Deviations of 1 from the mean 2: a variance of 4 / 3 over 4 rows.
        let error = (1.0_f64 / 3.0).sqrt();
        assert_eq!((found.difference, found.standard_error, found.seeds), (2.0, Some(error), 1));
        assert_eq!(Paired::of(&first, &scores(&[(5, &[0.0, 0.0])])), None);
    }

    #[test]
    fn a_single_row_has_no_error_however_many_seeds() {
        let found =
            Paired::of(&scores(&[(0, &[1.0]), (1, &[2.0])]), &scores(&[(0, &[4.0]), (1, &[7.0])]));
        let found = found.unwrap();
        assert_eq!((found.difference, found.standard_error, found.rows), (4.0, None, 1));
    }

    #[test]
    fn other_rows_and_densities_that_are_not_finite_are_not_compared() {
        let two = scores(&[(0, &[1.0, 2.0])]);
        assert_eq!(Paired::of(&two, &scores(&[(0, &[1.0, 2.0, 3.0])])), None);
        assert_eq!(Paired::of(&two, &scores(&[(0, &[1.0, f64::NEG_INFINITY])])), None);
        assert_eq!(Paired::of(&Scores::default(), &two), None);
    }
}

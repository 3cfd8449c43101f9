//! Simulation-based calibration of an estimated posterior.

use flows_core::{Error, Real, Result, Stream};

use super::{Posterior, Simulations};

/// Probability that a count lies outside of its band, half of it on either side.
const OUTSIDE: f64 = 0.01;

/// For fresh pairs (theta, x) of prior and simulator, theta and draws of the estimated posterior given
/// x. If the estimate is the posterior, theta is like one of the draws.
///
/// The ranks of theta among its draws (by each parameter, by the estimated density, which is the
/// expected coverage, and by the distance from a random point, which is TARP) are those that the crate
/// `flows-bench` gives of this layout, in its `metrics::Calibration`.
///
/// # Reference
/// Talts, Betancourt, Simpson, Vehtari, Gelman, *Validating Bayesian Inference Algorithms with
/// Simulation-Based Calibration*, 2018, Section 4, <https://arxiv.org/abs/1804.06788>; Lemos, Coogan,
/// Hezaveh, Perreault-Levasseur, *Sampling-Based Accuracy Testing of Posterior Estimators for General
/// Inference*, ICML 2023, <https://arxiv.org/abs/2302.03026>.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationDraws {
    /// Parameters of a row.
    pub dim: usize,
    /// Draws for each pair.
    pub draws: usize,
    /// Pair by pair, theta and after it its draws, row after row.
    pub rows: Vec<f64>,
    /// log q(theta | x) of each of these rows, in nats.
    pub log_density: Vec<f64>,
}

impl CalibrationDraws {
    /// Draws of the posterior for each pair, which must not have been trained on.
    ///
    /// # Errors
    /// As [`Posterior::sample`]; [`Error::Parameter`] for no draws.
    pub fn new<E: Real>(
        posterior: &Posterior<E>,
        pairs: &Simulations,
        draws: usize,
        rng: &mut Stream,
    ) -> Result<Self> {
        if draws == 0 {
            let (name, requirement) = ("draws for each pair", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        let drawn = posterior.sample_each(&pairs.data, draws, rng)?;
        let dim = posterior.parameters.dim();
        let mut rows = Vec::with_capacity(pairs.parameters.len() + drawn.len());
        let each = pairs.parameters.chunks_exact(dim).zip(drawn.chunks_exact(draws * dim));
        for (truth, draws) in each {
            rows.extend_from_slice(truth);
            rows.extend_from_slice(draws);
        }
        let log_density = posterior.log_density_each(&pairs.data, &rows, 1 + draws)?;
        Ok(Self { dim, draws, rows, log_density })
    }
}

/// A histogram of ranks with the band in which each of its counts lies with probability 99 %, if ranks
/// are uniform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankHistogram {
    /// Ranks in each bin, from low to high.
    pub counts: Vec<usize>,
    /// The least and the largest count of the band: the 0.5 % and 99.5 % points of the binomial
    /// distribution of a count.
    pub band: [usize; 2],
}

impl RankHistogram {
    /// Counts ranks from 0 to `draws` in bins of equal width.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the bins divide the draws plus one, so that all have the same
    /// probability; [`Error::Caller`] for no ranks, or one above `draws`.
    ///
    /// # Reference
    /// Talts et al. 2018, Sections 4.1 and 5.1 (bins and band).
    pub fn new(ranks: &[u32], draws: usize, bins: usize) -> Result<Self> {
        if bins == 0 || !(draws + 1).is_multiple_of(bins) {
            let (name, requirement) = ("bins of a rank histogram", "a divisor of the draws plus 1");
            return Err(Error::Parameter { name, requirement, value: bins as f64 });
        }
        let mut counts = vec![0; bins];
        for &rank in ranks {
            match counts.get_mut(rank as usize * bins / (draws + 1)) {
                Some(count) => *count += 1,
                None => {
                    return Err(Error::Caller(format!(
                        "rank: expected at most the number of draws, {draws}, got {rank}; give the \
                         number of draws that the ranks are among"
                    )));
                }
            }
        }
        if ranks.is_empty() {
            let what = "ranks: expected at least one, got none; rank some pairs first";
            return Err(Error::Caller(what.into()));
        }
        Ok(Self { counts, band: binomial_band(ranks.len(), 1.0 / bins as f64) })
    }

    /// Bins whose count lies outside of the band: 1 % of them if ranks are uniform.
    #[must_use]
    pub fn outside(&self) -> usize {
        let [least, most] = self.band;
        self.counts.iter().filter(|count| !(least..=most).contains(count)).count()
    }
}

/// The 0.5 % and 99.5 % points of the binomial distribution of `trials` with this probability.
fn binomial_band(trials: usize, probability: f64) -> [usize; 2] {
    if probability >= 1.0 {
        return [trials; 2];
    }
    let odds = probability.ln() - (-probability).ln_1p();
    let mut log_mass = trials as f64 * (-probability).ln_1p();
    let (mut below, mut least) = (0.0, None);
    for count in 0..=trials {
        below += log_mass.exp();
        if least.is_none() && below >= OUTSIDE / 2.0 {
            least = Some(count);
        }
        if below >= 1.0 - OUTSIDE / 2.0 {
            return [least.unwrap_or(count), count];
        }
        log_mass += ((trials - count) as f64 / (count + 1) as f64).ln() + odds;
    }
    [least.unwrap_or(0), trials]
}

#[cfg(test)]
mod tests {
    use flows_core::testing::names;

    use super::{RankHistogram, binomial_band};

    /// Points from tables of the binomial distribution: P(X <= 0) of B(10, 1/2) is 0.001, P(X <= 1)
    /// 0.011; B(100, 1/10) has P(X <= 2) = 0.0019, P(X <= 3) = 0.0078, P(X <= 17) = 0.990, P(X <= 18) =
    /// 0.9954.
    #[test]
    fn bands_are_quantiles_of_the_binomial_distribution() {
        assert_eq!(binomial_band(10, 0.5), [1, 9]);
        assert_eq!(binomial_band(100, 0.1), [3, 18]);
        assert_eq!(binomial_band(7, 1.0), [7, 7]);
    }

    #[test]
    fn ranks_are_counted_in_bins_of_equal_probability() {
        let histogram = RankHistogram::new(&[0, 1, 2, 3, 4, 5, 5, 5], 5, 3).unwrap();
        assert_eq!(histogram.counts, [2, 2, 4]);
        let ranks: Vec<u32> = vec![2; 100];
        assert_eq!(RankHistogram::new(&ranks, 9, 10).unwrap().outside(), 10);
        names(&RankHistogram::new(&[0], 9, 4).unwrap_err(), &["bins", "divisor", "got 4"]);
        names(&RankHistogram::new(&[12], 9, 5).unwrap_err(), &["at most", "9", "got 12"]);
        names(&RankHistogram::new(&[], 9, 5).unwrap_err(), &["got none"]);
    }
}

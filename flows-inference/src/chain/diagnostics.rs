//! Convergence diagnostics of Markov chains: rank-normalised split R-hat and effective sample sizes.
//!
//! # Reference
//! Vehtari, Gelman, Simpson, Carpenter, Bürkner, *Rank-normalization, folding, and localization: an
//! improved R-hat for assessing convergence of MCMC*, Bayesian Analysis 16(2), 2021, Sections 3 and 4.
//! <https://arxiv.org/abs/1903.08008> Geyer, *Practical Markov chain Monte Carlo*, Statistical Science
//! 7(4), 1992 (the initial monotone sequence).

use flows_core::{Error, Result};
use statrs::distribution::{ContinuousCDF, Normal};

/// Fewest draws of a chain: its halves then have a variance and an autocovariance.
const FEWEST_DRAWS: usize = 4;

/// R-hat above which chains have not mixed (Vehtari et al. 2021, Section 2).
pub const LARGEST_R_HAT: f64 = 1.01;

/// Probability of each tail whose quantile is looked at.
const TAIL: f64 = 0.05;

/// Convergence diagnostics of one scalar quantity of Markov chains.
///
/// Each is `None` where it is not defined: with fewer than four draws a chain, or where no draw
/// differs from another; R-hat also for a single chain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Diagnostics {
    /// The mean of all draws.
    pub mean: f64,
    /// Monte Carlo standard error of the mean.
    pub standard_error: Option<f64>,
    /// Rank-normalised split R-hat, the larger of that of the draws and of their distances from the
    /// median; below 1.01 where chains have mixed, infinite where each stays at a point of its own.
    pub r_hat: Option<f64>,
    /// Effective sample size of the bulk: that of the rank-normalised draws.
    pub bulk_ess: Option<f64>,
    /// Effective sample size of the tails: the smaller of those of the 5 % and the 95 % quantile;
    /// `None` also where more than 5 % of the draws are the largest one.
    pub tail_ess: Option<f64>,
}

impl Diagnostics {
    /// Diagnostics of chains of equal length, `[chain][draw]`.
    ///
    /// # Cost
    /// A lag of the autocovariance takes an operation a draw; there are as many lags as the chains
    /// have correlated draws, so that chains that do not move cost the square of their length.
    ///
    /// # Errors
    /// [`Error::Caller`] without draws; [`Error::Rows`] for chains of different lengths;
    /// [`Error::NonFinite`] with the number of the draw, counted through all chains, that is not finite.
    pub fn of(chains: &[Vec<f64>]) -> Result<Self> {
        let length = check(chains)?;
        let all: Vec<f64> = chains.iter().flatten().copied().collect();
        let (mean, variance) = mean_and_variance(&all);
        let nothing =
            Self { mean, standard_error: None, r_hat: None, bulk_ess: None, tail_ess: None };
        if length < FEWEST_DRAWS {
            return Ok(nothing);
        }
        let halves = split(chains);
        let normal_scores = normal_scores(&halves);
        let folded = normal_scores_of_distances(&halves);
        let r_hat = [r_hat(&normal_scores), r_hat(&folded)].into_iter().flatten().reduce(f64::max);
        let tail = |probability| {
            let bound = quantile(&all, probability);
            effective_sample_size(&mapped(&halves, |x| f64::from(u8::from(x <= bound))))
        };
        Ok(Self {
            standard_error: effective_sample_size(&halves).map(|size| (variance / size).sqrt()),
            r_hat: r_hat.filter(|_| chains.len() > 1),
            bulk_ess: effective_sample_size(&normal_scores),
            tail_ess: tail(TAIL).zip(tail(1.0 - TAIL)).map(|(low, high)| low.min(high)),
            ..nothing
        })
    }
}

/// The common length of the chains.
fn check(chains: &[Vec<f64>]) -> Result<usize> {
    let length = chains.first().map_or(0, Vec::len);
    if length == 0 {
        let message = "there are no draws of a Markov chain; draw at least four a chain";
        return Err(Error::Caller(message.into()));
    }
    if let Some(other) = chains.iter().find(|chain| chain.len() != length) {
        let (expected, got) = (length, other.len());
        return Err(Error::Rows { op: "Markov chains of one length", expected, got });
    }
    match chains.iter().flatten().position(|x| !x.is_finite()) {
        Some(row) => {
            let advice = "look at the target where the chain was before";
            Err(Error::NonFinite { quantity: "draw of a Markov chain", row, advice })
        }
        None => Ok(length),
    }
}

/// First and second half of each chain, without the middle draw of an odd number.
fn split(chains: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let halves = |chain: &Vec<f64>| {
        let half = chain.len() / 2;
        let (first, second) = (&chain[..half], &chain[chain.len() - half..]);
        [first.to_vec(), second.to_vec()]
    };
    chains.iter().flat_map(halves).collect()
}

fn mapped(chains: &[Vec<f64>], f: impl Fn(f64) -> f64) -> Vec<Vec<f64>> {
    chains.iter().map(|chain| chain.iter().map(|&x| f(x)).collect()).collect()
}

/// Mean, and variance with the denominator n - 1.
pub(super) fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

/// Each draw replaced by the normal quantile of its rank among all, (r - 3/8) / (n + 1/4); equal draws
/// share the mean of their ranks (equation 14).
fn normal_scores(chains: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let all: Vec<f64> = chains.iter().flatten().copied().collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_unstable_by(|&a, &b| all[a].total_cmp(&all[b]));
    let mut scores = vec![0.0; all.len()];
    let mut first = 0;
    let normal = Normal::standard();
    // Zeros of either sign are equal, although `total_cmp` orders them.
    for equal in order.chunk_by(|&a, &b| all[a] == all[b]) {
        let rank = first as f64 + 0.5 * (equal.len() as f64 + 1.0);
        let score = normal.inverse_cdf((rank - 0.375) / (all.len() as f64 + 0.25));
        equal.iter().for_each(|&place| scores[place] = score);
        first += equal.len();
    }
    let length = chains.first().map_or(1, Vec::len);
    scores.chunks(length).map(<[f64]>::to_vec).collect()
}

/// Normal scores of the distances from the median, which see differences in scale.
fn normal_scores_of_distances(chains: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let median = quantile(&chains.concat(), 0.5);
    normal_scores(&mapped(chains, |x| (x - median).abs()))
}

/// The quantile by linear interpolation between the draws around place (n - 1) p, counted from 0.
fn quantile(values: &[f64], probability: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = (sorted.len() - 1) as f64 * probability;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - place.floor()) * (sorted[above] - sorted[below])
}

fn is_constant(chains: &[Vec<f64>]) -> bool {
    let mut all = chains.iter().flatten();
    all.next().is_none_or(|first| all.all(|x| x == first))
}

/// Mean variance within the chains W, and the variance of their means.
fn within_and_between(chains: &[Vec<f64>]) -> (f64, f64) {
    let moments: Vec<(f64, f64)> = chains.iter().map(|chain| mean_and_variance(chain)).collect();
    let within = moments.iter().map(|m| m.1).sum::<f64>() / moments.len() as f64;
    let means: Vec<f64> = moments.iter().map(|m| m.0).collect();
    (within, mean_and_variance(&means).1)
}

/// sqrt(((n - 1) / n W + B / n) / W) with B / n the variance of the means (equations 1 to 4).
fn r_hat(chains: &[Vec<f64>]) -> Option<f64> {
    let n = chains.first().map_or(0, Vec::len) as f64;
    if is_constant(chains) {
        return None;
    }
    let (within, between) = within_and_between(chains);
    Some(((n - 1.0) / n + between / within).sqrt())
}

/// m n / tau of m chains of n draws, tau = -1 + 2 times the sum of their autocorrelations (equations
/// 10 to 13), over the pairs of Geyer's initial monotone sequence; at most m n log10(m n).
fn effective_sample_size(chains: &[Vec<f64>]) -> Option<f64> {
    if is_constant(chains) {
        return None;
    }
    let length = chains.first().map_or(0, Vec::len);
    let (n, total) = (length as f64, (length * chains.len()) as f64);
    let (within, between) = within_and_between(chains);
    let variance = (n - 1.0) / n * within + between;
    let centred: Vec<Vec<f64>> = chains
        .iter()
        .map(|chain| {
            let mean = mean_and_variance(chain).0;
            chain.iter().map(|x| x - mean).collect()
        })
        .collect();
    let correlation = |lag: usize| 1.0 - (within - autocovariance(&centred, lag)) / variance;

    // Pairs of lags (2k, 2k + 1), whose sums are positive in theory; the first that is not is noise.
    let mut pairs = vec![(1.0, correlation(1))];
    while pairs.last().is_some_and(|(even, odd)| even + odd > 0.0) && 2 * pairs.len() + 2 < length {
        let lag = 2 * pairs.len();
        pairs.push((correlation(lag), correlation(lag + 1)));
    }
    // Of the last pair only the even lag counts, once: it makes the estimate better for chains whose
    // draws are negatively correlated.
    let (even, odd) = pairs.pop().unwrap_or((1.0, 0.0));
    let rest = if even + odd >= 0.0 { even } else { even.max(0.0) };
    let (mut bound, mut sum) = (f64::INFINITY, 0.0);
    for (even, odd) in pairs {
        bound = bound.min(even + odd);
        sum += bound;
    }
    let tau = (2.0 * sum + rest - 1.0).max(1.0 / total.log10());
    Some(total / tau)
}

/// Autocovariance at a lag, with the denominator n, as a mean over chains whose means are zero.
fn autocovariance(centred: &[Vec<f64>], lag: usize) -> f64 {
    let of = |chain: &Vec<f64>| {
        let products = chain.iter().zip(chain.iter().skip(lag)).map(|(a, b)| a * b);
        products.sum::<f64>() / chain.len() as f64
    };
    centred.iter().map(of).sum::<f64>() / centred.len() as f64
}

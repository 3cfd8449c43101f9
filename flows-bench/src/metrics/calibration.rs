//! Calibration of conditional densities: each truth among draws given its context.

use std::cmp::Ordering;

use flows_core::{Stream, stream};
use rand::RngExt;
use rayon::prelude::*;

use super::Distance;

/// Random choices of one member in each row for the null band: with the value in question 201.
const CHOICES: usize = 200;

/// For some contexts, a true row and draws of a conditional density.
#[derive(Clone, Copy, Debug)]
pub struct ConditionalDraws<'a> {
    /// Features.
    pub dim: usize,
    /// Draws for each context.
    pub draws: usize,
    /// Context by context, the truth and after it its draws, row by row.
    pub rows: &'a [f64],
    /// The log-density of each of these rows given their context.
    pub log_density: &'a [f64],
}

/// Ranks of each truth among its draws.
///
/// If truth and draws come from one distribution, each of them is equally likely to be the one that is called
/// the truth, so that its rank among them, by whatever score, is uniform on 0 to L, the number of draws:
///
/// - by feature k: rank histograms;
/// - by the density, highest first: the rank is in proportion to the credibility of the highest-density region
///   with the truth at its edge, so that its distribution is the expected coverage;
/// - by the distance from a random point, the truth of another context (TARP).
///
/// # Reference
/// Talts, Betancourt, Simpson, Vehtari, Gelman, *Validating Bayesian Inference Algorithms with
/// Simulation-Based Calibration*, 2018; Hermans et al., *A Crisis In Simulation-Based Inference?*, TMLR 2022;
/// Lemos, Coogan, Hezaveh, Perreault-Levasseur, *Sampling-Based Accuracy Testing of Posterior Estimators for
/// General Inference*, ICML 2023.
#[derive(Clone, Debug)]
pub struct Calibration {
    draws: usize,
    dim: usize,
    /// Context by context, score by score, the rank of the truth and of each draw.
    ranks: Vec<u32>,
}

impl Calibration {
    /// Ranks of truth and draws by every score; ties and the points of TARP are drawn by the seed.
    #[must_use]
    pub fn new(of: &ConditionalDraws<'_>, seed: u64) -> Self {
        let ConditionalDraws { dim, draws, rows, log_density } = *of;
        let members = 1 + draws;
        let contexts = rows.chunks_exact(members * dim).zip(log_density.chunks_exact(members));
        let count = contexts.len();
        let scales = scales(of);
        let of_context = |(index, (rows, log_density)): (usize, (&[f64], &[f64]))| {
            let mut rng = stream(seed, &format!("calibration {index}"));
            let other = (index + rng.random_range(1..count.max(2))) % count;
            let point = &of.rows[other * members * dim..][..dim];
            let distance = |row: &[f64]| -> f64 {
                let parts = row.iter().zip(point).zip(&scales);
                parts.map(|((value, point), scale)| ((value - point) / scale).powi(2)).sum()
            };
            let mut ranks: Vec<u32> = Vec::with_capacity((dim + 2) * members);
            for feature in 0..dim {
                let scores = rows.iter().skip(feature).step_by(dim).copied();
                ranks.extend(ranked(scores, &mut rng));
            }
            ranks.extend(ranked(log_density.iter().map(|nats| -nats), &mut rng));
            ranks.extend(ranked(rows.chunks_exact(dim).map(distance), &mut rng));
            ranks
        };
        let contexts: Vec<_> = contexts.enumerate().collect();
        let ranks: Vec<Vec<u32>> = contexts.into_par_iter().map(of_context).collect();
        Self { draws, dim, ranks: ranks.concat() }
    }

    /// Draws for each context: the largest rank.
    #[must_use]
    pub fn draws(&self) -> usize {
        self.draws
    }

    /// Context by context, the ranks of the truth by each feature, by density and by distance.
    #[must_use]
    pub fn ranks(&self) -> Vec<u32> {
        self.ranks.iter().step_by(1 + self.draws).copied().collect()
    }

    /// For each kind of score the largest difference between the distribution function of the ranks and that of
    /// uniform ones; of rank histograms, the largest over the features.
    ///
    /// The null band is that of randomly chosen members in place of the truths.
    #[must_use]
    pub fn distances(&self, seed: u64) -> Vec<Distance> {
        let contexts = self.ranks.len() / ((self.dim + 2) * (1 + self.draws));
        let chosen = |choice: usize| -> [f64; 3] {
            let mut rng = stream(seed, &format!("choice {choice}"));
            let random = || rng.random_range(0..=self.draws);
            self.differences(&std::iter::repeat_with(random).take(contexts).collect::<Vec<_>>())
        };
        let mut all = vec![self.differences(&vec![0; contexts])];
        all.par_extend((0..CHOICES).into_par_iter().map(chosen));
        let names = ["rank_histograms", "expected_coverage", "tarp"];
        let of = |(which, name): (usize, &str)| {
            let values: Vec<f64> = all.iter().map(|values| values[which]).collect();
            Distance::among(name, &values)
        };
        names.into_iter().enumerate().map(of).collect()
    }

    /// Of the members that are taken for the truths.
    fn differences(&self, members: &[usize]) -> [f64; 3] {
        let (size, scores) = (1 + self.draws, self.dim + 2);
        let of = |score: usize| {
            let mut counts = vec![0_u32; size];
            for (context, member) in members.iter().enumerate() {
                counts[self.ranks[(context * scores + score) * size + member] as usize] += 1;
            }
            largest_difference(&counts)
        };
        let features = (0..self.dim).map(of).fold(0.0, f64::max);
        [features, of(self.dim), of(self.dim + 1)]
    }
}

/// Largest difference of the distribution function of counted ranks from that of uniform ones.
fn largest_difference(counts: &[u32]) -> f64 {
    let total = f64::from(counts.iter().sum::<u32>());
    let mut below = 0.0;
    let differences = counts.iter().enumerate().map(|(rank, count)| {
        below += f64::from(*count);
        (below / total - (rank + 1) as f64 / counts.len() as f64).abs()
    });
    differences.fold(0.0, f64::max)
}

/// The rank of each score, ties in random order.
fn ranked(scores: impl Iterator<Item = f64>, rng: &mut Stream) -> Vec<u32> {
    let scores: Vec<(f64, u64)> = scores.map(|score| (score, rng.random())).collect();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let compare =
        |a: &(f64, u64), b: &(f64, u64)| -> Ordering { a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)) };
    order.sort_by(|a, b| compare(&scores[*a], &scores[*b]));
    let mut ranks = vec![0; scores.len()];
    (0_u32..).zip(order).for_each(|(rank, member)| ranks[member] = rank);
    ranks
}

/// Standard deviations of the truths; 1 of a feature that does not vary.
fn scales(of: &ConditionalDraws<'_>) -> Vec<f64> {
    let context = (1 + of.draws) * of.dim;
    let scale = |feature: usize| {
        let truths = || of.rows.iter().skip(feature).step_by(context);
        let count = truths().len() as f64;
        let mean = truths().sum::<f64>() / count;
        let variance = truths().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        if variance > 0.0 { variance.sqrt() } else { 1.0 }
    };
    (0..of.dim).map(scale).collect()
}

//! The generalised Pareto shape k of the largest importance weights.
//!
//! Weights w = p~/q have as many finite moments as 1/k; with k above 0.7 neither their sum nor its
//! standard error can be estimated from any practical number of draws.
//!
//! # Reference
//! Zhang, Stephens, *A new and efficient estimation method for the generalized Pareto distribution*,
//! Technometrics 51(3), 2009. Vehtari, Simpson, Gelman, Yao, Gabry, *Pareto smoothed importance
//! sampling*, JMLR 25, 2024, Sections 3.1 and 3.2.5. <https://www.jmlr.org/papers/v25/19-556.html>

/// Fewest weights in the tail that a shape is estimated from.
const FEWEST: usize = 5;

/// Observations that the prior of the shape counts for, and its mean.
const PRIOR: (f64, f64) = (10.0, 0.5);

/// The shape of the upper tail of weights, given as logarithms; `None` where the tail has fewer than
/// five weights above the others.
///
/// The tail is the largest min(n / 5, 3 sqrt(n)) of n weights.
#[must_use]
pub fn shape(log_weights: &[f64]) -> Option<f64> {
    let count = log_weights.len() as f64;
    let tail = (count / 5.0).min(3.0 * count.sqrt()).ceil() as usize;
    if tail < FEWEST || tail >= log_weights.len() {
        return None;
    }
    let mut sorted = log_weights.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let largest = sorted[0];
    let threshold = (sorted[tail] - largest).exp();
    let mut exceedances: Vec<f64> =
        sorted[..tail].iter().map(|l| (l - largest).exp() - threshold).collect();
    exceedances.reverse();
    exceedances.retain(|x| *x > 0.0);
    (exceedances.len() >= FEWEST).then(|| of_exceedances(&exceedances))
}

/// The largest shape for which `rows` draws give a usable estimate: min(1 - 1 / log10 n, 0.7).
#[must_use]
pub fn reliable(rows: usize) -> f64 {
    (1.0 - 1.0 / (rows as f64).log10()).min(0.7)
}

/// The profile-posterior mean of Zhang and Stephens over b = -k / sigma, of which
/// k(b) = mean log(1 - b x) is the maximum-likelihood shape, drawn towards 1/2 by a prior.
fn of_exceedances(sorted: &[f64]) -> f64 {
    let n = sorted.len() as f64;
    let quartile = sorted[(n / 4.0 + 0.5).floor() as usize - 1];
    let largest = sorted[sorted.len() - 1];
    let points = 30 + n.sqrt().floor() as usize;
    let grid: Vec<f64> = (1..=points)
        .map(|j| {
            let spread = 1.0 - (points as f64 / (j as f64 - 0.5)).sqrt();
            1.0 / largest + spread / (3.0 * quartile)
        })
        .collect();
    let shape = |b: f64| sorted.iter().map(|x| (-b * x).ln_1p()).sum::<f64>() / n;
    let profile: Vec<f64> = grid
        .iter()
        .map(|&b| {
            let k = shape(b);
            n * ((-b / k).ln() - k - 1.0)
        })
        .collect();
    let best = profile.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights = profile.iter().map(|l| (l - best).exp());
    let (sum, weighted) = weights
        .zip(&grid)
        .filter(|(w, _)| w.is_finite())
        .fold((0.0, 0.0), |(sum, weighted), (w, b)| (sum + w, weighted + w * b));
    let (prior_count, prior_mean) = PRIOR;
    (n * shape(weighted / sum) + prior_count * prior_mean) / (n + prior_count)
}

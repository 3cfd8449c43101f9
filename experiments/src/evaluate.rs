//! The numbers of a trained flow: likelihood, divergence, audits, throughput.

pub mod target;

use std::time::Instant;

use anyhow::{Result, bail};
use flows_core::tensor::batch;
use flows_core::{Batch, Bijector, Context, Flow, Purpose, Real, Stream, Values, stream};

use crate::account::{ErrorAccount, account};
use crate::config::RunConfig;
use crate::problem::{ProblemData, cast};

/// Cells of a density image along each side.
pub const IMAGE_CELLS: usize = 160;

/// Cells of the integral along each side.
const INTEGRAL_CELLS: usize = 400;

/// How much wider than the image the window of the integral is.
const INTEGRAL_WIDENING: f64 = 1.5;

/// Rows of the round trip, and of the comparison with a tighter tolerance.
const AUDIT_ROWS: usize = 10_000;

/// Draws that are timed and kept.
const DRAWS: usize = 20_000;

/// Draws that are kept for figures.
pub const KEPT_DRAWS: usize = 3_000;

/// Rows that go through a flow at a time.
const CHUNK: usize = 4_096;

/// A mean with its standard error.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Standard deviation over the square root of the number of rows.
    pub standard_error: f64,
}

impl Estimate {
    /// The mean of values with the standard error of independent draws.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let count = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / count;
        let variance = values.map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        Self { mean, standard_error: (variance / count).sqrt() }
    }
}

/// Integral of a density over a window.
#[derive(Clone, Copy, Debug)]
pub struct Integral {
    /// Its value.
    pub value: f64,
    /// `[x0, x1, y0, y1]`
    pub window: [f64; 4],
}

/// What is measured of a trained flow.
#[derive(Debug)]
pub struct Evaluation {
    /// Mean of -log q over test rows, in the data's own units.
    pub nll: Estimate,
    /// Mean of log p* - log q over test rows, where p* is known.
    pub kl: Option<Estimate>,
    /// In two dimensions.
    pub integral: Option<Integral>,
    /// Largest distance of a coordinate of a test row from its image there and back; standardised
    /// for tables.
    pub round_trip_error: f64,
    /// Network passes or field evaluations of a density pass over a few thousand rows.
    pub evaluations: f64,
    /// Rows a second.
    pub log_prob_rows_per_second: f64,
    /// Draws a second.
    pub sample_rows_per_second: f64,
    /// Whether log-densities are exact or estimates.
    pub log_det: flows_core::LogDet,
    /// What a log-likelihood of a continuous flow is off by.
    pub account: Option<ErrorAccount>,
    /// Log-density at the cells of the image.
    pub image: Option<Vec<f64>>,
    /// A few thousand draws, in the data's own units.
    pub draws: Vec<f64>,
}

/// Centres of `cells` x `cells` cells of a window, lowest row first.
pub fn centres(window: [f64; 4], cells: usize) -> Vec<f64> {
    let [x0, x1, y0, y1] = window;
    let at = |low: f64, high: f64, i: usize| low + (high - low) * (i as f64 + 0.5) / cells as f64;
    (0..cells * cells).flat_map(|i| [at(x0, x1, i % cells), at(y0, y1, i / cells)]).collect()
}

/// Measures a flow on a problem; `window` frames the image of a density in the plane.
///
/// # Errors
/// When a computation fails or a log-density is not a number, with the row.
pub fn evaluate<E: Real>(
    flow: &mut Flow<E>,
    config: &RunConfig,
    data: &ProblemData,
    window: Option<[f64; 4]>,
) -> Result<Evaluation> {
    flow.bijector_mut().set_purpose(Purpose::Reporting);
    let test = cast::<E>(&data.test);
    let clock = Instant::now();
    let (log_prob, work) = flow.evaluate(&test, &Context::none())?;
    let log_prob_rows_per_second = log_prob.len() as f64 / clock.elapsed().as_secs_f64();
    if let Some(row) = log_prob.iter().position(|l| !l.is_finite()) {
        bail!(
            "the log-density of test row {row} (from 0) is {}; check the data for outliers, or train \
             longer",
            log_prob[row]
        );
    }
    let offset = data.log_det();
    let nll = Estimate::of(log_prob.iter().map(|l| -(l + offset)));
    let known = data.test_log_density.as_ref();
    let kl = known.map(|truth| Estimate::of(truth.iter().zip(&log_prob).map(|(p, q)| p - q)));
    let chunks = log_prob.len().div_ceil(CHUNK) as f64;
    let mut rng = stream(config.seed, "draws");
    let (draws, sample_rows_per_second) = draw(flow, data, &mut rng)?;
    let (integral, image) = match window {
        None => (None, None),
        Some(window) => {
            let image = density(flow, &centres(window, IMAGE_CELLS))?;
            (Some(integrate(flow, window)?), Some(image))
        }
    };
    let audit = &test[..test.len().min(AUDIT_ROWS * data.dim)];
    Ok(Evaluation {
        log_det: flow.bijector().log_det(),
        nll,
        kl,
        integral,
        round_trip_error: round_trip(flow, audit)?,
        evaluations: work.evaluations() as f64 / chunks,
        log_prob_rows_per_second,
        sample_rows_per_second,
        account: account(flow, config, audit)?,
        image,
        draws,
    })
}

fn density<E: Real>(flow: &Flow<E>, points: &[f64]) -> Result<Vec<f64>> {
    Ok(flow.evaluate(&cast(points), &Context::none())?.0)
}

/// Midpoint rule over a window that is wider than the image, so that it holds the flow's tails.
fn integrate<E: Real>(flow: &Flow<E>, [x0, x1, y0, y1]: [f64; 4]) -> Result<Integral> {
    let widen = |low: f64, high: f64| {
        let (centre, half) = (0.5 * (low + high), 0.5 * (high - low) * INTEGRAL_WIDENING);
        (centre - half, centre + half)
    };
    let ((x0, x1), (y0, y1)) = (widen(x0, x1), widen(y0, y1));
    let window = [x0, x1, y0, y1];
    let cell = (x1 - x0) * (y1 - y0) / (INTEGRAL_CELLS * INTEGRAL_CELLS) as f64;
    let log_prob = density(flow, &centres(window, INTEGRAL_CELLS))?;
    Ok(Integral { value: cell * log_prob.iter().map(|l| l.exp()).sum::<f64>(), window })
}

/// Draws in the data's own units, and draws a second.
fn draw<E: Real>(flow: &Flow<E>, data: &ProblemData, rng: &mut Stream) -> Result<(Vec<f64>, f64)> {
    let clock = Instant::now();
    let mut kept = Vec::new();
    for _ in 0..DRAWS.div_ceil(CHUNK) {
        let (rows, _) = flow.sample(CHUNK, &Context::none(), rng)?;
        if kept.len() < KEPT_DRAWS * data.dim {
            kept.extend(rows.values().iter().map(|v| v.as_f64()));
        }
    }
    let drawn = (DRAWS.div_ceil(CHUNK) * CHUNK) as f64;
    let rate = drawn / clock.elapsed().as_secs_f64();
    kept.truncate(KEPT_DRAWS * data.dim);
    if let Some(standardiser) = &data.standardiser {
        standardiser.undo(&mut kept)?;
    }
    Ok((kept, rate))
}

fn round_trip<E: Real>(flow: &Flow<E>, values: &[E]) -> Result<f64> {
    let dim = flow.dim();
    let mut largest = 0.0_f64;
    for rows in values.chunks(CHUNK * dim) {
        let x: Batch<E> = batch(rows.to_vec(), rows.len() / dim, dim)?;
        let z = flow.bijector().inverse(x, &Context::none())?.value;
        let back = flow.bijector().forward(z, &Context::none())?.value.values();
        for (a, b) in rows.iter().zip(back) {
            // `max` would lose NaN.
            let error = (*a - b).abs().as_f64();
            largest = if error > largest || error.is_nan() { error } else { largest };
        }
    }
    Ok(largest)
}

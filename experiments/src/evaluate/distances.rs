//! Distances between draws of a flow and held-out rows.

use std::collections::BTreeMap;

use anyhow::Result;
use flows_bench::metrics::{Calibration, ConditionalDraws, Distance, LEAST_ROWS, distances};
use flows_core::{Flow, Real, Values, stream};
use flows_report::record;

use crate::CHUNK;
use crate::interrupt;
use crate::rows::Rows;

/// Draws, and most held-out rows, of the distances between samples.
const SAMPLE_ROWS: usize = 3_000;

/// Most contexts of a calibration.
const CONTEXTS: usize = 500;

/// Draws for each of them.
const DRAWS: usize = 63;

/// What is measured by draws.
#[derive(Debug, Default)]
pub struct ByDraws {
    /// Distances by their names; empty with fewer held-out rows than they need.
    pub distances: BTreeMap<String, record::Distance>,
    /// Of a conditional flow, context by context, the rank of the truth among it and its draws, counted from 1,
    /// over their number: by each feature, by density, by the distance from a random point; and how many columns
    /// these are.
    pub ranks: Option<(Vec<f64>, usize)>,
}

impl ByDraws {
    /// Draws from a flow, in the units of the flow, and compares with test rows; of a conditional flow the joint
    /// distributions, with the contexts of half of the rows for the draws and the other half to compare with.
    ///
    /// # Errors
    /// When a computation fails or a draw is not finite.
    pub(super) fn of<E: Real>(flow: &Flow<E>, test: &Rows, seed: u64) -> Result<Self> {
        let (contexts, reference) = halves(test);
        if contexts.count().min(reference.count()) < LEAST_ROWS {
            return Ok(Self::default());
        }
        let drawn = draws(flow, &contexts, (seed, "distances"))?;
        let (draws, reference) = (joint(&drawn), joint(&reference));
        let dim = test.dim() + test.context_dim();
        let mut found = distances(&draws, &reference, dim, seed)?;
        interrupt::check()?;
        let calibration = calibration(flow, test, seed)?;
        found.extend(calibration.iter().flat_map(|calibration| calibration.distances(seed)));
        let ranks = calibration.map(|calibration| {
            let members = (1 + calibration.draws()) as f64;
            let ranks = calibration.ranks().into_iter();
            (ranks.map(|rank| f64::from(rank + 1) / members).collect(), test.dim() + 2)
        });
        Ok(Self { distances: found.into_iter().map(named).collect(), ranks })
    }
}

fn named(distance: Distance) -> (String, record::Distance) {
    let Distance { name, value, null_median, null_95 } = distance;
    (name, record::Distance { value, null_median: Some(null_median), null_95 })
}

/// Rows that say what to draw for, and rows to compare the draws with.
fn halves(test: &Rows) -> (Rows, Rows) {
    if test.context_dim() == 0 {
        return (test.repeated(SAMPLE_ROWS), test.first(SAMPLE_ROWS));
    }
    let count = test.count().min(2 * SAMPLE_ROWS);
    let [even, odd] = [0, 1].map(|first| (first..count).step_by(2).collect::<Vec<usize>>());
    (test.select(&even), test.select(&odd))
}

/// A draw for each row of contexts, with its context.
fn draws<E: Real>(flow: &Flow<E>, contexts: &Rows, (seed, name): (u64, &str)) -> Result<Rows> {
    let mut rng = stream(seed, name);
    let mut values = Vec::with_capacity(contexts.values().len());
    for batch in contexts.batches::<E>() {
        interrupt::check()?;
        let (_, rows, context) = batch?;
        let (drawn, _) = flow.sample(rows.rows(), &context, &mut rng)?;
        values.extend(drawn.values().into_iter().map(E::as_f64));
    }
    let drawn = Rows::new(values, contexts.dim());
    Ok(drawn.given(contexts.context_values().to_vec(), contexts.context_dim()))
}

/// Features and conditioning features side by side.
fn joint(rows: &Rows) -> Vec<f64> {
    rows.iter().flat_map(|(x, c)| x.iter().chain(c)).copied().collect()
}

/// Ranks of the first truths among draws for their contexts; none without contexts.
fn calibration<E: Real>(flow: &Flow<E>, test: &Rows, seed: u64) -> Result<Option<Calibration>> {
    if test.context_dim() == 0 {
        return Ok(None);
    }
    let truths = test.first(CONTEXTS);
    let members = 1 + DRAWS;
    let each: Vec<usize> = (0..truths.count() * members).map(|row| row / members).collect();
    let repeated = truths.select(&each);
    let drawn = draws(flow, &repeated, (seed, "calibration"))?;
    let mut rows = drawn.values().to_vec();
    for (row, (truth, _)) in rows.chunks_exact_mut(members * test.dim()).zip(truths.iter()) {
        row[..test.dim()].copy_from_slice(truth);
    }
    let all = Rows::new(rows, test.dim());
    let all = all.given(repeated.context_values().to_vec(), test.context_dim());
    let mut log_density = Vec::with_capacity(all.count());
    for first in (0..all.count()).step_by(CHUNK) {
        interrupt::check()?;
        let some: Vec<usize> = (first..all.count().min(first + CHUNK)).collect();
        log_density.extend(all.select(&some).log_prob(flow)?);
    }
    let of = ConditionalDraws {
        dim: test.dim(),
        draws: DRAWS,
        rows: all.values(),
        log_density: &log_density,
    };
    Ok(Some(Calibration::new(&of, seed)))
}

//! The error account of a continuous flow's log-likelihood: what its solver and its trace add to the
//! sampling error of the rows.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use flows_continuous::{Accuracy, ContinuousFlow};
use flows_core::train::Checkpoint;
use flows_core::{Exactness, Flow, Purpose, Real, stream};

use crate::config::RunConfig;
use crate::rows::Rows;

/// Draws of the probes that the noise of the trace is taken from.
const PROBE_DRAWS: u64 = 8;

/// Rows that they are evaluated on.
const PROBE_ROWS: usize = 2_000;

/// What a log-likelihood is off by, in nats.
#[derive(Clone, Copy, Debug)]
pub struct ErrorAccount {
    /// Change of the mean log-density when the tolerance is halved, or the number of steps doubled.
    pub solver: f64,
    /// Standard deviation, over probes, of one row's log-density with the trace that training uses;
    /// 0 where that is exact. Reported numbers have it only if they use that trace too.
    pub trace: f64,
    /// The same with the trace of reported numbers; 0 where that is exact, as it usually is.
    pub reported_trace: f64,
}

/// Measures both on standardised rows; nothing for finite flows.
///
/// # Errors
/// When a log-density cannot be computed.
pub fn account<E: Real>(
    flow: &Flow<E>,
    config: &RunConfig,
    rows: &Rows,
) -> Result<Option<ErrorAccount>> {
    let Some(settings) = config.flow.downcast_ref::<ContinuousFlow>() else { return Ok(None) };
    let Accuracy { solver, divergence } = settings.reporting;
    let with = |reporting: Accuracy| {
        let settings = Arc::new(ContinuousFlow { reporting, ..settings.clone() });
        rebuilt(flow, &RunConfig { flow: config.flow.with(settings), ..config.clone() })
    };
    // Probes of an estimated trace have to be the same, or their noise would be taken for the solver's.
    let mean = |mut flow: Flow<E>| -> Result<f64> {
        flow.bijector_mut().begin_step(&mut stream(config.seed, "account"))?;
        let log_prob = rows.log_prob(&flow)?;
        Ok(log_prob.iter().sum::<f64>() / log_prob.len() as f64)
    };
    let tighter = with(Accuracy { solver: solver.halved::<E>(), divergence })?;
    let as_reported = || with(settings.reporting);
    let solver_error = (mean(as_reported()?)? - mean(tighter)?).abs();
    let noisy = with(Accuracy { solver, divergence: settings.training.divergence })?;
    let few = rows.first(PROBE_ROWS);
    let trace = probe_noise(noisy, config.seed, &few)?;
    let reported_trace = probe_noise(as_reported()?, config.seed, &few)?;
    Ok(Some(ErrorAccount { solver: solver_error, trace, reported_trace }))
}

/// The same weights in a flow of another config, set for reporting.
fn rebuilt<E: Real>(flow: &Flow<E>, config: &RunConfig) -> Result<Flow<E>> {
    let mut other = config.build::<E>(flow.dim(), flow.bijector().context_dim())?;
    let mut weights = Checkpoint::new();
    weights.add_model("flow", flow);
    weights.restore_model("flow", &mut other).context("copying weights")?;
    other.bijector_mut().set_purpose(Purpose::Reporting)?;
    Ok(other)
}

/// Root of the mean over rows of the variance over probes.
fn probe_noise<E: Real>(mut flow: Flow<E>, seed: u64, rows: &Rows) -> Result<f64> {
    if flow.bijector().exactness() == Exactness::Exact {
        return Ok(0.0);
    }
    let mut draws = Vec::new();
    for draw in 0..PROBE_DRAWS {
        flow.bijector_mut().begin_step(&mut stream(seed, &format!("trace noise {draw}")))?;
        draws.push(rows.log_prob(&flow)?);
    }
    let count = rows.count();
    let variance = |row: usize| {
        let mean = draws.iter().map(|d| d[row]).sum::<f64>() / PROBE_DRAWS as f64;
        let squares = draws.iter().map(|d| (d[row] - mean).powi(2)).sum::<f64>();
        squares / (PROBE_DRAWS - 1) as f64
    };
    Ok(((0..count).map(variance).sum::<f64>() / count as f64).sqrt())
}

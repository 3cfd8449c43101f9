//! Audits of a trained flow: the same weights in single and double precision, and the Jacobian.

mod jacobian;

use anyhow::{Context as _, Result};
use flows_core::tensor::set_values;
use flows_core::{Flow, Parameters, Purpose, Real, Tape, Values};
use flows_report::record::Audit;
pub use jacobian::singular_values;
use jacobian::strict;

use crate::config::{Precision, RunConfig};
use crate::integral::Integral;
use crate::rows::Rows;

/// Most rows of the round trip and of the difference between precisions.
const ROWS: usize = 2_000;

/// Most values of these rows.
const VALUES: usize = 200_000;

/// Most rows whose Jacobian is computed.
const JACOBIAN_ROWS: usize = 256;

/// Most rows times features cubed, which is what their decompositions cost: some seconds.
const JACOBIAN_COST: usize = 1_000_000_000;

/// Cells along each side of the integral of the difference between precisions, which is small and needs
/// fewer than that of a density.
const CELLS: usize = 100;

/// What is measured in either precision.
struct Measured {
    log_prob: Vec<f64>,
    round_trip: f64,
    /// On a coarse grid.
    normalisation: Option<f64>,
}

/// Audits `flow` on standardised `rows`, and its `integral` where it has one: that of the other
/// precision is the same with the integral of the difference added.
///
/// # Errors
/// When a computation fails, or a Jacobian is not finite.
pub fn audit<E: Real>(
    flow: &Flow<E>,
    config: &RunConfig,
    rows: &Rows,
    integral: Option<Integral>,
) -> Result<Audit> {
    let few = &rows.first(ROWS.min(VALUES / rows.dim()).max(1));
    let window = integral.map(|integral| integral.window);
    let single = measure(&converted::<E, f32>(flow, config)?, few, window)?;
    let double = measure(&converted::<E, f64>(flow, config)?, few, window)?;
    let own = match config.precision {
        Precision::F32 => single.normalisation,
        Precision::F64 => double.normalisation,
    };
    let normalisation = |coarse: Option<f64>| Some(integral?.value + coarse? - own?);
    let pairs = single.log_prob.iter().zip(&double.log_prob);
    let gaps: Vec<f64> = pairs.map(|(a, b)| (a - b).abs()).collect();
    let few = &rows.first(jacobian_rows(rows));
    let exact = converted::<E, f64>(flow, &strict(config))?;
    let spectra = singular_values(&exact, few)?;
    let largest = spectra.iter().map(|[high, _]| *high).fold(0.0, f64::max);
    let smallest = spectra.iter().map(|[_, low]| *low).fold(f64::INFINITY, f64::min);
    Ok(Audit {
        round_trip_f32: single.round_trip,
        round_trip_f64: double.round_trip,
        normalisation_f32: normalisation(single.normalisation),
        normalisation_f64: normalisation(double.normalisation),
        precision_gap_largest: gaps.iter().copied().fold(0.0, f64::max),
        precision_gap_median: median(gaps),
        lipschitz: largest,
        inverse_lipschitz: 1.0 / smallest,
        condition_median: median(spectra.iter().map(|[high, low]| high / low).collect()),
    })
}

/// Rows whose Jacobian the audit computes: fewer, the more features there are, at least one.
#[must_use]
pub fn jacobian_rows(rows: &Rows) -> usize {
    let affordable = JACOBIAN_COST / rows.dim().saturating_pow(3);
    affordable.clamp(1, JACOBIAN_ROWS.min(rows.count()))
}

/// What the audit leaves out because of the number of features, as a sentence.
#[must_use]
pub fn left_out(rows: &Rows) -> Option<String> {
    let (looked, dim) = (jacobian_rows(rows), rows.dim());
    let all = JACOBIAN_ROWS.min(rows.count());
    (looked < all).then(|| {
        format!(
            "the audit of Jacobians took {looked} test rows instead of {all}, because of {dim} features"
        )
    })
}

/// The same weights in another precision and under another config, set for reporting.
fn converted<E: Real, F: Real>(flow: &Flow<E>, config: &RunConfig) -> Result<Flow<F>> {
    let mut tensors: Vec<Vec<F>> = Vec::new();
    flow.visit(&mut |_, _, tensor| {
        let values = flows_core::Values::values(tensor);
        tensors.push(values.iter().map(|value| F::of(value.as_f64())).collect());
    });
    let mut other = config.build::<F>(flow.dim(), flow.bijector().context_dim())?;
    let mut tensors = tensors.iter();
    other
        .visit_mut(&mut |_, _, tensor| {
            tensors.next().map_or(Ok(()), |values| set_values(tensor, values))
        })
        .context("copying weights")?;
    other.bijector_mut().set_purpose(Purpose::Reporting)?;
    Ok(other)
}

fn measure<E: Real>(flow: &Flow<E>, rows: &Rows, window: Option<[f64; 4]>) -> Result<Measured> {
    let integral = |window| Ok::<_, anyhow::Error>(Integral::of(flow, window, CELLS)?.value);
    Ok(Measured {
        log_prob: rows.log_prob(flow)?,
        round_trip: round_trip(flow, rows)?,
        normalisation: window.map(integral).transpose()?,
    })
}

/// The middle of some numbers; of an even number of them, the mean of both middles.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[half],
        _ => 0.5 * (values[half - 1] + values[half]),
    }
}

/// Largest distance of a coordinate from its image under the inverse and then the forward map.
///
/// # Errors
/// As [`Bijector::forward`](flows_core::Bijector::forward).
pub(crate) fn round_trip<E: Real>(flow: &Flow<E>, rows: &Rows) -> Result<f64> {
    let mut largest = 0.0_f64;
    for batch in rows.batches::<E>() {
        let (first, x, context) = batch?;
        let in_file = |error: flows_core::Error| error.in_row_of(|row| first + row);
        let z = flow.bijector().inverse(&x, &context, &mut Tape::none()).map_err(in_file)?.value;
        let back = flow.bijector().forward(&z, &context, &mut Tape::none()).map_err(in_file)?.value;
        for (a, b) in x.values().into_iter().zip(back.values()) {
            // `max` would lose NaN.
            let error: f64 = (a - b).abs().as_f64();
            largest = if error > largest || error.is_nan() { error } else { largest };
        }
    }
    Ok(largest)
}

//! The numbers of a trained flow: likelihood, divergence, audits, throughput.

mod distances;
mod few_rows;
mod fitted_normal;
mod image_views;
pub mod target;

use std::time::Instant;

use anyhow::{Result, bail};
use flows_bench::table::{self, write_npy};
use flows_core::tensor::cast;
use flows_core::{Flow, Purpose, Real, Stream, Values, stream};
use flows_report::Estimate;
use flows_report::record::Audit;

use crate::CHUNK;
use crate::audit::{audit, left_out, round_trip};
use crate::config::RunConfig;
use crate::data::log_densities;
use crate::error_account::{ErrorAccount, account};
use crate::integral::{Integral, widened};
use crate::interrupt;
use crate::problem::{Picture, ProblemData};
use crate::rows::Rows;
use crate::run::RunFolder;
use crate::transport::transport;
use distances::ByDraws;
use fitted_normal::fitted_normal;
use image_views::ImageViews;

/// Cells of the integral along each side.
const INTEGRAL_CELLS: usize = 400;

/// How much wider than the image the window of the integral is.
const INTEGRAL_WIDENING: f64 = 1.5;

/// Rows of the round trip, and of the comparison with a tighter tolerance.
const AUDIT_ROWS: usize = CHUNK;

/// Values of a pass that is timed; of few features it has [`CHUNK`] rows.
const TIMED_VALUES: usize = 1 << 20;

/// Fewest rows of a pass that is timed, unless there are fewer values.
const FEWEST_TIMED: usize = 256;

/// Most passes in each direction that are timed.
const TIMED_PASSES: usize = 3;

/// Seconds that the timed passes of a direction are to take, and after which two are enough.
const TIMED_SECONDS: f64 = 2.0;

/// Slopes of one feature that differ by less than this are alike: what central differences resolve.
const AFFINE: f64 = 1e-5;

/// Draws that are kept for figures.
pub const KEPT_DRAWS: usize = 3_000;

/// What is measured of a trained flow.
#[derive(Debug)]
pub struct Evaluation {
    /// log q of each test row, in nats of the data's own units.
    pub log_prob: Vec<f64>,
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
    pub log_prob_rows_per_second: Estimate,
    /// Draws a second.
    pub sample_rows_per_second: Estimate,
    /// Whether log-densities are exact or estimates.
    pub log_det: flows_core::Exactness,
    /// What a log-likelihood of a continuous flow is off by.
    pub account: Option<ErrorAccount>,
    /// Log-density at the cells of each picture.
    pub images: Vec<Vec<f64>>,
    /// A few thousand draws, in the data's own units.
    pub draws: Vec<f64>,
    /// Draws and interpolations of a flow on images.
    pub image_views: Option<ImageViews>,
    /// Distances between draws and test rows.
    pub by_draws: ByDraws,
    /// Stage, x1, x2 of draws on their way from base to data, in the plane.
    pub transport: Option<Vec<f32>>,
    /// Mean of -log q of the fitted normal over test rows, in the data's own units.
    pub normal_nll: Option<f64>,
    /// Both precisions and the Jacobian, or why there are no such numbers.
    pub audit: Result<Audit, String>,
}

impl Evaluation {
    /// What a reader of the numbers has to know, a sentence each.
    #[must_use]
    pub fn warnings(&self, data: &ProblemData) -> Vec<String> {
        let test = &data.test;
        let mut warnings = Vec::new();
        // One test row tells no difference.
        let error = self.nll.known_error().unwrap_or(f64::INFINITY);
        if let Some(normal) = self.normal_nll.filter(|normal| self.nll.mean > normal + 2.0 * error)
        {
            warnings.push(format!(
                "the flow ends above a fitted normal: {:.4} against {normal:.4} nats a row; train \
                 longer or at a lower learning_rate, or look at the data",
                self.nll.mean
            ));
        }
        if let Some((rows, share)) = few_rows::that_make_the_mean(&self.log_prob) {
            let [first, second, third] = rows.map(|row| data.row_of_test(row));
            warnings.push(format!(
                "three test rows make the mean: rows {first}, {second} and {third} (from 0) hold {:.0} % of \
                 the variance of the log-density, so that its standard error says little; look at them, or \
                 take a base with heavy tails, such as base = {{ kind = \"student_t\", nu = 2 }}",
                100.0 * share
            ));
        }
        let noise = self.account.map_or(0.0, |account| account.reported_trace);
        if noise > 0.0 {
            warnings.push(format!(
                "log-likelihoods are estimates: the probes of the reporting trace give a row a \
                 standard deviation of {noise:.2e} nats"
            ));
        }
        if test.dim() == 1 && test.context_dim() == 0 && test.count() > 1 && self.is_affine() {
            warnings.push(
                "the flow is an affine map of its base, with the same slope at every test row, so that \
                 its density has the shape of the base; with one column affine flows are no more than \
                 that: take splines or a continuous flow"
                    .into(),
            );
        }
        warnings.extend(left_out(test));
        warnings
    }

    /// Whether the Jacobians of the audit are all alike, to what their differences resolve.
    fn is_affine(&self) -> bool {
        let spread = |audit: &Audit| audit.lipschitz * audit.inverse_lipschitz - 1.0;
        self.audit.as_ref().is_ok_and(|audit| spread(audit) < AFFINE)
    }

    /// Writes the log-densities of the test rows, from which differences between flows get the
    /// errors of paired rows.
    ///
    /// # Errors
    /// The system's reason.
    pub fn write_log_prob(&self, folder: &RunFolder) -> Result<()> {
        let path = folder.file("test_log_prob.npy");
        Ok(write_npy(&path, &[self.log_prob.len()], table::Values::F64(&self.log_prob))?)
    }
}

/// Measures a flow on a problem, and looks at it where the pictures do.
///
/// # Errors
/// When a computation fails or a log-density is not a number, with the row.
pub fn evaluate<E: Real>(
    flow: &mut Flow<E>,
    config: &RunConfig,
    data: &ProblemData,
    pictures: &[Picture],
) -> Result<Evaluation> {
    flow.bijector_mut().set_purpose(Purpose::Reporting)?;
    let test = &data.test;
    let evaluated = flow.evaluate(&cast::<E>(test.values()), &test.context()?);
    let in_table = |error: flows_core::Error| error.in_row_of(|row| data.row_of_test(row));
    let (mut log_prob, work) = evaluated.map_err(in_table)?;
    if let Some(row) = log_prob.iter().position(|l| !l.is_finite()) {
        bail!(
            "the log-density of row {} (from 0) of the table is {}; check the row for outliers, or \
             train longer",
            data.row_of_test(row),
            log_prob[row]
        );
    }
    log_prob.iter_mut().zip(&data.test_log_det).for_each(|(nats, offset)| *nats += offset);
    let nll = Estimate::of_rows(log_prob.iter().map(|nats| -nats));
    let known = data.test_log_density.as_ref();
    let kl = known.map(|truth| Estimate::of(truth.iter().zip(&log_prob).map(|(p, q)| p - q)));
    let chunks = log_prob.len().div_ceil(CHUNK) as f64;
    interrupt::check()?;
    let mut rng = stream(config.seed, "draws");
    let (draws, sample_rows_per_second) = draw(flow, data, &mut rng)?;
    let mut images = Vec::new();
    for picture in pictures {
        interrupt::check()?;
        let points = data.record.with_features(picture.points.clone())?;
        images.push(log_densities(flow, &data.record, &points)?);
    }
    // A table is in units of its own, and the window of its picture too.
    let plane = pictures
        .first()
        .filter(|_| data.test_log_density.is_some() && data.dim() == 2 && data.context_dim() == 0);
    let (integral, path) = match plane {
        None => (None, None),
        Some(Picture { window, .. }) => {
            let path = transport(flow, &mut stream(config.seed, "transport"))?;
            // So wide that it holds the flow's tails.
            let window = widened(*window, INTEGRAL_WIDENING);
            (Some(Integral::of(flow, window, INTEGRAL_CELLS)?), Some(path))
        }
    };
    let image_views = match data.record.image {
        Some(_) if data.context_dim() == 0 => Some(ImageViews::of(flow, data, &draws)?),
        _ => None,
    };
    interrupt::check()?;
    let by_draws = ByDraws::of(flow, test, config.seed)?;
    interrupt::check()?;
    let rows = test.first(AUDIT_ROWS);
    let offset = data.test_log_det.iter().sum::<f64>() / data.test_log_det.len() as f64;
    let normal_nll = fitted_normal(data.rows_to_fit(), test).map(|nats| nats - offset);
    Ok(Evaluation {
        normal_nll,
        log_det: flow.bijector().exactness(),
        log_prob,
        nll,
        kl,
        integral,
        round_trip_error: round_trip(flow, &rows)?,
        evaluations: work.evaluations() as f64 / chunks,
        log_prob_rows_per_second: density_rate(flow, test)?,
        sample_rows_per_second,
        account: account(flow, config, &rows)?,
        audit: audit(flow, config, test, integral).map_err(|error| format!("{error:#}")),
        images,
        draws,
        image_views,
        by_draws,
        transport: path,
    })
}

/// Draws in the data's own units, given the contexts of the first test rows, and draws a second.
fn draw<E: Real>(
    flow: &Flow<E>,
    data: &ProblemData,
    rng: &mut Stream,
) -> Result<(Vec<f64>, Estimate)> {
    let mut pass = |count: usize| {
        let context = data.test.repeated(count).context()?;
        let clock = Instant::now();
        let (rows, _) = flow.sample(count, &context, rng)?;
        anyhow::Ok((rows, clock.elapsed().as_secs_f64()))
    };
    // First, because how many draws are timed depends on the time that they take.
    let (kept, _) = pass(KEPT_DRAWS)?;
    let kept = kept.values().iter().map(|v| v.as_f64()).collect();
    let rate = rate(timed_rows(data.dim()), |count| Ok(pass(count)?.1))?;
    Ok((data.in_own_units(kept)?, rate))
}

/// Log-densities a second of test rows, which are repeated where there are few.
fn density_rate<E: Real>(flow: &Flow<E>, test: &Rows) -> Result<Estimate> {
    rate(timed_rows(test.dim()), |count| {
        let rows = test.repeated(count);
        let (values, context) = (cast::<E>(rows.values()), rows.context()?);
        let clock = Instant::now();
        flow.evaluate(&values, &context)?;
        Ok(clock.elapsed().as_secs_f64())
    })
}

/// Rows of a pass that is timed.
fn timed_rows(dim: usize) -> usize {
    (TIMED_VALUES / dim).clamp(1, CHUNK)
}

/// Rows a second of a pass, which gives its seconds: the number of rows over the mean time. A pass
/// over few rows tells how many, up to `most`, are timed; of slow passes two are.
fn rate(most: usize, mut pass: impl FnMut(usize) -> Result<f64>) -> Result<Estimate> {
    let few = most.min(FEWEST_TIMED);
    let first = pass(few)?;
    let share = TIMED_SECONDS / (TIMED_PASSES as f64 * first);
    let count = ((few as f64 * share) as usize).clamp(few, most);
    let mut seconds: Vec<f64> = if count == few { vec![first] } else { Vec::new() };
    let enough = |seconds: &[f64]| {
        let spent: f64 = seconds.iter().sum();
        seconds.len() >= TIMED_PASSES || seconds.len() >= 2 && spent > TIMED_SECONDS
    };
    while !enough(&seconds) {
        interrupt::check()?;
        seconds.push(pass(count)?);
    }
    let time = Estimate::of(seconds.into_iter());
    let mean = count as f64 / time.mean;
    Ok(Estimate { mean, standard_error: mean * time.standard_error / time.mean })
}

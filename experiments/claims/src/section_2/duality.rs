//! C6: both directions of the divergence are one number (review, Section 2.3.3).

use anyhow::{Context as _, Result};
use flows_core::testing::perturb;
use flows_core::{Base, Context, Flow, Purpose, Tape, Values, architecture, stream};
use flows_report::finding::{Cell, Findings, Table};
use flows_report::record::Family;

use crate::helper::specimen::with_tolerance;
use crate::helper::statistics::larger;
use crate::{Check, Claim, NamedFlow, Setting};

pub(crate) const C6: Claim = Claim {
    id: "C6",
    title: "KL duality",
    review: "The divergence from the target to the flow in data space equals the divergence from the \
             target pulled back to the base in base space (Section 2.3.3).",
    method: "For every preset, away from its start, in f64: the integrand log q(x) - log p(x) at \
             x = T(u), with log q by the inverse map, against log p_u(u) - log p*_u(u) by the forward \
             map, for the same draws u.",
    check: Check::Run(check),
};

/// Largest difference that rounding leaves, relative to one plus the integrand: some thousand
/// operations, each exact to 1e-16, amplified by a condition number up to some thousands.
const ROUNDING: f64 = 1e-9;

/// Tolerance of continuous flows here; the state's error per unit of time is of this order.
const TOLERANCE: f64 = 1e-8;

/// How far the weights are moved from their start.
const AWAY: f64 = 0.02;

fn check(setting: &Setting) -> Result<Findings> {
    let rows = setting.either(64, 1000);
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Largest difference of the two integrands over draws, relative to one plus their size, and their means, for each preset.",
        &["flow", "family", "difference / (1 + size)", "data space (nats)", "base space (nats)"],
    );
    let (mut finite, mut continuous) = (0.0_f64, 0.0_f64);
    for named in setting.flows {
        let [largest, left, right] =
            integrands(named, rows, setting.seed).with_context(|| named.title.to_owned())?;
        let worst = if named.family == Family::Finite { &mut finite } else { &mut continuous };
        *worst = larger(*worst, largest);
        let [largest, left, right] = [largest, left, right].map(Cell::from);
        table.row([named.title.into(), named.family.to_string().into(), largest, left, right]);
    }
    findings.at_most(
        "finite flows: largest difference over one plus the integrand",
        finite,
        ROUNDING,
        "one number by two routes: rounding alone",
    );
    findings.at_most(
        "continuous flows: largest difference over one plus the integrand",
        continuous,
        10.0 * TOLERANCE,
        "ten times the solver's tolerance of 1e-8",
    );
    findings.tables.push(table);
    Ok(findings)
}

/// The largest difference over draws, over one plus the integrand, and both means.
fn integrands(named: &NamedFlow, rows: usize, seed: u64) -> Result<[f64; 3]> {
    // In the plane, or as an image of 8 x 8 pixels.
    let dim = if named.architecture.weights(2).is_ok() { 2 } else { 64 };
    let architecture = with_tolerance(&named.architecture, TOLERANCE);
    let bijector = architecture::build(&*architecture, dim, 0, &mut stream(seed, "init"))?;
    let mut flow: Flow<f64> = Flow::new(Base::standard_normal(dim), Box::new(bijector))?;
    perturb(&mut flow, AWAY, &mut stream(seed, "perturb"))?;
    flow.bijector_mut().set_purpose(Purpose::Reporting)?;
    let u = flow.base().sample(rows, &mut stream(seed, "draws"))?;
    let mapped = flow.bijector().forward(&u, &Context::none(), &mut Tape::none())?;
    let target = target(&mapped.value.values(), dim);
    let log_q = flow.log_prob(&mapped.value, &Context::none(), &mut Tape::none())?.value.values();
    let data: Vec<f64> = log_q.iter().zip(&target).map(|(q, p)| q - p).collect();
    let log_u = flow.base().log_prob(&u, &mut Tape::none())?.values();
    let pulled = target.iter().zip(mapped.log_det.values()).map(|(p, log_det)| p + log_det);
    let base: Vec<f64> = log_u.iter().zip(pulled).map(|(u, pulled)| u - pulled).collect();
    let differences = data.iter().zip(&base).map(|(a, b)| (a - b).abs() / (1.0 + a.abs()));
    let largest = differences.fold(0.0, larger);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    Ok([largest, mean(&data), mean(&base)])
}

/// Log-density of independent normals with mean 0.5 and standard deviation 1.5 at every row.
fn target(values: &[f64], dim: usize) -> Vec<f64> {
    let constant = 0.5 * (2.0 * std::f64::consts::PI * 1.5_f64.powi(2)).ln();
    let one = |x: &f64| -0.5 * ((x - 0.5) / 1.5).powi(2) - constant;
    values.chunks(dim).map(|row| row.iter().map(one).sum()).collect()
}

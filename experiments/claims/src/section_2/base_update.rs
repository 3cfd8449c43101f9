//! C8: a normal base is updated in closed form (review, Section 2.3.1).

use anyhow::Result;
use flows_bench::toys::Toy;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::perturb;
use flows_core::train::{Adam, AdamConfig};
use flows_core::{
    Architecture, Base, Batch, Context, Flow, Parameters, Tape, Values, forward_kl, stream,
};
use flows_finite::architecture::{Conditioner, CouplingFlow};
use flows_report::finding::{Findings, Plot, Scale, Stroke};

use crate::helper::statistics::{distance, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C8: Claim = Claim {
    id: "C8",
    title: "Closed-form update of the base",
    review: "Where the base admits maximum likelihood in closed form, its parameters need no \
             gradients: for a normal, mean and covariance of the data pulled back (Section 2.3.1).",
    method: "A small Real NVP with a diagonal normal base on a fixed table of the two moons, in f64. \
             The update must never increase the negative log-likelihood of the table, from random \
             starts and in every step of an alternating training; leave no gradient; and be where \
             gradient descent on the base alone ends.",
    check: Check::Run(check),
};

/// Rows of the table.
const ROWS: usize = 512;

/// What sums of 512 rounded terms leave of a gradient that is zero, or of a change that is.
const ROUNDING: f64 = 1e-11;

fn check(setting: &Setting) -> Result<Findings> {
    let seed = setting.seed;
    let x = batch(Toy::Moons.sample(ROWS, &mut stream(seed, "moons")), ROWS, 2)?;
    let mut findings = Findings::default();
    let (mut increases, mut slopes) = (Vec::new(), Vec::new());
    for start in 0..setting.either(5, 50) {
        let mut flow = flow(seed + start)?;
        let before = nats(&flow, &x)?;
        flow.fit_base(&x, &Context::none())?;
        increases.push(nats(&flow, &x)? - before);
        slopes.extend(base_gradient(&flow, &x)?);
    }
    let (alternating, along) = training(setting, &x, true)?;
    let (joint, _) = training(setting, &x, false)?;
    increases.extend(along);
    findings.at_most(
        "largest increase of the negative log-likelihood by an update (nats)",
        increases.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ROUNDING,
        "the update is the maximum over the base's parameters; rounding of sums over 512 rows",
    );
    findings.at_most(
        "largest gradient of the base after an update",
        largest(slopes.iter().map(|s| s.abs())),
        ROUNDING,
        "zero at the maximum but for rounding",
    );
    findings.at_most(
        "largest distance of gradient descent on the base alone from the update",
        descent(seed, &x)?,
        1e-9,
        "steps shrink the distance by a half each near the optimum: 2^-60 of a start of order \
         one, and rounding",
    );
    show(alternating, joint, &mut findings);
    Ok(findings)
}

/// Both curves and their ends.
fn show(alternating: Vec<[f64; 2]>, joint: Vec<[f64; 2]>, findings: &mut Findings) {
    let mut plot = Plot::new(
        "Training of the same start with the base in closed form before each step, and by gradients.",
        Scale::log("steps"),
        Scale::linear("negative log-likelihood (nats)"),
    );
    for (name, curve) in [("closed form", alternating), ("gradients", joint)] {
        let last = curve.last().map_or(f64::NAN, |point| point[1]);
        findings.observed(
            &format!("base by {name}: negative log-likelihood at last (nats)"),
            last,
            None,
        );
        plot.series(name, Stroke::Line, curve);
    }
    findings.plots.push(plot);
}

/// A flow away from the identity, with its base away from N(0, I).
fn flow(seed: u64) -> Result<Flow<f64>> {
    let conditioner = Conditioner::perceptron(vec![16, 16]);
    let config =
        CouplingFlow { layers: 4, conditioner, act_norm: false, ..CouplingFlow::real_nvp() };
    let chain = config.build(2, 0, &mut stream(seed, "init"))?;
    let mut flow = Flow::new(Base::diagonal_normal(2)?, Box::new(chain))?;
    perturb(&mut flow, 0.2, &mut stream(seed, "perturb"))?;
    Ok(flow)
}

fn nats(flow: &Flow<f64>, x: &Batch<f64>) -> Result<f64> {
    let (log_density, _) = flow.evaluate(&x.values(), &Context::none())?;
    Ok(-log_density.iter().sum::<f64>() / log_density.len() as f64)
}

/// Locations, then log-scales.
fn base_gradient(flow: &Flow<f64>, x: &Batch<f64>) -> Result<Vec<f64>> {
    let mut gradients = forward_kl(flow, x, &Context::none(), Tape::recording())?.gradient;
    let (mut all, mut failure) = (Vec::new(), None);
    flow.base().visit(&mut |_, _, tensor| match gradients.of(tensor) {
        Ok(slopes) => all.extend_from_slice(slopes),
        Err(error) => failure = Some(error),
    });
    failure.map_or(Ok(all), |error| Err(error.into()))
}

fn base_values(flow: &Flow<f64>) -> Vec<f64> {
    let mut all = Vec::new();
    flow.base().visit(&mut |_, _, tensor| all.extend(tensor.values()));
    all
}

/// Descent along the natural gradient, sigma^2 times that of a location and half that of a
/// log-scale, by half of it a step, and its distance from the closed form.
fn descent(seed: u64, x: &Batch<f64>) -> Result<f64> {
    let mut flow = flow(seed)?;
    for _ in 0..60 {
        let (slopes, values) = (base_gradient(&flow, x)?, base_values(&flow));
        let dim = values.len() / 2;
        let moved: Vec<f64> = (0..2 * dim)
            .map(|i| {
                let metric = if i < dim { (2.0 * values[dim + i]).exp() } else { 0.5 };
                // Far from the optimum a step is at most of order one.
                values[i] - (0.5 * metric * slopes[i]).clamp(-1.0, 1.0)
            })
            .collect();
        let mut next = moved.chunks(dim);
        flow.visit_mut(&mut |name, _, tensor| match name.starts_with("base") {
            true => set_values(tensor, next.next().unwrap_or_default()),
            false => Ok(()),
        })?;
    }
    let ended = base_values(&flow);
    flow.fit_base(x, &Context::none())?;
    Ok(distance(&ended, &base_values(&flow)))
}

/// The curve of a training, with the base in closed form before each step or by gradients, and what
/// each update changed.
fn training(setting: &Setting, x: &Batch<f64>, closed: bool) -> Result<(Vec<[f64; 2]>, Vec<f64>)> {
    let mut flow = flow(setting.seed)?;
    let config = AdamConfig { learning_rate: 3e-3, ..AdamConfig::default() };
    let mut adam = Adam::new(config, &flow);
    let (mut points, mut changes) = (Vec::new(), Vec::new());
    for step in 0..setting.either(100, 1000) {
        if closed {
            let before = nats(&flow, x)?;
            flow.fit_base(x, &Context::none())?;
            changes.push(nats(&flow, x)? - before);
        }
        let mut loss = forward_kl(&flow, x, &Context::none(), Tape::recording())?;
        points.push([f64::from(step + 1), loss.value]);
        adam.update(&mut flow, &mut loss.gradient, 1.0, 1.0)?;
    }
    Ok((points, changes))
}

//! C25: the Russian roulette on the series of the log-det (review, Section 3.3.1).

use anyhow::Result;
use flows_core::rowwise::gradient_of_mean;
use flows_core::tensor::batch;
use flows_core::{Bijector, Context, Inverse, Parameters, Purpose, Tape, Values, normals, stream};
use flows_finite::residual::Determinant;
use flows_report::finding::{Cell, Criterion, Findings, Plot, Scale, Stroke, Table};
use nalgebra::DMatrix;

use crate::helper::perceptron::Perceptron;
use crate::helper::statistics::{Moments, largest};
use crate::section_3_3::power_series::partial_sums;
use crate::{Check, Claim, Setting};

pub(crate) const C25: Claim = Claim {
    id: "C25",
    title: "Unbiased log-dets by Russian roulette",
    review: "A random number of terms, each divided by the probability that it is reached, gives an \
             unbiased log-det, and the Neumann series likewise an unbiased gradient, at an expected cost \
             of a few terms; a series cut off at the same cost is biased (Section 3.3.1).",
    method: "A decreasing tanh layer in three dimensions with L = 0.6, one row a draw with a fresh number \
             of terms and a fresh probe: the mean log-det, and the mean gradient of the weights along two \
             directions, against the exact ones; the series cut off after two terms, the expected number, \
             likewise. In one dimension, where signs leave no noise, the variance over the number of \
             terms against its exact sum.",
    check: Check::Run(check),
};

const POINT: [f64; 3] = [0.3, -0.2, 0.5];
const CONSTANT: f64 = 0.6;

/// To stop before a further term.
const PROBABILITIES: [f64; 5] = [0.1, 0.2, 0.3, 0.5, 0.7];

/// One certain term and a fair coin for each further one: two terms are expected.
const ROULETTE: Determinant = Determinant::Roulette { exact_terms: 1, probability: 0.5, probes: 1 };

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    value(setting, &mut findings)?;
    gradient(setting, &mut findings)?;
    variance(setting, &mut findings)?;
    curves(&mut findings);
    Ok(findings)
}

fn layer(setting: &Setting) -> Perceptron {
    Perceptron::decreasing((POINT.len(), 5), CONSTANT, &mut stream(setting.seed, "weights"))
}

/// Log-dets of one point, each with a draw of its own.
fn draws(
    layer: &Perceptron,
    determinant: Determinant,
    point: &[f64],
    (count, seed): (usize, u64),
) -> Result<(Vec<f64>, f64)> {
    let mut flow = layer.residual(1, determinant)?;
    flow.set_purpose(Purpose::Training)?;
    let rng = &mut stream(seed, "draws");
    let (mut seen, mut passes) = (Vec::with_capacity(count), 0);
    let z = batch(point.to_vec(), 1, point.len())?;
    for _ in 0..count {
        flow.begin_step(rng)?;
        let mapped = flow.forward(&z, &Context::none(), &mut Tape::none())?;
        passes += mapped.work.network_passes;
        seen.push(mapped.log_det.values()[0]);
    }
    Ok((seen, passes as f64 / count as f64))
}

fn value(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let layer = layer(setting);
    let count = setting.either(10_000, 100_000);
    let flow = layer.residual(1, Determinant::Exact)?;
    let point = batch(POINT.to_vec(), 1, POINT.len())?;
    let exact = flow.forward(&point, &Context::none(), &mut Tape::none())?.log_det.values()[0];
    let truncated = partial_sums(&layer, &POINT, 2)[1];
    let series = Determinant::Series { terms: 2, probes: 1 };
    let (seen, passes) = draws(&layer, ROULETTE, &POINT, (count, setting.seed))?;
    let (cut, cut_passes) = draws(&layer, series, &POINT, (count, setting.seed))?;
    let (seen, cut) = (Moments::of(&seen), Moments::of(&cut));
    demands(findings, (&seen, &cut), exact);
    findings.at_most(
        "two terms: distance of the mean from the sum of two terms (s.e.)",
        cut.score(truncated),
        3.0,
        "what it estimates without bias is the truncated sum",
    );
    let spread = 3.0 * (0.5 / count as f64).sqrt();
    findings.between(
        "network passes a draw, roulette over two terms",
        passes / cut_passes,
        [1.0 - spread, 1.0 + spread],
        "the same expected cost: three standard errors of a geometric number of variance 2 and mean 2",
    );
    let (scores, bias) = ([&seen, &cut].map(|moments| moments.score(exact)), truncated - exact);
    findings.remark(format!(
        "At an expected cost of two terms the roulette is off by {:.1} standard errors ({:+.1e} nats), \
         the cut-off series by {:.0} ({bias:+.3} nats by its missing terms); the price is a variance of \
         {:.3} in place of {:.3}.",
        scores[0],
        seen.mean - exact,
        scores[1],
        seen.variance,
        cut.variance
    ));
    Ok(())
}

fn demands(findings: &mut Findings, (seen, cut): (&Moments, &Moments), exact: f64) {
    let bound = 3.0 * seen.mean_error;
    findings.demand(
        "roulette: mean minus exact log-det (nats)",
        (seen.mean - exact, Some(seen.mean_error)),
        Criterion::Between(-bound, bound),
        "unbiased: three standard errors of the mean over draws",
    );
    findings.demand(
        "two terms: mean minus exact log-det (nats)",
        (cut.mean - exact, Some(cut.mean_error)),
        Criterion::AtLeast(3.0 * cut.mean_error),
        "the missing terms all have one sign, so that the log-det is too high, beyond three standard \
         errors",
    );
}

/// The gradient of the mean log-det for the weights, one after another.
fn slopes(flow: &Inverse<f64>) -> Result<Vec<f64>> {
    let z = batch(POINT.to_vec(), 1, POINT.len())?;
    let mut tape = Tape::recording();
    let mapped = flow.forward(&z, &Context::none(), &mut tape)?;
    let mut gradients = gradient_of_mean(1.0, &mapped.log_det, tape)?;
    let mut tensors = Vec::new();
    flow.visit(&mut |name, _, tensor| {
        if name.contains("weight") || name.contains("bias") {
            tensors.push(tensor.clone());
        }
    });
    let mut all = Vec::new();
    for tensor in &tensors {
        all.extend_from_slice(gradients.of(tensor)?);
    }
    Ok(all)
}

fn gradient(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let mut flow = layer(setting).residual(1, ROULETTE)?;
    let exact = slopes(&flow)?;
    flow.set_purpose(Purpose::Training)?;
    let unit = |vector: Vec<f64>| -> Vec<f64> {
        let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
        vector.iter().map(|v| v / norm).collect()
    };
    let random = unit(normals(exact.len(), &mut stream(setting.seed, "direction")));
    let directions = [("its own direction", unit(exact.clone())), ("a random direction", random)];
    let rng = &mut stream(setting.seed, "gradients");
    let mut seen = [Vec::new(), Vec::new()];
    let along = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for _ in 0..setting.either(4_000, 40_000) {
        flow.begin_step(rng)?;
        let drawn = slopes(&flow)?;
        for (seen, (_, direction)) in seen.iter_mut().zip(&directions) {
            seen.push(along(&drawn, direction));
        }
    }
    for (seen, (name, direction)) in seen.iter().zip(&directions) {
        let seen = Moments::of(seen);
        let bound = 3.0 * seen.mean_error;
        findings.demand(
            &format!("roulette: mean minus exact gradient of the weights, along {name} (nats)"),
            (seen.mean - along(&exact, direction), Some(seen.mean_error)),
            Criterion::Between(-bound, bound),
            "the Neumann series is unbiased: three standard errors",
        );
    }
    Ok(())
}

/// Mean and variance of the estimate for the one-dimensional J = a, a function of the number of
/// terms alone; none where the variance is infinite.
fn exact_moments(a: f64, probability: f64) -> Option<(f64, f64)> {
    if a * a >= 1.0 - probability {
        return None;
    }
    let (mut estimate, mut mean, mut square) = (0.0, 0.0, 0.0);
    for k in 1..3000 {
        let reached = (1.0 - probability).powi(k - 1);
        if reached < f64::MIN_POSITIVE {
            break;
        }
        estimate -= (-a).powi(k) / (f64::from(k) * reached);
        mean += probability * reached * estimate;
        square += probability * reached * estimate * estimate;
    }
    Some((mean, square - mean * mean))
}

/// Exact variances over the Lipschitz constant.
fn curves(findings: &mut Findings) {
    let mut plot = Plot::new(
        "The exact variance grows without bound as L^2 comes near 1 - p.",
        Scale::linear("Lipschitz constant"),
        Scale::log("variance of the log-det (nats squared)"),
    );
    for probability in PROBABILITIES {
        let at = |i: i32| {
            let a = 0.02 * f64::from(i);
            exact_moments(-a, probability).map(|(_, variance)| [a, variance])
        };
        plot.series(format!("p = {probability}"), Stroke::Line, (5..50).filter_map(at));
    }
    findings.plots.push(plot);
}

fn variance(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let count = setting.either(2_000, 20_000);
    let mut table = Table::new(
        "Variance of the log-det (nats squared) in one dimension, J = -L, by the probability to stop: \
         exact, and over draws; infinite unless L^2 < 1 - p.",
        &["L", "p", "expected terms", "exact", "over draws"],
    );
    let mut scores = Vec::new();
    for constant in [0.3, 0.5, 0.8] {
        let layer = Perceptron::linear(DMatrix::from_element(1, 1, -constant));
        for probability in PROBABILITIES {
            let determinant = Determinant::Roulette { exact_terms: 1, probability, probes: 1 };
            let (seen, _) = draws(&layer, determinant, &[0.3], (count, setting.seed))?;
            let seen = Moments::of(&seen);
            let exact = exact_moments(-constant, probability);
            // The variance of a variance needs fourth moments.
            if constant.powi(4) < 0.5 * (1.0 - probability) {
                scores.extend(exact.map(|(_, variance)| seen.variance_score(variance)));
            }
            let exact = exact.map_or(f64::INFINITY, |(_, variance)| variance);
            let over: Cell = (seen.variance, seen.variance_error).into();
            table.row([
                constant.into(),
                probability.into(),
                (1.0 / probability).into(),
                exact.into(),
                over,
            ]);
        }
    }
    findings.at_most(
        "largest distance of a variance over draws from the exact sum (s.e.)",
        largest(scores),
        5.0,
        "a dozen variances with heavy tails: a normal number is beyond five once in two million",
    );
    findings.tables.push(table);
    Ok(())
}

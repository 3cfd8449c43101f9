//! C18: splines at their boundary and in single precision (review, Section 3.1.1).

use anyhow::Result;
use flows_core::{normals, stream};
use flows_finite::{CubicSpline, RationalQuadratic, Tails};
use flows_report::finding::{Findings, Plot, Scale, Stroke};

use crate::helper::scalar_map::{ScalarMap, evenly};
use crate::helper::spline_roots::{Bin, cardano, naive, stable};
use crate::helper::statistics::{distance, larger};
use crate::{Check, Claim, Setting};

pub(crate) const C18: Claim = Claim {
    id: "C18",
    title: "Splines at the boundary and in single precision",
    review: "Splines on an interval are continued by straight tails whose slope has to agree with the \
             spline's at the boundary, or the density jumps; inverses are roots of polynomials, where \
             formulas may lose digits, those of cubics in particular (Section 3.1.1).",
    method: "The loss of one datum that is moved over the boundary: identity tails with the boundary \
             slope held at 1, tails with the spline's own slope, and, for contrast, identity tails \
             around a spline of another slope. Inverses in single precision of nearly straight bins: \
             the two formulas for the rational-quadratic root, Cardano's and Viete's formulas for the \
             cubic one, and the library's splines.",
    check: Check::Run(check),
};

const BOUND: f64 = 3.0;
const BINS: usize = 8;

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    boundary(setting, &mut findings)?;
    formulas(setting, &mut findings)?;
    library(setting, &mut findings)?;
    Ok(findings)
}

/// Negative log-density of the flow to N(0, 1) by the map, at every x.
fn loss(map: &ScalarMap, x: &[f64]) -> Result<Vec<f64>> {
    let image = map.forward::<f64>(x)?;
    let normal = |z: &f64| 0.5 * (z * z + std::f64::consts::TAU.ln());
    Ok(image.value.iter().zip(image.log_slope).map(|(z, log)| normal(z) - log).collect())
}

fn boundary(setting: &Setting, findings: &mut Findings) -> Result<()> {
    // Distance from the boundary; the loss's slope of at most 100 makes 2e-7 of it.
    const NEAR: f64 = 1e-9;
    let random = normals::<f64>(3 * BINS + 1, &mut stream(setting.seed, "knots"));
    let pinned = ScalarMap::identity(RationalQuadratic::new(BINS, BOUND, Tails::Identity)?)
        .with(|k, raw| raw + random[k]);
    let sides = [BOUND - NEAR, BOUND + NEAR];
    let jump = |losses: &[f64]| losses[1] - losses[0];
    let mut worst = jump(&loss(&pinned, &sides)?).abs();
    let mut mismatch = 0.0;
    let outside = ScalarMap::identity(RationalQuadratic::new(BINS, BOUND, Tails::Identity)?);
    for slope in [0.1, 0.5, 2.0, 10.0] {
        let spline = with_own_tails(slope, &random)?;
        worst = larger(worst, jump(&loss(&spline, &sides)?).abs());
        let around = [loss(&spline, &sides[..1])?[0], loss(&outside, &sides[1..])?[0]];
        mismatch = larger(mismatch, (jump(&around) - slope.ln()).abs());
    }
    let reason = "2e-9 times the slope of the loss, at most 100";
    findings.at_most("tails that agree: jump of the loss over 2e-9 (nats)", worst, 2e-7, reason);
    findings.at_most(
        "identity tails around a spline of boundary slope d: jump of the loss against ln d",
        mismatch,
        2e-7,
        reason,
    );
    findings.plots.push(moved_datum(&pinned, &with_own_tails(0.5, &random)?, &outside)?);
    Ok(())
}

/// A spline whose slope at both ends is `slope`, and straight lines that continue it.
fn with_own_tails(slope: f64, random: &[f64]) -> Result<ScalarMap> {
    // softplus(raw) + 1e-3 = slope
    let raw = ((slope - 1e-3).exp() - 1.0).ln();
    let ends = [2 * BINS, 3 * BINS];
    let map = ScalarMap::identity(RationalQuadratic::new(BINS, BOUND, Tails::Linear)?);
    Ok(map.with(|k, start| if ends.contains(&k) { raw } else { start + random[k] }))
}

fn moved_datum(pinned: &ScalarMap, spline: &ScalarMap, outside: &ScalarMap) -> Result<Plot> {
    let x = evenly([BOUND - 0.3, BOUND + 0.3], 241);
    let (spline, tail) = (loss(spline, &x)?, loss(outside, &x)?);
    let mixed = x.iter().zip(spline.iter().zip(&tail));
    let mixed = mixed.map(|(&x, (&a, &b))| [x, if x < BOUND { a } else { b }]).step_by(6);
    let mut plot = Plot::new(
        "Loss of one datum moved over the boundary at 3.",
        Scale::linear("position"),
        Scale::linear("loss (nats)"),
    );
    let pairs = |y: &[f64]| x.iter().zip(y).map(|(&x, &y)| [x, y]).collect::<Vec<_>>();
    plot.series("slope 1, identity tails", Stroke::Line, pairs(&loss(pinned, &x)?));
    plot.series("slope 0.5, its own tails", Stroke::Line, pairs(&spline));
    plot.series("slope 0.5, identity tails", Stroke::Markers, mixed);
    Ok(plot)
}

/// Distances from straight bins, as powers of ten.
const POWERS: std::ops::RangeInclusive<i32> = -6..=-1;

fn formulas(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let draws = normals::<f64>(2 * setting.either(50, 1000), &mut stream(setting.seed, "slopes"));
    let mut curves = [const { Vec::new() }; 3];
    for power in POWERS {
        let size = 10.0_f64.powi(power);
        for (curve, error) in curves.iter_mut().zip(errors(size, &draws)) {
            curve.push([size, error]);
        }
    }
    let worst = |curve: &[[f64; 2]]| curve.iter().map(|p| p[1]).fold(0.0, larger);
    let [naive, stable, cubic] = [0, 1, 2].map(|i| worst(&curves[i]));
    // About ten roundings of 6e-8 of numbers up to 2, slopes of the bins at least 0.7.
    let bound = 10.0 * 2.0 * 6e-8 / 0.7;
    findings.at_most(
        "rational-quadratic root without cancellation, single precision: largest error in a bin of 1",
        stable,
        bound,
        "ten roundings of 6e-8 of numbers up to 2, over slopes of at least 0.7",
    );
    let lost = "a small leading coefficient cancels digits: more than rounding is lost";
    let quantity = "the usual formula of that root: largest error";
    findings.at_least(quantity, naive, bound, lost);
    findings.at_least("Cardano's and Viete's formulas: largest error", cubic, bound, lost);
    let mut plot = Plot::new(
        "Error of roots in single precision by the distance of a bin's slopes from 1.",
        Scale::log("distance from a straight bin"),
        Scale::log("largest error"),
    );
    let names = ["quadratic, usual formula", "quadratic, without cancellation", "cubic, formulas"];
    for (name, points) in names.into_iter().zip(curves) {
        plot.series(name, Stroke::Measured, points);
    }
    findings.plots.push(plot);
    Ok(())
}

/// The largest errors of the three formulas for bins with slopes 1 + `size` times the draws.
fn errors(size: f64, draws: &[f64]) -> [f64; 3] {
    let mut errors = [0.0_f64; 3];
    for pair in draws.as_chunks::<2>().0 {
        let [left, right] = pair.map(|d| (1.0 + size * d.clamp(-3.0, 3.0)) as f32);
        let bin = Bin { left, right };
        for y in (1..20).map(|i| i as f32 / 20.0) {
            let roots = [
                (naive(bin, y), bin.exact(y, Bin::rational)),
                (stable(bin, y), bin.exact(y, Bin::rational)),
                (cardano(bin, y), bin.exact(y, Bin::cubic)),
            ];
            for (error, (root, exact)) in errors.iter_mut().zip(roots) {
                // No number at all counts as the whole bin.
                *error = error.max((f64::from(root) - exact).abs().min(1.0));
            }
        }
    }
    errors
}

/// The library's inverses in single precision against those in double precision.
fn library(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let y = evenly([-BOUND, BOUND], setting.either(501, 5001));
    let mut worst = [0.0; 2];
    for power in POWERS {
        let random = normals::<f64>(4 * BINS, &mut stream(setting.seed, &format!("bins {power}")));
        let moved = |k: usize, start: f64| {
            f64::from((start + 10.0_f64.powi(power) * random[k].clamp(-3.0, 3.0)) as f32)
        };
        let maps = [
            ScalarMap::identity(RationalQuadratic::new(BINS, BOUND, Tails::Identity)?).with(moved),
            ScalarMap::identity(CubicSpline::new(BINS, BOUND, Tails::Identity)?).with(moved),
        ];
        for (worst, map) in worst.iter_mut().zip(maps) {
            let (single, double) = (map.inverse::<f32>(&y)?, map.inverse::<f64>(&y)?);
            // log_slope is that of the inverse: the steepest place of the inverse.
            let steepest = double.log_slope.iter().fold(0.0_f64, |s, log| s.max(log.exp()));
            let error = distance(&single.value, &double.value);
            *worst = larger(*worst, error / (1.0 + steepest));
        }
    }
    // Knots are sums of up to 8 widths and heights, each some roundings of 6e-8 of the interval.
    let bound = 8.0 * 8.0 * 6e-8 * BOUND;
    let reason = "8 sums of about 8 roundings of 6e-8 of the interval, in x and in y";
    findings.at_most(
        "rational-quadratic splines, single precision: largest error over 1 + steepest slope",
        worst[0],
        bound,
        reason,
    );
    findings.at_most("cubic splines: the same", worst[1], bound, reason);
    Ok(())
}

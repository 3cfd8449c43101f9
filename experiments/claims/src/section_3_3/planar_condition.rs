//! C27: when planar, radial and Sylvester layers can be inverted, and what their determinants cost
//! (review, Section 3.3.2).

use anyhow::Result;
use flows_core::tensor::{batch, set_values};
use flows_core::{
    Architecture, Bijector, Chain, Context, Parameters, Tape, Values, normals, stream,
};
use flows_finite::architecture::{Columns, Direction, LemmaFlow, LemmaLayer, SylvesterConfig};
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};
use nalgebra::DMatrix;

use crate::helper::perceptron::random_matrix;
use crate::helper::statistics::{distance, exponent, largest};
use crate::helper::timing::medians;
use crate::{Check, Claim, Setting};

pub(crate) const C27: Claim = Claim {
    id: "C27",
    title: "Invertibility of planar, radial and Sylvester layers",
    review: "z + v tanh(w.z + b) is invertible if w.v > -1, a radial layer if beta > -alpha; a Sylvester \
             layer with one unit is planar; the determinant lemma turns a D x D determinant into one of \
             M x M, O(M^3 + M^2 D) in place of O(D^3) (Section 3.3.2).",
    method: "The free maps along w and along a ray, on either side of the condition: slopes, preimages, \
             and the integral of the density that one gets by taking one preimage for the only one. The \
             library's layers, which are parametrised so that the condition holds, with thousands of wild \
             parameters: sign of the determinant and round trip. One Sylvester unit against the planar \
             layer of equal w and v. Both sides of the lemma by elimination, for value and time.",
    check: Check::Run(check),
};

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    condition(&mut findings);
    curves(&mut findings);
    parametrised(setting, &mut findings)?;
    one_unit(setting, &mut findings)?;
    lemma(setting, &mut findings);
    Ok(findings)
}

/// a = w.z goes to a + s tanh(a), s = w.v (b = 0).
fn along(s: f64, a: f64) -> f64 {
    a + s * a.tanh()
}

/// The signed distance r from the centre goes to r + beta r / (1 + |r|) (alpha = 1).
fn ray(beta: f64, r: f64) -> f64 {
    r + beta * r / (1.0 + r.abs())
}

/// A map of the line with a parameter that has to be above -1.
type Curve = fn(f64, f64) -> f64;

const MAPS: [(&str, Curve); 2] = [("planar, w.v", along), ("radial, beta / alpha", ray)];

/// How often a map of the line takes a value, by its changes of sign on a grid.
fn preimages(map: impl Fn(f64) -> f64, value: f64) -> usize {
    let grid: Vec<bool> =
        (0..20_000).map(|i| map((f64::from(i) - 9999.5) * 1e-3) > value).collect();
    grid.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// The integral of p(z) / |f'(z)| over x, z a preimage of x found by bisection, p standard normal.
fn mass(map: impl Fn(f64) -> f64) -> f64 {
    const STEP: f64 = 1e-3;
    let density = |x: f64| {
        let (mut low, mut high) = (-40.0, 40.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if map(middle) > x { high = middle } else { low = middle }
        }
        let z = 0.5 * (low + high);
        let slope = (map(z + 1e-5) - map(z - 1e-5)) / 2e-5;
        (-0.5 * z * z).exp() / (std::f64::consts::TAU.sqrt() * slope.abs())
    };
    // Midpoints keep away from the kinks at 0.
    (-12_000..12_000).map(|i| STEP * density((f64::from(i) + 0.5) * STEP)).sum()
}

/// Both maps are steepest or flattest at the origin, with slope 1 + s.
fn condition(findings: &mut Findings) {
    let mut table = Table::new(
        "Maps of the line on either side of the condition, and the density by one preimage.",
        &["layer", "parameter", "smallest slope", "preimages of 0.01", "integral of the density"],
    );
    let (mut sound, mut broken, mut folds) = (Vec::new(), Vec::new(), f64::INFINITY);
    for (layer, map) in MAPS {
        for s in [2.0, 0.0, -0.5, -0.9, -1.5, -2.0, -3.0] {
            let (count, mass) = (preimages(|z| map(s, z), 0.01), mass(|z| map(s, z)));
            let least = (1.0 + s).min(1.0);
            table.row([layer.into(), s.into(), least.into(), count.into(), mass.into()]);
            if s > -1.0 {
                sound.push((mass - 1.0).abs());
            } else {
                broken.push(mass);
                folds = folds.min(count as f64);
            }
        }
    }
    findings.at_most(
        "condition holds: largest deviation of the integral from 1",
        largest(sound),
        1e-3,
        "midpoints 1e-3 apart: 4e-8 times a jump of the density's slope of some 1000, at worst",
    );
    findings.at_most(
        "condition violated: largest integral",
        largest(broken),
        0.62,
        "bisection from outside never returns a point between the outer preimages of 0, at least |z| < \
         1/2, which holds 38 percent",
    );
    findings.at_least(
        "condition violated: fewest preimages of 0.01",
        folds,
        3.0,
        "a continuous curve that falls at 0 and rises at both ends crosses 0.01 three times",
    );
    findings.tables.push(table);
}

fn curves(findings: &mut Findings) {
    let mut plot = Plot::new(
        "Planar layers along w: below w.v = -1 the curve turns back, and 0 has three preimages.",
        Scale::linear("w.z"),
        Scale::linear("w.z'"),
    );
    for s in [1.0, -0.5, -1.0, -2.0, -3.0] {
        let points = (-60..=60).map(|i| 0.05 * f64::from(i)).map(|a| [a, along(s, a)]);
        plot.series(format!("w.v = {s}"), Stroke::Line, points);
    }
    findings.plots.push(plot);
}

fn chain(dim: usize, layer: LemmaLayer, seed: u64) -> Result<Chain<f64>> {
    let config = LemmaFlow { layers: 1, layer, formula: Direction::Sampling, act_norm: false };
    Ok(config.build(dim, 0, &mut stream(seed, "init"))?)
}

/// Parameters drawn from N(0, 3^2), many times, at points from N(0, 2^2).
fn parametrised(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let (dim, rows, none) = (3, 128, Context::none());
    let rng = &mut stream(setting.seed, "wild parameters");
    let sylvester = SylvesterConfig { units: Some(2), basis: Columns::Householder };
    for (name, layer) in [
        ("planar", LemmaLayer::Planar),
        ("radial", LemmaLayer::Radial),
        ("Sylvester", LemmaLayer::Sylvester(sylvester)),
    ] {
        let mut flow = chain(dim, layer, setting.seed)?;
        let (mut unsound, mut trip) = (0_usize, Vec::new());
        for _ in 0..setting.either(300, 5000) {
            flow.visit_mut(&mut |_, _, tensor| {
                let count = tensor.values().len();
                let wild: Vec<f64> = normals::<f64>(count, rng).iter().map(|n| 3.0 * n).collect();
                set_values(tensor, &wild)
            })?;
            let points: Vec<f64> =
                normals::<f64>(rows * dim, rng).iter().map(|n| 2.0 * n).collect();
            let z = batch(points.clone(), rows, dim)?;
            let there = flow.forward(&z, &none, &mut Tape::none())?;
            unsound += there.log_det.values().iter().filter(|l| !l.is_finite()).count();
            let smallest = there.log_det.values().into_iter().fold(0.0, f64::min);
            let size = largest(there.value.values().iter().map(|v| v.abs())).max(1.0);
            let back = flow.inverse(&there.value, &none, &mut Tape::none())?.value.values();
            // Rounding of x moves z by up to the inverse of the smallest slope, at least det / slopes.
            trip.push(distance(&back, &points) * smallest.exp() / (size * size));
        }
        demands(findings, name, unsound as f64, largest(trip));
    }
    Ok(())
}

fn demands(findings: &mut Findings, name: &str, unsound: f64, trip: f64) {
    findings.at_most(
        &format!("{name}: log-dets that are not finite, over wild parameters"),
        unsound,
        0.0,
        "the determinant is positive for every value of the parameters",
    );
    findings.at_most(
        &format!("{name}: largest round trip error, times the smallest determinant"),
        trip,
        1e-12,
        "rounding of 1e-16 in x, amplified by the inverse of a slope that is no smaller than the \
         determinant over the steeper slopes, of order 10 to 1000",
    );
}

/// z + e1 r tanh(r~ z1 + b) as a Sylvester layer and as a planar one.
fn one_unit(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let (dim, rows, none) = (5, 500, Context::none());
    let config = SylvesterConfig { units: Some(1), basis: Columns::Triangular };
    let mut sylvester = chain(dim, LemmaLayer::Sylvester(config), setting.seed)?;
    let mut planar = chain(dim, LemmaLayer::Planar, setting.seed)?;
    let points = batch(normals(rows * dim, &mut stream(setting.seed, "points")), rows, dim)?;
    let mut worst = Vec::new();
    for [free, free_tilde, bias] in [[0.8, 1.1, 0.3], [-0.6, 1.4, -0.5], [-2.0, 2.5, 0.1]] {
        sylvester.visit_mut(&mut |name, _, tensor| match name.rsplit('.').next() {
            Some("r") => set_values(tensor, &[free]),
            Some("r_tilde") => set_values(tensor, &[free_tilde]),
            _ => set_values(tensor, &[bias]),
        })?;
        let [r, r_tilde] = [free, free_tilde].map(|free: f64| 0.999 * free.tanh());
        // The planar layer keeps w.v above -1 by softplus: its free w.v is what this takes there.
        let dot = (1.0 + r * r_tilde).exp_m1().ln();
        let first = |value: f64| [vec![value], vec![0.0; dim - 1]].concat();
        planar.visit_mut(&mut |name, _, tensor| match name.rsplit('.').next() {
            Some("weight") => set_values(tensor, &first(r_tilde)),
            Some("direction") => set_values(tensor, &first(dot / r_tilde)),
            _ => set_values(tensor, &[bias]),
        })?;
        let one = sylvester.forward(&points, &none, &mut Tape::none())?;
        let other = planar.forward(&points, &none, &mut Tape::none())?;
        worst.push(distance(&one.value.values(), &other.value.values()));
        worst.push(distance(&one.log_det.values(), &other.log_det.values()));
    }
    findings.at_most(
        "one Sylvester unit against the planar layer: largest difference of values and log-dets",
        largest(worst),
        1e-13,
        "one map by two formulas: rounding, softplus and its inverse included",
    );
    Ok(())
}

/// det(I + V W^T) against det(I + W^T V), both by elimination.
fn lemma(setting: &Setting, findings: &mut Findings) {
    let units = 8;
    let rng = &mut stream(setting.seed, "factors");
    let mut plot = Plot::new(
        "Time of one determinant, D x D and by the lemma with M = 8.",
        Scale::log("features D"),
        Scale::log("seconds, median of 9"),
    );
    let (mut errors, mut curves) = (Vec::new(), [Vec::new(), Vec::new()]);
    let sizes: &[usize] = setting.either(&[64, 128, 256], &[64, 128, 256, 512]);
    for &dim in sizes {
        let scale = 0.5 / (dim as f64).sqrt();
        let [v, w] = [(); 2].map(|()| random_matrix(dim, units, rng) * scale);
        let dense = || (DMatrix::identity(dim, dim) + &v * w.transpose()).determinant();
        let narrow = || (DMatrix::identity(units, units) + w.tr_mul(&v)).determinant();
        errors.push((dense() / narrow() - 1.0).abs());
        let seconds = medians([&dense, &narrow]);
        curves.iter_mut().zip(seconds).for_each(|(curve, s)| curve.push([dim as f64, s]));
    }
    findings.at_most(
        "determinant lemma: largest relative difference of both sides",
        largest(errors),
        1e-10,
        "elimination of D = 512 well-conditioned equations loses some D^2 epsilon, 6e-11",
    );
    let last = curves.each_ref().map(|curve| curve.last().map_or(f64::NAN, |p| p[1]));
    findings.at_least(
        "time of the D x D determinant over the lemma's, at the largest D",
        last[0] / last[1],
        10.0,
        "D^3 / 3 against M^2 D products, a ratio above 300 from D = 256 on; a factor 30 is left to the \
         clock",
    );
    for (name, curve) in ["D x D", "by the lemma"].into_iter().zip(curves) {
        findings.observed(&format!("exponent of the time over D, {name}"), exponent(&curve), None);
        plot.series(name, Stroke::Measured, curve);
    }
    findings.plots.push(plot);
}

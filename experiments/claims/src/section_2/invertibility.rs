//! C3 and C4: maps are undone, and the log-determinants of both directions cancel (review, Section
//! 2.1).

use std::sync::Arc;

use anyhow::Result;
use flows_continuous::ContinuousFlow;
use flows_core::tensor::batch;
use flows_core::{Architecture, Batch, Context, Flow, Real, Tape, Values, normals, stream};
use flows_finite::architecture::{CouplingFlow, ResidualFlow};
use flows_report::finding::{Cell, Findings, Plot, Scale, Stroke, Table};

use crate::helper::specimen::{self, Limit, Specimen};
use crate::helper::statistics::largest;
use crate::{Check, Claim, Setting};

pub(crate) const C3: Claim = Claim {
    id: "C3",
    title: "Invertibility",
    review: "A flow's transformation is a diffeomorphism: T is invertible, in formulae, by a search \
             or by integrating backwards (Sections 2.1, 3 and 4).",
    method: "The largest distance of z from T^-1(T(z)) over draws from the base, for one layer of \
             every kind and for every preset, away from their start, for one, two and three features, \
             in f64; for presets also in f32 with the same weights; by depth; and for a continuous \
             flow by the tolerance of its solver.",
    check: Check::Run(round_trips),
};

pub(crate) const C4: Claim = Claim {
    id: "C4",
    title: "Inverse consistency",
    review: "The Jacobian of the inverse is the inverse of the Jacobian, so that log-determinants at \
             matching points are negatives of each other (Section 2.1).",
    method: "The largest sum of log |det| of T at z and of T^-1 at T(z), over 1 + its magnitude, \
             as in C3.",
    check: Check::Run(cancellation),
};

/// Tolerance of continuous flows.
const TOLERANCE: f64 = 1e-8;

/// What rounding leaves: see the reason where it is used.
const ROUNDING: f64 = 1e-9;

const ROUNDING_REASON: &str = "some thousand operations exact to 1e-16, or a search that ends at a \
    few of these, amplified by condition numbers up to some thousands";

/// The largest error of values, and that of log-determinants.
fn round_trip<E: Real>(flow: &Flow<E>, rows: usize, seed: u64) -> Result<[f64; 2]> {
    let dim = flow.dim();
    let z: Batch<E> = batch(normals(rows * dim, &mut stream(seed, "z")), rows, dim)?;
    let there = flow.bijector().forward(&z, &Context::none(), &mut Tape::none())?;
    let back = flow.bijector().inverse(&there.value, &Context::none(), &mut Tape::none())?;
    let apart = |a: Vec<E>, b: Vec<E>| -> Vec<[f64; 2]> {
        a.iter().zip(&b).map(|(a, b)| [a.as_f64(), b.as_f64()]).collect()
    };
    let values = apart(back.value.values(), z.values());
    let log_dets = apart(there.log_det.values(), back.log_det.values());
    Ok([
        largest(values.iter().map(|[a, b]| (a - b).abs())),
        largest(log_dets.iter().map(|[a, b]| (a + b).abs() / (1.0 + a.abs()))),
    ])
}

fn collection(dim: usize, setting: &Setting) -> Result<Vec<Specimen>> {
    let mut all = specimen::layers(dim, setting.seed)?;
    all.extend(specimen::flows(dim, TOLERANCE, setting)?);
    Ok(all)
}

/// A layer or a flow with both errors for each of three dimensions.
struct Errors {
    name: String,
    limit: Limit,
    errors: [[f64; 2]; 3],
}

fn errors(setting: &Setting) -> Result<Vec<Errors>> {
    let rows = setting.either(64, 1000);
    let mut all: Vec<Errors> = Vec::new();
    for dim in 1..=3 {
        for (index, one) in collection(dim, setting)?.into_iter().enumerate() {
            let found = round_trip(&one.flow, rows, setting.seed)?;
            match all.get_mut(index) {
                Some(before) => before.errors[dim - 1] = found,
                None => {
                    let (name, limit) = (one.name, one.limit);
                    all.push(Errors { name, limit, errors: [found; 3] });
                }
            }
        }
    }
    Ok(all)
}

/// The table of one of the two errors, and its criteria.
fn demand(setting: &Setting, which: usize, what: &str, findings: &mut Findings) -> Result<()> {
    let title = format!("Largest {what} by number of features D.");
    let mut table = Table::new(&title, &["layer or flow", "slow direction", "D=1", "D=2", "D=3"]);
    let (mut formula, mut search, mut solver) = (Vec::new(), Vec::new(), Vec::new());
    for Errors { name, limit, errors } in errors(setting)? {
        let errors = errors.map(|error| error[which]);
        match limit {
            Limit::Rounding => formula.extend(errors),
            Limit::Search => search.extend(errors),
            Limit::Solver => solver.extend(errors),
        }
        let [one, two, three] = errors.map(Cell::from);
        table.row([name.into(), limit.name().into(), one, two, three]);
    }
    for (kind, errors) in [("by formula", formula), ("by search", search)] {
        findings.at_most(
            &format!("inverses {kind}: largest {what}"),
            largest(errors),
            ROUNDING,
            ROUNDING_REASON,
        );
    }
    findings.at_most(
        &format!("continuous flows: largest {what}"),
        largest(solver),
        10.0 * TOLERANCE,
        "ten times the solver's tolerance of 1e-8",
    );
    findings.tables.push(table);
    Ok(())
}

fn round_trips(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    demand(setting, 0, "round-trip error", &mut findings)?;
    spline(setting, &mut findings)?;
    precisions(setting, &mut findings)?;
    depths(setting, &mut findings)?;
    tolerances(setting, &mut findings)?;
    Ok(findings)
}

fn cancellation(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    demand(setting, 1, "sum of log-determinants", &mut findings)?;
    Ok(findings)
}

/// One spline layer, which has to be as exact as formulae can be.
fn spline(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let all = specimen::layers(2, setting.seed)?;
    let mut errors = Vec::new();
    for one in all.iter().filter(|one| one.name.starts_with("rational-quadratic spline")) {
        errors.push(round_trip(&one.flow, 10_000, setting.seed)?[0]);
    }
    findings.at_most(
        "rational-quadratic spline layers: largest round-trip error over 10,000 draws",
        largest(errors),
        1e-12,
        "the claim's demand: some hundred roundings of numbers up to 4, amplified by slopes up to \
         ten",
    );
    Ok(())
}

/// Presets in both precisions.
fn precisions(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let (rows, tolerance) = (setting.either(64, 1000), 1e-5);
    let mut table = Table::new(
        "The same weights in double and in single precision, D = 3; continuous flows at 1e-5.",
        &["flow", "slow direction", "f64", "f32", "ratio / 2^29"],
    );
    let mut ratios = Vec::new();
    for (wide, narrow) in specimen::both_precisions(3, tolerance, setting)? {
        let fine = round_trip(&wide.flow, rows, setting.seed)?[0];
        let coarse = round_trip(&narrow, rows, setting.seed)?[0];
        let ratio = coarse / fine / 2.0_f64.powi(29);
        if wide.limit != Limit::Solver {
            ratios.push(ratio);
        }
        let [fine, coarse, ratio] = [fine, coarse, ratio].map(Cell::from);
        table.row([wide.name.into(), wide.limit.name().into(), fine, coarse, ratio]);
    }
    findings.at_most(
        "finite flows: largest error in f32 over that in f64, over 2^29",
        largest(ratios),
        100.0,
        "roundings are 2^29 times as large and go through the same map; a factor of a hundred \
         between the largest of few draws",
    );
    findings.tables.push(table);
    Ok(())
}

/// A config for a number of layers.
type OfDepth = fn(usize) -> Arc<dyn Architecture>;

/// Round-trip errors of ever deeper flows.
fn depths(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let mut plot = Plot::new(
        "Round-trip errors by depth, D = 2: rounding adds up.",
        Scale::log("layers"),
        Scale::log("largest round-trip error"),
    );
    let (rows, depths) = setting.either((64, vec![1, 4, 16]), (1000, vec![1, 2, 4, 8, 16, 32]));
    let architectures: [(&str, OfDepth); 3] = [
        ("Real NVP", |layers| Arc::new(CouplingFlow { layers, ..CouplingFlow::real_nvp() })),
        ("NSF", |layers| Arc::new(CouplingFlow { layers, ..CouplingFlow::nsf() })),
        ("residual", |layers| Arc::new(ResidualFlow { layers, ..ResidualFlow::default() })),
    ];
    for (name, flow) in architectures {
        let mut points = [Vec::new(), Vec::new()];
        for &depth in &depths {
            let flow = flow(depth);
            let wide = specimen::of_architecture(name, &flow, 2, TOLERANCE, setting.seed)?.flow;
            let narrow = specimen::narrow(&wide, &flow, TOLERANCE, setting.seed)?;
            points[0].push([depth as f64, round_trip(&wide, rows, setting.seed)?[0]]);
            points[1].push([depth as f64, round_trip(&narrow, rows, setting.seed)?[0]]);
        }
        for (precision, points) in ["f64", "f32"].into_iter().zip(points) {
            plot.series(format!("{name}, {precision}"), Stroke::Measured, points);
        }
    }
    findings.plots.push(plot);
    Ok(())
}

/// The round trip of a continuous flow, solved more and more accurately.
fn tolerances(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let ffjord: Arc<dyn Architecture> = Arc::new(ContinuousFlow::ffjord());
    let mut points = Vec::new();
    for exponent in 2..=10 {
        let tolerance = 10.0_f64.powi(-exponent);
        let one = specimen::of_architecture("FFJORD", &ffjord, 2, tolerance, setting.seed)?;
        let error = round_trip(&one.flow, setting.either(64, 1000), setting.seed)?[0];
        points.push([tolerance, error]);
    }
    findings.at_most(
        "FFJORD: largest round-trip error over the tolerance, from 1e-2 to 1e-10",
        largest(points.iter().map(|[tolerance, error]| error / tolerance)),
        10.0,
        "an error of a tolerance in each of the few steps of either direction",
    );
    let mut plot = Plot::new(
        "FFJORD, D = 2: integrating backwards undoes integrating forwards to the tolerance.",
        Scale::log("tolerance of the solver"),
        Scale::log("largest round-trip error"),
    );
    plot.series("tolerance", Stroke::Reference, points.iter().map(|[x, _]| [*x, *x]));
    plot.series("round trip", Stroke::Measured, points);
    findings.plots.push(plot);
    Ok(())
}

//! C37: a flow of a unimodal base leaves mass between modes (review, Section 5.5).

use anyhow::Result;
use flows_continuous::{Adaptive, Solver};
use flows_core::tensor::batch;
use flows_core::{
    Architecture, Base, Bijector, Context, Flow, Stream, Tape, Values, normals, stream,
};
use flows_finite::architecture::{AutoregressiveFlow, Conditioner, ResidualFlow};
use flows_report::finding::{Cell, Findings, Plot, Scale, Stroke, Table};

use crate::helper::small_field::small_field;
use crate::helper::standard_normal;
use crate::helper::training::{Aim, Learner};
use crate::{Check, Claim, Setting};

pub(crate) const C37: Claim = Claim {
    id: "C37",
    title: "Bridges between modes",
    review: "Base and target space are homeomorphic: a unimodal base can only approach a target with \
             separated modes, with a bridge of mass between them for every flow (Section 5.5).",
    method: "Two normals of deviation 0.25 at -s and s on the line, learned from draws by five flows \
             of N(0, 1) for several s, in f64. The mass a flow leaves in the gap [-s/2, s/2] is exact: \
             Phi(T^-1(s/2)) - Phi(T^-1(-s/2)). Where T has slopes of at most L over the gap, its \
             preimage is at least s / L long, so that the mass is at least Phi(a + s / L) - Phi(a) \
             with a = T^-1(-s/2); L is measured. A mixture of two normals as the base, without any \
             layer, fitted by expectation-maximisation, is held against the target's own mass.",
    check: Check::Run(check),
};

/// Deviation of a mode.
const DEVIATION: f64 = 0.25;

/// The flows that learn.
const FLOWS: [&str; 5] =
    ["NSF, 2 layers", "NAF, 2 layers", "residual, 4 layers", "residual, 12 layers", "FFJORD"];

/// Draws that a mixture is fitted to.
const MIXTURE_ROWS: usize = 20_000;

/// Points of the gap's preimage at which slopes are looked at.
const POINTS: usize = 4000;

fn check(setting: &Setting) -> Result<Findings> {
    let separations = setting.either(vec![1.0, 2.0], vec![1.0, 2.0, 3.0]);
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Mass in the gap.",
        &["flow", "s", "steepest slope L", "least mass for L", "mass in the gap", "target's mass"],
    );
    let (y, [x, slope]) =
        (Scale::log("mass in the gap"), [Scale::linear("s"), Scale::log("L / s")]);
    let mut by_separation = Plot::new("Mass in the gap by separation.", x, y.clone());
    let mut by_slope = Plot::new(
        "Mass in the gap by the map's steepest slope over it, with the least mass that it allows.",
        slope,
        y,
    );
    let (mut all, mut bounds) = (Vec::new(), Vec::new());
    for name in FLOWS {
        let gaps: Vec<Gap> =
            separations.iter().map(|&s| learned(name, s, setting)).collect::<Result<_>>()?;
        for (&s, gap) in separations.iter().zip(&gaps) {
            let target = standard_normal::cdf(-0.5 * s / DEVIATION)
                - standard_normal::cdf(-1.5 * s / DEVIATION);
            let [separation, slope, bound, mass, target] =
                [s, gap.slope, gap.bound, gap.mass, target].map(Cell::from);
            table.row([name.into(), separation, slope, bound, mass, target]);
        }
        let pairs = || separations.iter().zip(&gaps);
        by_separation.series(name, Stroke::Measured, pairs().map(|(&s, gap)| [s, gap.mass]));
        by_slope.series(name, Stroke::Markers, pairs().map(|(s, gap)| [gap.slope / s, gap.mass]));
        bounds.extend(pairs().map(|(s, gap)| [gap.slope / s, gap.bound]));
        all.extend(gaps);
    }
    bounds.sort_by(|a, b| a[0].total_cmp(&b[0]));
    by_slope.series("least mass for L", Stroke::Reference, bounds);
    demand(&all, &mut findings);
    for &s in &separations {
        without_bridge(s, setting.seed, &mut findings, &mut table)?;
    }
    findings.tables.push(table);
    findings.plots.extend([by_separation, by_slope]);
    Ok(findings)
}

fn demand(gaps: &[Gap], findings: &mut Findings) {
    let least = |value: fn(&Gap) -> f64| gaps.iter().map(value).fold(f64::INFINITY, f64::min);
    findings.at_least(
        "least mass in the gap, over flows and separations",
        least(|gap| gap.mass),
        f64::MIN_POSITIVE,
        "the preimage of an interval under a continuous map is an interval of positive length",
    );
    findings.at_least(
        "least mass over the least that its steepest slope allows",
        least(|gap| gap.mass / gap.bound),
        0.999,
        "the mean value theorem; slopes are looked at in 4,000 points, between which the maximum \
         may lie a little above",
    );
}

/// A base of two modes needs no bridge: a mixture fitted to draws has the target's mass in the gap, as
/// far as its moments are known.
fn without_bridge(s: f64, seed: u64, findings: &mut Findings, table: &mut Table) -> Result<()> {
    let mut base = Base::<f64>::mixture(1, 2, &mut stream(seed, "base"))?;
    let rows = draw(s, MIXTURE_ROWS, &mut stream(seed, "mixture rows"));
    base.fit(&batch(rows, MIXTURE_ROWS, 1)?)?;
    let cells = 20_000;
    let at = |i: usize| -0.5 * s + s * (i as f64 + 0.5) / cells as f64;
    let points = batch((0..cells).map(at).collect(), cells, 1)?;
    let log_prob = base.log_prob(&points, &mut Tape::none())?.values();
    let mass = log_prob.iter().map(|l| l.exp()).sum::<f64>() * s / cells as f64;
    let target =
        standard_normal::cdf(-0.5 * s / DEVIATION) - standard_normal::cdf(-1.5 * s / DEVIATION);
    // The gap begins z deviations from a mode. An error d of its mean, in deviations, and one e of
    // ln deviation change ln mass by z d + z^2 e; their standard errors are 1/sqrt(n), 1/sqrt(2n).
    let z = 0.5 * s / DEVIATION;
    let n = 0.5 * MIXTURE_ROWS as f64;
    let off = 3.0 * z * (1.0 + z / std::f64::consts::SQRT_2) / n.sqrt();
    findings.at_most(
        &format!("mixture base, s = {s}: distance of ln mass in the gap from the target's"),
        (mass / target).ln().abs(),
        off,
        "three standard errors of mean and deviation of a mode, fitted to 10,000 draws each",
    );
    let unknown = || Cell::from("-");
    let [separation, mass, target] = [s, mass, target].map(Cell::from);
    table.row(["mixture base".into(), separation, unknown(), unknown(), mass, target]);
    Ok(())
}

/// What a flow does to the gap after training.
fn learned(name: &str, s: f64, setting: &Setting) -> Result<Gap> {
    let steps = setting.either(60, 400);
    let mut learner = Learner::new(flow(name, setting.seed)?, 5e-3, steps, setting.seed);
    learner.learn(steps, Aim::Likelihood, |rows, rng| draw(s, rows, rng))?;
    gap(learner.flow()?, s)
}

fn draw(s: f64, rows: usize, rng: &mut Stream) -> Vec<f64> {
    let noise: Vec<f64> = normals(2 * rows, rng);
    let one = |pair: &[f64]| DEVIATION * pair[0] + if pair[1] < 0.0 { -s } else { s };
    noise.chunks_exact(2).map(one).collect()
}

/// What a flow does to the gap.
struct Gap {
    slope: f64,
    mass: f64,
    bound: f64,
}

fn gap(flow: &Flow<f64>, s: f64) -> Result<Gap> {
    let ends = batch(vec![-0.5 * s, 0.5 * s], 2, 1)?;
    let ends = flow.bijector().inverse(&ends, &Context::none(), &mut Tape::none())?.value.values();
    let [low, high] = [ends[0].min(ends[1]), ends[0].max(ends[1])];
    let at = |i: usize| low + (high - low) * i as f64 / (POINTS - 1) as f64;
    let points = batch((0..POINTS).map(at).collect(), POINTS, 1)?;
    let mapped = flow.bijector().forward(&points, &Context::none(), &mut Tape::none())?;
    let slope = mapped.log_det.values().into_iter().fold(f64::NEG_INFINITY, f64::max).exp();
    let mass = |length: f64| standard_normal::cdf(low + length) - standard_normal::cdf(low);
    Ok(Gap { slope, mass: mass(high - low), bound: mass(s / slope) })
}

/// One of the five, at its start.
fn flow(name: &str, seed: u64) -> Result<Flow<f64>> {
    let rng = &mut stream(seed, "init");
    let conditioner = Conditioner::perceptron(vec![8]);
    let masked = |config: AutoregressiveFlow| AutoregressiveFlow { layers: 2, ..config };
    let residual =
        |layers| ResidualFlow { layers, hidden: vec![32, 32], ..ResidualFlow::default() };
    let bijector: Box<dyn Bijector<f64>> = match name {
        "NSF, 2 layers" => {
            let config = AutoregressiveFlow { conditioner, ..masked(AutoregressiveFlow::nsf()) };
            Box::new(config.build(1, 0, rng)?)
        }
        "NAF, 2 layers" => {
            let config = AutoregressiveFlow { conditioner, ..masked(AutoregressiveFlow::naf()) };
            Box::new(config.build(1, 0, rng)?)
        }
        "residual, 4 layers" => Box::new(residual(4).build(1, 0, rng)?),
        "residual, 12 layers" => Box::new(residual(12).build(1, 0, rng)?),
        _ => {
            let config = small_field(32, Solver::RowWise(Adaptive::new(1e-8, 1e-8)));
            Box::new(config.build(1, 0, rng)?)
        }
    };
    Ok(Flow::new(Base::standard_normal(1), bijector)?)
}

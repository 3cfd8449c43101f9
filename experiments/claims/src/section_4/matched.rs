//! C39: a continuous and two finite flows at equal size and equal time (review, Sections 3 and 4).

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Result, ensure};
use flows_bench::toys::Toy;
use flows_continuous::{Adaptive, Solver};
use flows_core::train::{AdamConfig, Budget, SamplerSource, StopReason, TrainConfig, Trainer};
use flows_core::{
    Architecture, Base, Bijector, Context, Flow, Parameters, Purpose, Role, Stream, Values, stream,
};
use flows_finite::architecture::{
    Conditioner, CouplingFlow, RationalQuadraticConfig, SplineConfig, TransformerConfig,
};
use flows_report::finding::{Cell, Criterion, Findings, Table};
use flows_report::grid::{self, centres};

use crate::helper::small_field::small_field;
use crate::helper::statistics::largest;
use crate::helper::timing::median;
use crate::helper::training::divergence;
use crate::{Check, Claim, Setting};

pub(crate) const C39: Claim = Claim {
    id: "C39",
    title: "Continuous and finite flows at equal cost",
    review: "Continuous flows take few parameters and any network, and pay with a solve for every \
             density and draw; finite ones take structure and pay once a layer (Sections 3 and 4).",
    method: "Real NVP, a spline coupling flow and a continuous flow of as many weights, each trained \
             for the same number of seconds on two spirals in f64: steps, divergence from the exact \
             density, integral of the density over a window against the share of draws in it, and \
             rows a second for densities and draws. Which is ahead is observed; what must hold by \
             construction is demanded.",
    check: Check::Run(check),
};

const TOY: Toy = Toy::TwoSpirals;

/// Draws that are counted in a window.
const DRAWS: usize = 20_000;

/// Rows of a timed pass.
const TIMED: usize = 2048;

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut table = Table::new(
        "After the same number of seconds.",
        &["flow", "weights", "steps", "divergence (nats)", "densities a second", "draws a second"],
    );
    let test = TOY.sample(setting.either(2048, 16_384), &mut stream(setting.seed, "test"));
    let wanted = weights(&continuous(setting.seed)?);
    let (mut sizes, mut integrals) = (Vec::new(), Vec::new());
    for (name, flow, rate) in flows(setting.seed)? {
        let size = weights(&flow);
        let (mut flow, steps) = train(flow, rate, setting)?;
        flow.bijector_mut().set_purpose(Purpose::Reporting)?;
        let (nats, error) = divergence(&flow, TOY, &test)?.0;
        findings.demand(
            &format!("{name}: divergence from the target (nats)"),
            (nats, Some(error)),
            Criterion::AtLeast(-3.0 * error),
            "a divergence is not negative; three standard errors",
        );
        sizes.push((size / wanted - 1.0).abs());
        integrals.push(beyond(&flow, setting.either(100, 300))?);
        let [densities, draws] = speeds(&flow, &test[..2 * TIMED])?.map(Cell::from);
        table.row([name.into(), size.into(), steps.into(), (nats, error).into(), densities, draws]);
    }
    demand(sizes, integrals, &mut findings);
    findings.tables.push(table);
    Ok(findings)
}

fn demand(sizes: Vec<f64>, integrals: Vec<f64>, findings: &mut Findings) {
    findings.at_most(
        "largest relative difference of the numbers of weights",
        largest(sizes),
        0.1,
        "widths are chosen so; one unit more or less changes them by some per cent",
    );
    findings.at_most(
        "largest distance of an integral over a window from the share of draws in it, beyond chance \
         and grid",
        largest(integrals),
        1e-3,
        "densities and draws of one distribution; three standard errors of the share and the \
         change between two grids are taken off, and a thousandth is left for shares near one, of \
         which 20,000 draws show no error",
    );
}

/// The flows with their learning rates, the finite ones as large as the continuous one.
fn flows(seed: u64) -> Result<[(&'static str, Flow<f64>, f64); 3]> {
    let continuous = continuous(seed)?;
    let wanted = weights(&continuous);
    Ok([
        ("continuous", continuous, 1e-2),
        ("Real NVP", sized(wanted, |width| real_nvp(width, seed))?, 2e-3),
        ("spline couplings", sized(wanted, |width| splines(width, seed))?, 2e-3),
    ])
}

/// How far the integral over a window is from the share of draws that fall into it, beyond what
/// chance (three standard errors) and the grid (its change from one of half the size) explain.
fn beyond(flow: &Flow<f64>, side: usize) -> Result<f64> {
    let [x0, x1, y0, y1] = TOY.window();
    let window = [x0 - 2.0, x1 + 2.0, y0 - 2.0, y1 + 2.0];
    let integral = |side: usize| -> Result<f64> {
        let (log_density, _) = flow.evaluate(&centres(window, side), &Context::none())?;
        Ok(grid::integral(&log_density, window, side))
    };
    let [coarse, fine] = [integral(side / 2)?, integral(side)?];
    let (draws, _) = flow.sample(DRAWS, &Context::none(), &mut stream(0, "window"))?;
    let draws = draws.values();
    let within = |x: &&[f64]| {
        (window[0]..window[1]).contains(&x[0]) && (window[2]..window[3]).contains(&x[1])
    };
    let share = draws.chunks_exact(2).filter(within).count() as f64 / DRAWS as f64;
    let chance = 3.0 * (share * (1.0 - share) / DRAWS as f64).sqrt();
    Ok((fine - share).abs() - (fine - coarse).abs() - chance)
}

fn weights(flow: &Flow<f64>) -> f64 {
    let mut count = 0;
    flow.visit(&mut |_, role, tensor| {
        if role == Role::Learned {
            count += tensor.values().len();
        }
    });
    count as f64
}

/// The flow of the width that comes nearest to the wanted number of weights.
fn sized(wanted: f64, build: impl Fn(usize) -> Result<Flow<f64>>) -> Result<Flow<f64>> {
    let mut best = build(2)?;
    for width in 3..64 {
        let next = build(width)?;
        if (weights(&next) - wanted).abs() < (weights(&best) - wanted).abs() {
            best = next;
        }
    }
    Ok(best)
}

fn of(bijector: Box<dyn Bijector<f64>>) -> Result<Flow<f64>> {
    Ok(Flow::new(Base::standard_normal(2), bijector)?)
}

fn continuous(seed: u64) -> Result<Flow<f64>> {
    let config = small_field(48, Solver::RowWise(Adaptive::new(1e-5, 1e-5)));
    of(Box::new(config.build(2, 0, &mut stream(seed, "init"))?))
}

fn real_nvp(width: usize, seed: u64) -> Result<Flow<f64>> {
    let conditioner = Conditioner::perceptron(vec![width; 2]);
    let config = CouplingFlow { layers: 8, conditioner, ..CouplingFlow::real_nvp() };
    of(Box::new(config.build(2, 0, &mut stream(seed, "init"))?))
}

fn splines(width: usize, seed: u64) -> Result<Flow<f64>> {
    let conditioner = Conditioner::perceptron(vec![width; 2]);
    let transformer =
        RationalQuadraticConfig(SplineConfig { bins: 8, ..SplineConfig::default() }).shared();
    let config = CouplingFlow { layers: 4, conditioner, transformer, ..CouplingFlow::nsf() };
    of(Box::new(config.build(2, 0, &mut stream(seed, "init"))?))
}

/// The flow after the seconds that each has, and its steps.
fn train(flow: Flow<f64>, learning_rate: f64, setting: &Setting) -> Result<(Flow<f64>, u64)> {
    let config = TrainConfig {
        optimiser: AdamConfig { learning_rate, ..AdamConfig::default() },
        batch_rows: 256,
        ..TrainConfig::default()
    };
    let budget = Budget::Seconds { seconds: setting.either(1.5, 20.0) };
    let mut trainer = Trainer::new(flow, config, budget, setting.seed)?;
    let draw = |rows: usize, rng: &mut Stream| TOY.sample(rows, rng);
    let source = SamplerSource::new(draw, 2, setting.seed);
    let outcome = trainer.run(&source, None, |_, _| Ok(ControlFlow::Continue(())))?;
    ensure!(outcome == StopReason::Finished, "training ended as {outcome:?}");
    let steps = trainer.steps();
    Ok((trainer.into_flow()?, steps))
}

/// Medians of densities and draws a second.
fn speeds(flow: &Flow<f64>, rows: &[f64]) -> Result<[f64; 2]> {
    let mut seconds = [Vec::new(), Vec::new()];
    for repetition in 0..5 {
        let clock = Instant::now();
        flow.evaluate(rows, &Context::none())?;
        seconds[0].push(clock.elapsed().as_secs_f64());
        let clock = Instant::now();
        flow.sample(TIMED, &Context::none(), &mut stream(repetition, "timed"))?;
        seconds[1].push(clock.elapsed().as_secs_f64());
    }
    Ok(seconds.map(|seconds| TIMED as f64 / median(seconds)))
}

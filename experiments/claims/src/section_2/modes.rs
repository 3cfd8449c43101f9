//! C9: the forward divergence covers modes, the reverse divergence seeks them.

use anyhow::Result;
use flows_core::tensor::set_values;
use flows_core::train::{
    AdamConfig, Budget, Objective, ReverseKl, SamplerSource, TrainConfig, Trainer,
};
use flows_core::{Base, Chain, Context, Flow, Parameters, Stream, Target, normals};
use flows_report::finding::{Content, Findings, Panel, Panels, Table};
use flows_report::grid::{IMAGE_CELLS, cell_area, centres};

use crate::{Check, Claim, Setting};

pub(crate) const C9: Claim = Claim {
    id: "C9",
    title: "Mode covering and mode seeking",
    review: "The forward divergence is large where the model misses mass of the target, the reverse \
             divergence where the model puts mass that the target lacks (Sections 2.3.1 and 2.3.2).",
    method: "A normal with learned location and scales, which cannot have two modes, fitted to an \
             equal mixture of two normals 8 standard deviations apart by either divergence, from the \
             same start. Masses on either side and both divergences of both fits are by quadrature.",
    check: Check::Run(check),
};

/// Half the distance of the modes, in standard deviations.
const APART: f64 = 4.0;

/// Nine standard deviations of the wider fit along x1.
const WINDOW: [f64; 4] = [-40.0, 40.0, -16.0, 16.0];
const CELLS: usize = 640;

/// What is drawn.
const VIEW: [f64; 4] = [-8.0, 8.0, -8.0, 8.0];

/// Half N((-4, 0), I) and half N((4, 0), I).
#[derive(Debug)]
struct TwoModes;

impl Target for TwoModes {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        // log cosh(4 x) without overflow.
        let slope = APART * x[0];
        let log_cosh = slope.abs() + (-2.0 * slope.abs()).exp().ln_1p() - 2f64.ln();
        gradient[0] = APART * slope.tanh() - x[0];
        gradient[1] = -x[1];
        let square = x[0] * x[0] + x[1] * x[1] + APART * APART;
        log_cosh - 0.5 * square - std::f64::consts::TAU.ln()
    }
}

/// The sign of a third normal chooses the mode.
fn draw(rows: usize, rng: &mut Stream) -> Vec<f64> {
    let values: Vec<f64> = normals(3 * rows, rng);
    values.chunks_exact(3).flat_map(|z| [z[0] + APART.copysign(z[2]), z[1]]).collect()
}

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Two fits of one normal to two modes.",
        &[
            "fitted by",
            "mass at x1 < 0",
            "mass at x1 > 0",
            "forward KL (nats)",
            "reverse KL (nats)",
        ],
    );
    let view = centres(VIEW, IMAGE_CELLS);
    let truth = TwoModes.log_densities(&view)?;
    let mut panels = vec![Panel { title: "target".into(), content: Content::log_density(&truth) }];
    let mut fits = Vec::new();
    let reverse = Objective::ReverseKl(ReverseKl::default());
    for (name, objective) in [("forward KL", Objective::MaximumLikelihood), ("reverse KL", reverse)]
    {
        let flow = fit(objective, setting)?;
        let fit = measure(&flow)?;
        table.row([
            name.into(),
            fit.left.into(),
            fit.right.into(),
            fit.forward.into(),
            fit.reverse.into(),
        ]);
        let density = flow.evaluate(&view, &Context::none())?.0;
        panels.push(Panel { title: name.into(), content: Content::log_density(&density) });
        fits.push(fit);
    }
    let [covering, seeking] = fits.try_into().unwrap_or_default();
    demand(&mut findings, covering, seeking);
    findings.tables.push(table);
    findings.panels.push(Panels {
        title: "The target and the normal that either divergence finds.".into(),
        window: VIEW,
        axes: ["x1".into(), "x2".into()],
        panels,
    });
    Ok(findings)
}

/// How far a fit may be from the optimum of its divergence, in nats and in mass: the slack of Adam at
/// its last, small steps.
const SLACK: f64 = 0.01;

fn demand(findings: &mut Findings, covering: Fit, seeking: Fit) {
    findings.at_least(
        "forward KL: the smaller of its masses on the two sides",
        covering.left.min(covering.right),
        0.5 - SLACK,
        "the best normal has the target's moments: mean 0, a half on either side",
    );
    let scale = (1.0 + APART * APART).sqrt();
    // The entropy of that normal less the target's, whose modes overlap by less than 1 %.
    findings.at_most(
        "forward KL: distance from the normal with the target's moments (nats)",
        covering.forward - (scale.ln() - 2f64.ln()),
        2.0 * SLACK,
        "log of the scale sqrt(1 + 4^2) less log 2 for two modes, whose overlap adds less than 0.01",
    );
    findings.at_most(
        "reverse KL: the smaller of its masses on the two sides",
        seeking.left.min(seeking.right),
        SLACK,
        "a normal of scale 1 at one mode has 0.003 % beyond the middle",
    );
    findings.between(
        "reverse KL of the normal at one mode (nats)",
        seeking.reverse,
        [2f64.ln() - SLACK, 2f64.ln() + SLACK],
        "log 2: half of the target's mass is given up",
    );
    findings.at_least(
        "how much worse each fit is in the other divergence (nats), the smaller of both",
        (covering.reverse - seeking.reverse).min(seeking.forward - covering.forward),
        0.0,
        "each is the optimum of its own",
    );
}

/// What a fitted normal is like.
#[derive(Clone, Copy, Debug, Default)]
struct Fit {
    left: f64,
    right: f64,
    forward: f64,
    reverse: f64,
}

/// From a start to the right: around the middle the reverse divergence has a flat saddle.
fn fit(objective: Objective, setting: &Setting) -> Result<Flow<f64>> {
    let mut base = Base::diagonal_normal(2)?;
    base.visit_mut(&mut |name, _, tensor| match name {
        "location" => set_values(tensor, &[1.5, 0.5]),
        _ => Ok(()),
    })?;
    let flow = Flow::new(base, Box::new(Chain::new(2, Vec::new())?))?;
    let config = TrainConfig {
        objective,
        optimiser: AdamConfig { learning_rate: 2e-2, ..AdamConfig::default() },
        ema: Some(0.99),
        ..TrainConfig::default()
    };
    let steps = setting.either(1_500, 6_000);
    let trainer = Trainer::new(flow, config, Budget::Steps { steps }, setting.seed)?;
    Ok(match objective {
        Objective::ReverseKl(_) => trainer.fit(&TwoModes as &dyn Target)?,
        _ => trainer.fit(&SamplerSource::new(draw, 2, setting.seed))?,
    })
}

/// By the midpoint rule at an eighth of a standard deviation, exact to rounding.
fn measure(flow: &Flow<f64>) -> Result<Fit> {
    let points = centres(WINDOW, CELLS);
    let (log_p, log_q) =
        (TwoModes.log_densities(&points)?, flow.evaluate(&points, &Context::none())?.0);
    let cell = cell_area(WINDOW, CELLS);
    let mut fit = Fit::default();
    for ((x, p), q) in points.chunks_exact(2).zip(log_p).zip(log_q) {
        let mass = q.exp() * cell;
        *if x[0] < 0.0 { &mut fit.left } else { &mut fit.right } += mass;
        fit.forward += p.exp() * cell * (p - q);
        fit.reverse += if mass > 0.0 { mass * (q - p) } else { 0.0 };
    }
    Ok(fit)
}

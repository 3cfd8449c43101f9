//! C16: the ladder of transformers (review, Section 3.1.1).

use std::sync::Arc;

use anyhow::Result;
use flows_core::{Bijector, Chain, Context, Cost, Inverse, Layer, Tape, stream, tensor};
use flows_finite::Elementwise;
use flows_finite::architecture::{
    AffineConfig, BernsteinConfig, CubicSplineConfig, DeepSigmoidalConfig, GaussianizationConfig,
    IntegratedConfig, MixtureConfig, QuadraticSplineConfig, RationalQuadraticConfig, SplineConfig,
    SumOfSquaresConfig, TransformerConfig,
};
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};

use crate::helper::known_density::Mixture;
use crate::helper::scalar_map::evenly;
use crate::helper::short_training::Course;
use crate::helper::statistics::larger;
use crate::{Check, Claim, Setting};

pub(crate) const C16: Claim = Claim {
    id: "C16",
    title: "Flexibility of transformers",
    review: "Affine transformers are limited; combinations of increasing functions, integrals of \
             positive ones and splines can represent any increasing map as their parameters grow, at \
             the price of a numerical inverse for the first two, whereas splines keep a formula \
             (Section 3.1.1).",
    method: "Each transformer, with 20 to 25 parameters, as a flow on the line, trained on three \
             normals by the same number of steps: divergence by quadrature; evaluations that its \
             inverse takes for 128 points, against bisection of [-10, 10] to rounding.",
    check: Check::Run(check),
};

/// Three normals of different weight and width.
const THREE: Mixture<'_> = Mixture(&[[0.5, -1.5, 0.3], [0.2, 0.3, 0.2], [0.3, 1.8, 0.5]]);

/// One transformer with its name.
type Rung = (&'static str, Arc<dyn TransformerConfig>);

/// What came out for one transformer.
struct Outcome {
    name: &'static str,
    formula: bool,
    parameters: usize,
    divergence: f64,
    /// Of the inverse, for 128 points.
    evaluations: u64,
    /// x and density.
    curve: Vec<[f64; 2]>,
}

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    let outcomes: Result<Vec<Outcome>> =
        ladder().into_iter().map(|rung| outcome(rung, setting)).collect();
    let outcomes = outcomes?;
    judge(&outcomes, &mut findings);
    show(&outcomes, &mut findings);
    Ok(findings)
}

fn outcome((name, transformer): Rung, setting: &Setting) -> Result<Outcome> {
    let course =
        Course { steps: setting.either(400, 3000), learning_rate: 2e-2, seed: setting.seed };
    let flow = course.train(stack(&transformer)?, |rows, rng| THREE.sample(rows, rng))?;
    let z = tensor::batch(evenly([-3.0, 3.0], 128), 128, 1)?;
    let mapped = flow.bijector().forward(&z, &Context::none(), &mut Tape::none())?;
    let window = evenly([-4.0, 4.0], 401);
    let (log, _) = flow.evaluate(&window, &Context::none())?;
    Ok(Outcome {
        name,
        formula: flow.bijector().costs().forward == Cost::ClosedForm,
        parameters: flow.bijector().count(),
        divergence: THREE.grid().divergence(&flow)?,
        evaluations: mapped.work.iterations,
        curve: window.into_iter().zip(log).map(|(x, log)| [x, log.exp()]).collect(),
    })
}

fn judge(outcomes: &[Outcome], findings: &mut Findings) {
    let floor = THREE.gaussian_floor();
    let affine = outcomes.iter().filter(|o| o.name == AFFINE).map(|o| o.divergence - floor);
    findings.at_least(
        "affine: divergence less the floor of normal distributions (nats)",
        affine.fold(f64::INFINITY, f64::min),
        -1e-9,
        "affine maps of a normal are normal; error of quadrature",
    );
    let others = outcomes.iter().filter(|o| o.name != AFFINE).map(|o| o.divergence);
    findings.at_most(
        "all other transformers: largest divergence (nats)",
        others.fold(0.0, larger),
        floor,
        "below the floor of normal distributions, which holds for any number of affine layers",
    );
    let most = |formula| {
        outcomes.iter().filter(move |o| o.formula == formula).map(|o| o.evaluations).max()
    };
    findings.at_most(
        "transformers with a formula for the inverse: evaluations",
        most(true).unwrap_or(0) as f64,
        0.0,
        "a formula searches nothing",
    );
    findings.between(
        "the others: most evaluations of the inverse",
        most(false).unwrap_or(0) as f64,
        [1.0, bisections()],
        "bisection of an interval of length 20 to rounding takes log2(20 / 2.2e-16)",
    );
}

fn show(outcomes: &[Outcome], findings: &mut Findings) {
    let mut table = Table::new(
        "Divergence from three normals, and the inverse.",
        &["transformer", "parameters", "divergence (nats)", "inverse: evaluations"],
    );
    let mut plot = Plot::new(
        "Densities on the line: that of the target and of three flows.",
        Scale::linear("x"),
        Scale::linear("density"),
    );
    let target = |x: f64| THREE.log_density(x).exp();
    let window = evenly([-4.0, 4.0], 401);
    plot.series("target", Stroke::Reference, window.into_iter().map(|x| [x, target(x)]));
    for Outcome { name, parameters, divergence, evaluations, curve, .. } in outcomes {
        table.row([
            (*name).into(),
            (*parameters).into(),
            (*divergence).into(),
            (*evaluations).into(),
        ]);
        if [AFFINE, SQUARES, SPLINE].contains(name) {
            plot.series(*name, Stroke::Line, curve.iter().copied());
        }
    }
    let mut order: Vec<&Outcome> = outcomes.iter().collect();
    order.sort_by(|a, b| a.divergence.total_cmp(&b.divergence));
    let names: Vec<String> =
        order.iter().map(|o| format!("{} ({:.4})", o.name, o.divergence)).collect();
    findings.remark(format!("From the nearest to the farthest, in nats: {}.", names.join(", ")));
    findings.tables.push(table);
    findings.plots.push(plot);
}

const AFFINE: &str = "affine, 12 layers";
const SQUARES: &str = "sum of squares";
const SPLINE: &str = "rational-quadratic spline";

/// Steps in which bisection comes from 20 to rounding at 1.
fn bisections() -> f64 {
    (20.0 / f64::EPSILON).log2().ceil()
}

fn ladder() -> [Rung; 9] {
    let spline = |bins| SplineConfig { bins, bound: 5.0, ..SplineConfig::default() };
    [
        (AFFINE, AffineConfig::default().shared()),
        (SQUARES, SumOfSquaresConfig { polynomials: 6, degree: 3, ..Default::default() }.shared()),
        ("Bernstein polynomial", BernsteinConfig { degree: 22, bound: 5.0 }.shared()),
        ("quadratic spline", QuadraticSplineConfig(spline(12)).shared()),
        ("cubic spline", CubicSplineConfig(spline(12)).shared()),
        (SPLINE, RationalQuadraticConfig(spline(8)).shared()),
        ("deep sigmoidal", DeepSigmoidalConfig { units: 8 }.shared()),
        ("logistic mixture", GaussianizationConfig(MixtureConfig { components: 8 }).shared()),
        (
            "integrated network",
            IntegratedConfig { hidden: 7, ..IntegratedConfig::default() }.shared(),
        ),
    ]
}

/// The transformer's formula maps data to base; of affine maps as many as give its parameters.
fn stack(transformer: &Arc<dyn TransformerConfig>) -> Result<Box<dyn Bijector<f64>>> {
    let layers = if transformer.typetag_name() == "affine" { 12 } else { 1 };
    let mut parts: Vec<Box<dyn Bijector<f64>>> = Vec::new();
    for _ in 0..layers {
        let map = Elementwise::new(1, transformer.build()?);
        let layer = Layer::<f64>::new(map, &mut stream(0, "overwritten"))?;
        parts.push(Box::new(Inverse::new(Box::new(layer))));
    }
    Ok(Box::new(Chain::new(1, parts)?))
}

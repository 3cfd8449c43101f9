//! C16: the ladder of transformers (review, Section 3.1.1).

use anyhow::Result;
use flows_core::{Bijector, BoxBijector, Chain, Context, Inverse, Parameters, tensor};
use flows_finite::Elementwise;
use flows_finite::architecture::{
    AffineConfig, BernsteinConfig, DeepSigmoidalConfig, IntegratedConfig, MixtureConfig,
    SplineConfig, SumOfSquaresConfig, TransformerConfig,
};

use super::known_density::Mixture;
use super::scalar_map::evenly;
use super::short_training::Course;
use super::{Check, Claim, Setting};
use crate::finding::{Findings, Plot, Scale, Stroke, Table};

pub(super) const C16: Claim = Claim {
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
const THREE: Mixture = Mixture(&[[0.5, -1.5, 0.3], [0.2, 0.3, 0.2], [0.3, 1.8, 0.5]]);

/// One transformer with its name.
type Rung = (&'static str, TransformerConfig);

fn check(setting: &Setting) -> Result<Findings> {
    let course =
        Course { steps: setting.either(400, 3000), learning_rate: 2e-2, seed: setting.seed };
    let (grid, floor) = (THREE.grid(), THREE.gaussian_floor());
    let mut findings = Findings::default();
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
    plot.series("target", Stroke::Reference, window.iter().map(|&x| [x, target(x)]));
    let (mut largest, mut formula, mut search) = (f64::NEG_INFINITY, 0, 0);
    for (name, transformer) in ladder() {
        let flow = course.train(stack(&transformer)?, |rows, rng| THREE.sample(rows, rng))?;
        let divergence = grid.divergence(&flow)?;
        let z = tensor::batch(evenly([-3.0, 3.0], 128), 128, 1)?;
        let evaluations = flow.bijector().forward(z, &Context::none())?.work.iterations;
        let parameters = flow.bijector().count();
        table.row([name.into(), parameters.into(), divergence.into(), evaluations.into()]);
        match transformer {
            TransformerConfig::Affine(_) => affine(divergence - floor, &mut findings),
            _ => largest = largest.max(divergence),
        }
        if has_formula(&transformer) {
            formula = formula.max(evaluations);
        } else {
            search = search.max(evaluations);
        }
        if [AFFINE, SQUARES, SPLINE].contains(&name) {
            let (log, _) = flow.evaluate(&window, &Context::none())?;
            let points = window.iter().zip(log).map(|(&x, log)| [x, log.exp()]);
            plot.series(name, Stroke::Line, points);
        }
    }
    findings.at_most(
        "all other transformers: largest divergence (nats)",
        largest,
        floor,
        "below the floor of normal distributions, which holds for any number of affine layers",
    );
    findings.at_most(
        "splines and affine maps: evaluations of the inverse",
        formula as f64,
        0.0,
        "a formula searches nothing",
    );
    findings.between(
        "the others: most evaluations of the inverse",
        search as f64,
        [1.0, bisections()],
        "bisection of an interval of length 20 to rounding takes log2(20 / 2.2e-16)",
    );
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(findings)
}

const AFFINE: &str = "affine, 12 layers";
const SQUARES: &str = "sum of squares";
const SPLINE: &str = "rational-quadratic spline";

/// Steps in which bisection comes from 20 to rounding at 1.
fn bisections() -> f64 {
    (20.0 / f64::EPSILON).log2().ceil()
}

fn affine(excess: f64, findings: &mut Findings) {
    findings.at_least(
        "affine: divergence less the floor of normal distributions (nats)",
        excess,
        -1e-9,
        "affine maps of a normal are normal; error of quadrature",
    );
}

fn ladder() -> [Rung; 9] {
    let spline = |bins| SplineConfig { bins, bound: 5.0, ..SplineConfig::default() };
    [
        (AFFINE, TransformerConfig::Affine(AffineConfig::default())),
        (
            SQUARES,
            TransformerConfig::SumOfSquares(SumOfSquaresConfig { polynomials: 6, degree: 3 }),
        ),
        (
            "Bernstein polynomial",
            TransformerConfig::Bernstein(BernsteinConfig { degree: 22, bound: 5.0 }),
        ),
        ("quadratic spline", TransformerConfig::QuadraticSpline(spline(12))),
        ("cubic spline", TransformerConfig::CubicSpline(spline(12))),
        (SPLINE, TransformerConfig::RationalQuadratic(spline(8))),
        ("deep sigmoidal", TransformerConfig::DeepSigmoidal(DeepSigmoidalConfig { units: 8 })),
        ("logistic mixture", TransformerConfig::Gaussianization(MixtureConfig { components: 8 })),
        (
            "integrated network",
            TransformerConfig::Integrated(IntegratedConfig { hidden: 7, steps: 20 }),
        ),
    ]
}

fn has_formula(transformer: &TransformerConfig) -> bool {
    matches!(
        transformer,
        TransformerConfig::Affine(_)
            | TransformerConfig::QuadraticSpline(_)
            | TransformerConfig::CubicSpline(_)
            | TransformerConfig::RationalQuadratic(_)
    )
}

/// The transformer's formula maps data to base; of affine maps as many as give its parameters.
fn stack(transformer: &TransformerConfig) -> Result<BoxBijector<f64>> {
    let layers = if matches!(transformer, TransformerConfig::Affine(_)) { 12 } else { 1 };
    let mut parts = Vec::new();
    for _ in 0..layers {
        parts.push(BoxBijector::new(Inverse(Elementwise::new(1, transformer.build()?)?)));
    }
    Ok(BoxBijector::new(Chain::new(1, parts)?))
}

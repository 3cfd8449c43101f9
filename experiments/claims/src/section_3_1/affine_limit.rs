//! C14: what one affine layer cannot do (review, Section 3.1.1).

use std::sync::Arc;

use anyhow::Result;
use flows_core::activation::Activation;
use flows_core::{
    Architecture, Bijector, Context, Flow, Inverse, Layer, Stream, Tape, Values, stream, tensor,
};
use flows_finite::Elementwise;
use flows_finite::architecture::{
    AutoregressiveFlow, Conditioner, DeepSigmoidalConfig, Perceptron, RationalQuadraticConfig,
    SplineConfig, SumOfSquaresConfig, TransformerConfig,
};
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};

use crate::helper::known_density::{Grid, Mixture};
use crate::helper::scalar_map::evenly;
use crate::helper::short_training::Course;
use crate::{Check, Claim, Setting};

pub(crate) const C14: Claim = Claim {
    id: "C14",
    title: "Limit of one affine layer",
    review: "On a normal base one affine autoregressive layer has normal conditionals, which limits it; \
             layers in sequence, or one layer with a more flexible transformer, do not have this limit \
             (Section 3.1.1).",
    method: "Targets on the line (two normals at -2 and 2 of deviation 0.5) and in the plane (three, at \
             three corners of a square), where the smallest divergence with normal conditionals is \
             known by quadrature. Trained by maximum likelihood: affine masked layers in number, and \
             one layer of flexible transformers on the line. Divergences by quadrature, not by draws.",
    check: Check::Run(check),
};

/// The coordinate's density.
const TWO: Mixture<'_> = Mixture(&[[0.5, -2.0, 0.5], [0.5, 2.0, 0.5]]);

/// What the trapezoidal rule may be wrong by: it converges exponentially on analytic integrands; the
/// distance of the points is below a fifth of the smallest deviation, exp(-2 pi^2 5^2) is nothing.
const QUADRATURE: f64 = 1e-9;

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    let floor = TWO.gaussian_floor();
    findings.observed("divergence of the best normal distribution on the line (nats)", floor, None);
    on_the_line(setting, floor, &mut findings)?;
    in_the_plane(setting, &mut findings)?;
    Ok(findings)
}

fn on_the_line(setting: &Setting, floor: f64, findings: &mut Findings) -> Result<()> {
    let course =
        Course { steps: setting.either(300, 1500), learning_rate: 2e-2, seed: setting.seed };
    let grid = TWO.grid();
    let mut table = Table::new(
        "On the line: divergence from the target, and the floor of normal distributions (nats).",
        &["flow", "divergence", "floor"],
    );
    let (mut above, mut bend) = (f64::INFINITY, 0.0_f64);
    for layers in [1, 3, 10] {
        let flow = course.train(affine(1, layers, setting.seed)?, |n, rng| TWO.sample(n, rng))?;
        let divergence = grid.divergence(&flow)?;
        above = above.min(divergence - floor);
        bend = bend.max(second_difference(&flow)?);
        table.row([format!("{layers} affine").into(), divergence.into(), floor.into()]);
    }
    findings.at_least(
        "1, 3, 10 affine layers on the line: least divergence less the floor (nats)",
        above,
        -QUADRATURE,
        "on the line a composition of affine maps is affine, whatever the depth; quadrature error",
    );
    findings.at_most(
        "their maps: largest second difference",
        bend,
        1e-12,
        "affine: rounding of numbers of order 10",
    );
    for (name, transformer) in flexible() {
        let map = Elementwise::new(1, transformer.build()?);
        let layer =
            Inverse::new(Box::new(Layer::<f64>::new(map, &mut stream(course.seed, "init"))?));
        let flow = course.train(Box::new(layer), |n, rng| TWO.sample(n, rng))?;
        let divergence = grid.divergence(&flow)?;
        table.row([name.into(), divergence.into(), floor.into()]);
        let quantity = format!("{name}: divergence (nats)");
        findings.at_most(&quantity, divergence, floor, "less than any normal distribution");
    }
    findings.tables.push(table);
    Ok(())
}

/// Transformers of which one layer is enough on the line.
fn flexible() -> [(&'static str, Arc<dyn TransformerConfig>); 3] {
    let spline = SplineConfig { bins: 8, bound: 5.0, ..SplineConfig::default() };
    [
        ("one rational-quadratic spline", RationalQuadraticConfig(spline).shared()),
        ("one deep sigmoidal map", DeepSigmoidalConfig { units: 8 }.shared()),
        (
            "one sum of squares",
            SumOfSquaresConfig { polynomials: 3, degree: 2, ..Default::default() }.shared(),
        ),
    ]
}

/// Three normals of deviation 0.5 at (-2, -2), (-2, 2), (2, -2). Where the coordinates are independent
/// nothing would draw affine layers away from the best single one: its gradient vanishes for all.
struct Corner;

/// The first coordinate.
const FIRST: Mixture<'_> = Mixture(&[[2.0 / 3.0, -2.0, 0.5], [1.0 / 3.0, 2.0, 0.5]]);

impl Corner {
    /// The second coordinate's mixture, given the first: at 2 with half of the probability that the
    /// first is at -2, which is 1/(1 + exp(16 x)/2).
    fn second(x: f64) -> [[f64; 3]; 2] {
        let upper = 0.5 / (1.0 + 0.5 * (16.0 * x).exp());
        [[1.0 - upper, -2.0, 0.5], [upper, 2.0, 0.5]]
    }

    fn log_density([x, y]: [f64; 2]) -> f64 {
        FIRST.log_density(x) + Mixture(&Self::second(x)).log_density(y)
    }

    fn sample(rows: usize, rng: &mut Stream) -> Vec<f64> {
        let first = FIRST.sample(rows, rng);
        let pair = |x| [x, Mixture(&Self::second(x)).sample(1, rng)[0]];
        first.into_iter().flat_map(pair).collect()
    }

    /// Chain rule: the floor of the first coordinate and the mean of those of the second.
    fn floor() -> f64 {
        let [low, high] = FIRST.ends();
        let grid = Grid::line([low, high], 401, |x| FIRST.log_density(x));
        FIRST.gaussian_floor() + grid.mean(|&[x]| Mixture(&Self::second(x)).gaussian_floor())
    }
}

fn in_the_plane(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let course =
        Course { steps: setting.either(400, 1500), learning_rate: 5e-3, seed: setting.seed };
    let (floor, [low, high]) = (Corner::floor(), FIRST.ends());
    let grid = Grid::plane([low, high, low, high], 201, Corner::log_density);
    let depths: &[usize] = setting.either(&[1, 4], &[1, 2, 3, 4, 5, 7, 10]);
    let mut points = Vec::new();
    for &layers in depths {
        let start = affine(2, layers, setting.seed)?;
        let flow = course.train(start, Corner::sample)?;
        points.push([layers as f64, grid.divergence(&flow)?]);
    }
    let (one, deep) =
        (points[0][1], points[1..].iter().map(|p| p[1]).fold(f64::INFINITY, f64::min));
    findings.at_least(
        "one affine layer in the plane: divergence less the floor of normal conditionals (nats)",
        one - floor,
        -QUADRATURE,
        "chain rule of the divergence: the flow's conditionals are normal; quadrature error",
    );
    findings.at_most(
        "several affine layers in the plane: least divergence (nats)",
        deep,
        floor,
        "less than any flow with normal conditionals",
    );
    let ends = [depths[0] as f64, depths[depths.len() - 1] as f64];
    let mut plot = Plot::new(
        "In the plane: divergence of affine layers by their number; dashed: the floor of normal \
         conditionals.",
        Scale::linear("layers"),
        Scale::log("divergence (nats)"),
    );
    plot.series("trained", Stroke::Measured, points);
    plot.series("floor", Stroke::Reference, ends.map(|layers| [layers, floor]));
    findings.plots.push(plot);
    Ok(())
}

/// Masked affine layers.
fn affine(dim: usize, layers: usize, seed: u64) -> Result<Box<dyn Bijector<f64>>> {
    let conditioner = Perceptron { hidden: vec![32, 32], activation: Activation::Tanh };
    let conditioner = Conditioner::Perceptron(conditioner);
    let flow = AutoregressiveFlow { layers, conditioner, ..AutoregressiveFlow::default() };
    Ok(Box::new(flow.build::<f64>(dim, 0, &mut stream(seed, "init"))?))
}

/// The largest second difference of the map on the line, over points of distance 1.
fn second_difference(flow: &Flow<f64>) -> Result<f64> {
    let points = evenly([-5.0, 5.0], 11);
    let z = tensor::batch(points, 11, 1)?;
    let x = flow.bijector().forward(&z, &Context::none(), &mut Tape::none())?.value.values();
    Ok(x.windows(3).map(|w| (w[0] - 2.0 * w[1] + w[2]).abs()).fold(0.0, f64::max))
}

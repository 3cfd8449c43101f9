//! What checks of the foundations go over: every named flow and every kind of layer, away from its
//! start.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use flows_continuous::{Accuracy, Adaptive, ContinuousFlow, Solver};
use flows_core::tensor::set_values;
use flows_core::testing::perturb;
use flows_core::{
    Architecture, Base, Chain, Cost, Flow, Parameters, Purpose, Real, Values, architecture, stream,
};
use flows_finite::Tails;
use flows_finite::architecture::{
    AdditiveConfig, AffineConfig, AutoregressiveFlow, BernsteinConfig, CouplingFlow,
    CubicSplineConfig, DeepSigmoidalConfig, DenseSigmoidalConfig, Direction, IntegratedConfig,
    LemmaFlow, LemmaLayer, LinearRationalConfig, LinearSplineConfig, LogisticMixtureConfig, Mixing,
    MixtureConfig, QuadraticSplineConfig, RationalQuadraticConfig, SplineConfig,
    SumOfSquaresConfig, SylvesterConfig, TransformerConfig,
};

use crate::{NamedFlow, Setting};

/// How far weights are moved from their start, in standard deviations of a normal.
const AWAY: f64 = 0.03;

/// A flow or a layer of the collection, with the standard normal as its base.
#[derive(Debug)]
pub(crate) struct Specimen {
    pub(crate) name: String,
    pub(crate) limit: Limit,
    pub(crate) flow: Flow<f64>,
}

/// What limits the accuracy of a bijector in its slower direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Formulae: rounding.
    Rounding,
    /// A root search or a fixed point that ends at rounding.
    Search,
    /// The solver's tolerance.
    Solver,
}

impl Limit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rounding => "formula",
            Self::Search => "search",
            Self::Solver => "solver",
        }
    }
}

impl Specimen {
    /// Moves the weights, sets the accuracy of reports and sees what limits it.
    fn new(name: &str, mut flow: Flow<f64>, seed: u64) -> Result<Self> {
        perturb(&mut flow, AWAY, &mut stream(seed, &format!("away {name}")))?;
        flow.bijector_mut().set_purpose(Purpose::Reporting)?;
        let costs = flow.bijector().costs();
        let both = [costs.forward, costs.inverse];
        let limit = if both.contains(&Cost::Integrated) {
            Limit::Solver
        } else if both.contains(&Cost::Iterative) {
            Limit::Search
        } else {
            Limit::Rounding
        };
        Ok(Self { name: name.to_owned(), limit, flow })
    }
}

/// The share of their hidden channels that flows of images keep here: the formulas stay, and the
/// Jacobian of a continuous one by 64 backward passes costs about an eighth.
const OF_IMAGES: f64 = 0.25;

/// The architecture of a flow, smaller where it is one of images.
fn sized(named: &NamedFlow, dim: usize) -> Arc<dyn Architecture> {
    if dim > 3 { named.architecture.scaled(OF_IMAGES) } else { Arc::clone(&named.architecture) }
}

/// Every flow that takes `dim` features, continuous ones at `tolerance`. With more than three
/// features, only flows of images, with a quarter of their hidden channels: for all others, three show
/// what there is to see.
pub(crate) fn flows(dim: usize, tolerance: f64, setting: &Setting) -> Result<Vec<Specimen>> {
    let build = |named: &NamedFlow| {
        of_architecture(named.title, &sized(named, dim), dim, tolerance, setting.seed)
    };
    chosen(dim, setting).map(|named| build(named).with_context(|| named.title.to_owned())).collect()
}

fn chosen<'a>(dim: usize, setting: &Setting<'a>) -> impl Iterator<Item = &'a NamedFlow> {
    let takes = |named: &NamedFlow, dim: usize| named.architecture.weights(dim).is_ok();
    setting.flows.iter().filter(move |named| takes(named, dim) && (dim <= 3 || !takes(named, 3)))
}

/// An architecture on `dim` features, in double precision.
pub(crate) fn of_architecture(
    name: &str,
    architecture: &Arc<dyn Architecture>,
    dim: usize,
    tolerance: f64,
    seed: u64,
) -> Result<Specimen> {
    Specimen::new(name, built(architecture, dim, tolerance, seed)?, seed)
}

/// The same flows in both precisions, with the same weights.
pub(crate) fn both_precisions(
    dim: usize,
    tolerance: f64,
    setting: &Setting,
) -> Result<Vec<(Specimen, Flow<f32>)>> {
    let build = |named: &NamedFlow| {
        let (architecture, seed) = (&sized(named, dim), setting.seed);
        let wide = of_architecture(named.title, architecture, dim, tolerance, seed)?;
        let narrow = narrow(&wide.flow, architecture, tolerance, seed)?;
        Ok((wide, narrow))
    };
    chosen(dim, setting).map(build).collect()
}

/// The same architecture in single precision, with the weights of `wide`.
pub(crate) fn narrow(
    wide: &Flow<f64>,
    architecture: &Arc<dyn Architecture>,
    tolerance: f64,
    seed: u64,
) -> Result<Flow<f32>> {
    let mut narrow: Flow<f32> = built(architecture, wide.dim(), tolerance, seed)?;
    let mut weights = Vec::new();
    wide.visit(&mut |_, _, tensor| weights.push(tensor.values()));
    let mut next = weights.into_iter();
    narrow.visit_mut(&mut |_, _, tensor| {
        let values = next.next().unwrap_or_default();
        set_values(tensor, &values.iter().map(|&v| v as f32).collect::<Vec<f32>>())
    })?;
    narrow.bijector_mut().set_purpose(Purpose::Reporting)?;
    Ok(narrow)
}

/// A flow of a standard normal, its weights drawn from the seed.
fn built<E: Real>(
    architecture: &Arc<dyn Architecture>,
    dim: usize,
    tolerance: f64,
    seed: u64,
) -> Result<Flow<E>> {
    let architecture = with_tolerance(architecture, tolerance);
    let bijector = architecture::build(&*architecture, dim, 0, &mut stream(seed, "init"))?;
    Ok(Flow::new(Base::standard_normal(dim), Box::new(bijector))?)
}

/// The same, a continuous flow with this tolerance in what it reports.
pub(crate) fn with_tolerance(
    flow: &Arc<dyn Architecture>,
    tolerance: f64,
) -> Arc<dyn Architecture> {
    let Some(continuous) = flow.downcast_ref::<ContinuousFlow>() else { return Arc::clone(flow) };
    let solver = Solver::RowWise(Adaptive::new(tolerance, tolerance));
    let reporting = Accuracy { solver, ..continuous.reporting };
    Arc::new(ContinuousFlow { reporting, ..continuous.clone() })
}

/// One layer of every kind, on `dim` features.
pub(crate) fn layers(dim: usize, seed: u64) -> Result<Vec<Specimen>> {
    let rng = &mut stream(seed, "layers");
    let mut all = Vec::new();
    for (name, config) in couplings() {
        all.push((name, config.build(dim, 0, rng)?));
    }
    for (name, config) in masked_layers() {
        all.push((name, config.build(dim, 0, rng)?));
    }
    let sylvester = LemmaLayer::Sylvester(SylvesterConfig::default());
    for (name, layer, formula) in [
        ("planar", LemmaLayer::Planar, Direction::Sampling),
        ("planar, inverted", LemmaLayer::Planar, Direction::Density),
        ("radial", LemmaLayer::Radial, Direction::Sampling),
        ("Sylvester", sylvester, Direction::Sampling),
    ] {
        let config = LemmaFlow { layers: 1, layer, formula, act_norm: false };
        all.push((name.to_owned(), config.build(dim, 0, rng)?));
    }
    let finished = |(name, layer): (String, Chain<f64>)| {
        let base = Base::standard_normal(dim);
        Specimen::new(&name, Flow::new(base, Box::new(layer))?, seed)
    };
    all.into_iter().map(finished).collect()
}

/// Couplings with every scalar map, and with every linear map.
fn couplings() -> impl Iterator<Item = (String, CouplingFlow)> {
    let layer = |transformer, mixing| {
        let (layers, act_norm) = (1, false);
        CouplingFlow { layers, transformer, mixing, act_norm, ..CouplingFlow::default() }
    };
    let scalar = transformers().into_iter().map(move |(name, transformer)| {
        (format!("{name}, coupling"), layer(transformer, Mixing::None))
    });
    scalar.chain(MIXINGS.into_iter().map(move |(name, mixing)| {
        let additive = AdditiveConfig {}.shared();
        (format!("{name}, with an additive coupling"), layer(additive, mixing))
    }))
}

/// Masked layers with every scalar map, and one with both normalisations.
fn masked_layers() -> impl Iterator<Item = (String, AutoregressiveFlow)> {
    let layer = |transformer, act_norm| {
        let (layers, batch_norm) = (1, act_norm);
        AutoregressiveFlow { layers, transformer, batch_norm, act_norm, ..Default::default() }
    };
    let scalar = transformers()
        .into_iter()
        .map(move |(name, transformer)| (format!("{name}, masked"), layer(transformer, false)));
    let affine = AffineConfig::inverted().shared();
    let label = "batch norm and act-norm, with an affine layer".to_owned();
    scalar.chain([(label, layer(affine, true))])
}

/// Every linear map.
const MIXINGS: [(&str, Mixing); 7] = [
    ("permutation", Mixing::Permutation),
    ("LU", Mixing::Lu),
    ("QR", Mixing::Qr),
    ("SVD", Mixing::Svd),
    ("exponential map", Mixing::Exponential),
    ("Cayley map", Mixing::Cayley),
    ("Householder", Mixing::Householder),
];

/// Every scalar map of the line.
fn transformers() -> [(&'static str, Arc<dyn TransformerConfig>); 15] {
    let spline = SplineConfig { bins: 8, ..SplineConfig::default() };
    let tails = SplineConfig { tails: Tails::Linear, ..spline };
    let mixture = MixtureConfig { components: 8 };
    [
        ("additive", AdditiveConfig {}.shared()),
        ("affine", AffineConfig::default().shared()),
        ("affine as MAF", AffineConfig::inverted().shared()),
        ("linear spline", LinearSplineConfig(spline).shared()),
        ("quadratic spline", QuadraticSplineConfig(spline).shared()),
        ("cubic spline", CubicSplineConfig(spline).shared()),
        ("linear rational spline", LinearRationalConfig(spline).shared()),
        ("rational-quadratic spline", RationalQuadraticConfig(spline).shared()),
        ("rational-quadratic, linear tails", RationalQuadraticConfig(tails).shared()),
        ("Bernstein", BernsteinConfig::default().shared()),
        ("deep sigmoidal", DeepSigmoidalConfig { units: 8 }.shared()),
        ("dense sigmoidal", DenseSigmoidalConfig::default().shared()),
        ("logistic mixture", LogisticMixtureConfig(mixture).shared()),
        ("integrated", IntegratedConfig::default().shared()),
        ("sum of squares", SumOfSquaresConfig::default().shared()),
    ]
}

//! What checks of the foundations go over: every preset and every kind of layer, away from its
//! start.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use flows_continuous::{Accuracy, Adaptive, ContinuousFlow, Solver};
use flows_core::tensor::set_values;
use flows_core::testing::perturb;
use flows_core::{Architecture, Base, Chain, Cost, Flow, Parameters, Purpose, Values, stream};
use flows_finite::Tails;
use flows_finite::architecture::{
    AdditiveConfig, AffineConfig, AutoregressiveFlow, BernsteinConfig, CouplingFlow,
    CubicSplineConfig, DeepSigmoidalConfig, DenseSigmoidalConfig, Direction, IntegratedConfig,
    LemmaFlow, LemmaLayer, LinearRationalConfig, LinearSplineConfig, LogisticMixtureConfig, Mixing,
    MixtureConfig, QuadraticSplineConfig, RationalQuadraticConfig, SplineConfig,
    SumOfSquaresConfig, SylvesterConfig, TransformerConfig,
};

use crate::config::RunConfig;
use crate::preset::{self, Preset};

/// How far weights are moved from their start, in standard deviations of a normal.
const AWAY: f64 = 0.03;

/// A flow or a layer of the collection, with the standard normal as its base.
#[derive(Debug)]
pub(super) struct Specimen {
    pub(super) name: String,
    pub(super) limit: Limit,
    pub(super) flow: Flow<f64>,
}

/// What limits the accuracy of a bijector in its slower direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// Formulae: rounding.
    Rounding,
    /// A root search or a fixed point that ends at rounding.
    Search,
    /// The solver's tolerance.
    Solver,
}

impl Limit {
    pub(super) fn name(self) -> &'static str {
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

/// Every preset that takes `dim` features, continuous ones at `tolerance`; images take 64.
pub(super) fn presets(dim: usize, tolerance: f64, seed: u64) -> Result<Vec<Specimen>> {
    let build = |preset: &Preset| of_config(preset.title, &preset.flow, dim, tolerance, seed);
    chosen(dim).map(|preset| build(preset).with_context(|| preset.name.to_owned())).collect()
}

fn chosen(dim: usize) -> impl Iterator<Item = &'static Preset> {
    preset::ALL.iter().filter(move |preset| (preset.name == "glow-image") == (dim == 64))
}

/// An architecture on `dim` features, in double precision.
pub(super) fn of_config(
    name: &str,
    flow: &Arc<dyn Architecture>,
    dim: usize,
    tolerance: f64,
    seed: u64,
) -> Result<Specimen> {
    Specimen::new(name, config(flow, tolerance, seed)?.build(dim)?, seed)
}

/// The presets in both precisions, with the same weights.
pub(super) fn both_precisions(
    dim: usize,
    tolerance: f64,
    seed: u64,
) -> Result<Vec<(Specimen, Flow<f32>)>> {
    let build = |preset: &Preset| {
        let wide = of_config(preset.title, &preset.flow, dim, tolerance, seed)?;
        let narrow = narrow(&wide.flow, &preset.flow, tolerance, seed)?;
        Ok((wide, narrow))
    };
    chosen(dim).map(build).collect()
}

/// The same architecture in single precision, with the weights of `wide`.
pub(super) fn narrow(
    wide: &Flow<f64>,
    flow: &Arc<dyn Architecture>,
    tolerance: f64,
    seed: u64,
) -> Result<Flow<f32>> {
    let mut narrow: Flow<f32> = config(flow, tolerance, seed)?.build(wide.dim())?;
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

fn config(flow: &Arc<dyn Architecture>, tolerance: f64, seed: u64) -> Result<RunConfig> {
    let flow = with_tolerance(flow, tolerance);
    Ok(RunConfig { seed, flow, ..RunConfig::of(Preset::named(None)?) })
}

/// The same, a continuous flow with this tolerance in what it reports.
pub(super) fn with_tolerance(
    flow: &Arc<dyn Architecture>,
    tolerance: f64,
) -> Arc<dyn Architecture> {
    let Some(continuous) = flow.downcast_ref::<ContinuousFlow>() else { return Arc::clone(flow) };
    let solver = Solver::RowWise(Adaptive::new(tolerance, tolerance));
    let reporting = Accuracy { solver, ..continuous.reporting };
    Arc::new(ContinuousFlow { reporting, ..continuous.clone() })
}

/// One layer of every kind, on `dim` features.
pub(super) fn layers(dim: usize, seed: u64) -> Result<Vec<Specimen>> {
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

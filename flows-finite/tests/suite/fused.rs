//! A chain takes each block of rows through all of its parts at once; the result is that of the parts
//! one after another, for every architecture.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::Shape;
use flows_core::activation::Activation;
use flows_core::rowwise::sum;
use flows_core::tensor::batch;
use flows_core::testing::{distance_to_scale, objective_gradients, perturb};
use flows_core::{
    Architecture, Batch, Bijector, Chain, Context, Direction, Inverse, Layer, Mapped, Parameters,
    Part, Pixelwise, Purpose, Role, Stream, Tape, Values, Work, normals, stream,
};
use flows_finite::architecture::{
    self, AdditiveConfig, AffineConfig, AutoregressiveFlow, BlockNaf, Columns, Conditioner,
    CouplingFlow, DeepSigmoidalConfig, GaussianizationFlow, Glow, LemmaFlow, LemmaLayer,
    MaskConfig, Mixing, MultiScaleFlow, RationalQuadraticConfig, RecurrentFlow, Residual,
    ResidualFlow, SplineConfig, SumOfSquaresConfig, SylvesterConfig, TransformerConfig,
};
use flows_finite::{ActNorm, LuLinear, Newton, Sampling};

use crate::elements::{coupling, splines};

const DIM: usize = 4;
const CONTEXT: usize = 2;
/// More than one block, the last one not full.
const ROWS: usize = 200;

type Named = (String, Chain<f64>);

fn small() -> Conditioner {
    Conditioner::perceptron(vec![8])
}

fn residual() -> Conditioner {
    Conditioner::Residual(Residual { width: 6, blocks: 1, activation: Activation::Tanh })
}

/// Every map between layers, every mask and a transformer of each kind.
fn couplings(rng: &mut Stream) -> Vec<Named> {
    let mut transformers = vec![
        AdditiveConfig {}.shared(),
        AffineConfig::inverted().shared(),
        DeepSigmoidalConfig { units: 3 }.shared(),
        SumOfSquaresConfig { degree: 1, ..SumOfSquaresConfig::default() }.shared(),
    ];
    transformers.extend(splines(4, 3.0, flows_finite::Tails::Linear));
    let mixings = [
        Mixing::None,
        Mixing::Permutation,
        Mixing::Lu,
        Mixing::Qr,
        Mixing::Svd,
        Mixing::Exponential,
        Mixing::Cayley,
        Mixing::Householder,
    ];
    assert_eq!(transformers.len(), mixings.len());
    let masks = [MaskConfig::Halves, MaskConfig::Alternating, MaskConfig::Random];
    let formulas = [architecture::Direction::Sampling, architecture::Direction::Density];
    let mut all = Vec::new();
    for (index, (transformer, mixing)) in transformers.into_iter().zip(mixings).enumerate() {
        let (mask, formula) = (masks[index % 3], formulas[index % 2]);
        let conditioner = if index % 2 == 0 { small() } else { residual() };
        let flow = CouplingFlow {
            layers: 3,
            transformer,
            conditioner,
            mask,
            formula,
            mixing,
            act_norm: true,
            identity_start: index % 3 > 0,
        };
        all.push((format!("{flow:?}"), flow.build(DIM, CONTEXT, rng).unwrap()));
    }
    all
}

fn masked(rng: &mut Stream) -> Vec<Named> {
    let maf = AutoregressiveFlow::maf;
    let newton = Sampling::Newton(Newton { tolerance: 1e-10, ..Newton::default() });
    let flows = [
        maf(),
        AutoregressiveFlow::iaf(),
        AutoregressiveFlow::nsf(),
        AutoregressiveFlow::naf(),
        AutoregressiveFlow::umnn(),
        AutoregressiveFlow::sum_of_squares(),
        AutoregressiveFlow { sampling: Sampling::Sequential, parts: Some(2), ..maf() },
        AutoregressiveFlow { sampling: newton, ..maf() },
        AutoregressiveFlow { batch_norm: true, mixing: Mixing::Lu, ..maf() },
    ];
    let small = flows.map(|flow| AutoregressiveFlow { layers: 2, conditioner: small(), ..flow });
    small.map(|flow| (format!("{flow:?}"), flow.build(DIM, CONTEXT, rng).unwrap())).into()
}

fn lemmas(rng: &mut Stream) -> Vec<Named> {
    let sylvester = |basis| LemmaLayer::Sylvester(SylvesterConfig { units: Some(2), basis });
    let mut all = Vec::new();
    for layer in [
        LemmaLayer::Planar,
        LemmaLayer::Radial,
        sylvester(Columns::Householder),
        sylvester(Columns::Orthogonal),
        sylvester(Columns::Triangular),
    ] {
        for formula in [architecture::Direction::Density, architecture::Direction::Sampling] {
            let flow = LemmaFlow { layers: 3, layer, formula, act_norm: true };
            all.push((format!("{flow:?}"), flow.build(DIM, 0, rng).unwrap()));
        }
    }
    all
}

fn others(rng: &mut Stream) -> Vec<Named> {
    let shape = Shape { channels: 1, height: 4, width: 4 };
    let real_nvp = CouplingFlow { layers: 3, conditioner: small(), ..CouplingFlow::real_nvp() };
    let transformer =
        RationalQuadraticConfig(SplineConfig { bins: 5, ..SplineConfig::default() }).shared();
    let nsf = CouplingFlow { layers: 2, conditioner: small(), transformer, ..CouplingFlow::nsf() };
    let glow = Glow { layers: 3, conditioner: small(), ..Glow::default() };
    let image =
        MultiScaleFlow { shape, levels: 2, depth: 2, hidden: 3, ..MultiScaleFlow::default() };
    let gaussianization = GaussianizationFlow { layers: 3, ..GaussianizationFlow::default() };
    let residual = ResidualFlow { layers: 3, hidden: vec![8; 2], ..ResidualFlow::default() };
    let recurrent = RecurrentFlow { layers: 2, hidden: 5, ..RecurrentFlow::default() };
    let block = BlockNaf { layers: 2, hidden: vec![3], act_norm: true };
    let built = [
        ("Real NVP", real_nvp.build(DIM, CONTEXT, rng)),
        ("NSF", nsf.build(DIM, CONTEXT, rng)),
        ("Glow", glow.build(DIM, CONTEXT, rng)),
        ("Glow of images", image.build(shape.dim(), CONTEXT, rng)),
        ("Gaussianization", gaussianization.build(DIM, CONTEXT, rng)),
        ("residual flow", residual.build(DIM, CONTEXT, rng)),
        ("recurrent flow", recurrent.build(DIM, CONTEXT, rng)),
        ("block NAF", block.build(DIM, CONTEXT, rng)),
    ];
    built.map(|(name, chain)| (name.to_owned(), chain.unwrap())).into()
}

/// Composites, each of which runs what is inside it in another way by itself than within a chain.
fn composites(rng: &mut Stream) -> Named {
    let affine = AffineConfig::default().shared();
    let mut coupling = |dim| -> Box<dyn Bijector<f64>> {
        Box::new(coupling(&affine, (dim, CONTEXT), (&[3], Activation::Tanh), rng))
    };
    let (chosen, channels, all) = (coupling(3), coupling(2), coupling(6));
    let pixel: Vec<Box<dyn Bijector<f64>>> = vec![
        channels,
        Box::new(Layer::new(LuLinear::new(2).unwrap(), rng).unwrap()),
        Box::new(Layer::new(ActNorm::new(2), rng).unwrap()),
    ];
    let pixel = Box::new(Chain::new(2, pixel).unwrap());
    let parts: Vec<Box<dyn Bijector<f64>>> = vec![
        Box::new(Part::new(chosen, 6, vec![4, 0, 3]).unwrap()),
        Box::new(Pixelwise::new(pixel, 3).unwrap()),
        Box::new(Inverse::new(all)),
    ];
    ("composites".to_owned(), Chain::new(6, parts).unwrap())
}

fn run(
    bijector: &dyn Bijector<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
    tape: &mut Tape<f64>,
) -> Mapped<f64> {
    let mapped = match direction {
        Direction::Forward => bijector.forward(input, context, tape),
        Direction::Inverse => bijector.inverse(input, context, tape),
    };
    mapped.unwrap()
}

/// The parts of a chain one after another, each as a bijector of its own.
fn one_after_another(
    chain: &Chain<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
    tape: &mut Tape<f64>,
) -> Mapped<f64> {
    let mut parts = chain.parts();
    if direction == Direction::Inverse {
        parts.reverse();
    }
    let (mut value, mut log_dets) = (input.clone(), Vec::new());
    for part in parts {
        let context = context.if_taken(part.context_dim());
        let mapped = run(part, direction, &value, &context, tape);
        value = mapped.value;
        log_dets.push(mapped.log_det);
    }
    Mapped::new(value, sum(log_dets, tape).unwrap(), Work::default())
}

fn check_direction(
    name: &str,
    chain: &Chain<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
) {
    let mut tensors = vec![("input".to_owned(), input.clone())];
    tensors.extend(context.features().map(|features| ("context".to_owned(), features.clone())));
    chain.visit(&mut |name, role, tensor| {
        if role == Role::Learned {
            tensors.push((name.to_owned(), tensor.clone()));
        }
    });
    let (names, tensors): (Vec<String>, Vec<Batch<f64>>) = tensors.into_iter().unzip();
    let close = |what: &str, got: &[f64], expected: &[f64], tolerance: f64| {
        let error = distance_to_scale(got, expected);
        assert!(error <= tolerance, "{name}, {direction:?}, {what}: {error:e}");
    };
    for recording in [false, true] {
        let tape = || if recording { Tape::recording() } else { Tape::none() };
        let (mut tape_at_once, mut tape_in_turn) = (tape(), tape());
        let at_once = run(chain, direction, input, context, &mut tape_at_once);
        let in_turn = one_after_another(chain, direction, input, context, &mut tape_in_turn);
        close("value", &at_once.value.values(), &in_turn.value.values(), 1e-12);
        close("log-det", &at_once.log_det.values(), &in_turn.log_det.values(), 1e-12);
        if recording {
            let got = objective_gradients(&at_once, tape_at_once, &tensors).unwrap();
            let expected = objective_gradients(&in_turn, tape_in_turn, &tensors).unwrap();
            for (name, (got, expected)) in names.iter().zip(got.iter().zip(&expected)) {
                close(&format!("gradient of {name}"), got, expected, 1e-10);
            }
        }
    }
}

fn check((name, mut chain): Named) {
    perturb(&mut chain, 0.1, &mut stream(3, "perturb")).unwrap();
    let rng = &mut stream(5, "rows");
    let dim = chain.dim();
    let z = batch(normals(ROWS * dim, rng), ROWS, dim).unwrap();
    let code = batch(normals(ROWS * CONTEXT, rng), ROWS, CONTEXT).unwrap();
    let context = Context::of(code).if_taken(chain.context_dim());
    for purpose in [Purpose::Reporting, Purpose::Training] {
        chain.set_purpose(purpose).unwrap();
        if purpose == Purpose::Training {
            chain.begin_step(rng).unwrap();
        }
        let name = format!("{name}, {purpose:?}");
        check_direction(&name, &chain, Direction::Forward, &z, &context);
        let (x, _) = chain.image(&z, &context).unwrap();
        check_direction(&name, &chain, Direction::Inverse, &x, &context);
    }
}

#[test]
fn chains_of_couplings_are_their_parts() {
    couplings(&mut stream(1, "init")).into_iter().for_each(check);
}

#[test]
fn chains_of_masked_layers_are_their_parts() {
    masked(&mut stream(1, "init")).into_iter().for_each(check);
}

#[test]
fn chains_by_the_determinant_lemma_are_their_parts() {
    lemmas(&mut stream(1, "init")).into_iter().for_each(check);
}

#[test]
fn other_architectures_are_their_parts() {
    others(&mut stream(1, "init")).into_iter().for_each(check);
}

#[test]
fn composites_in_a_chain_are_those_outside_of_it() {
    check(composites(&mut stream(1, "init")));
}

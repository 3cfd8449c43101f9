//! Presets with the settings that papers state for POWER, GAS, HEPMASS, MINIBOONE and BSDS300, as far
//! as the library has them. What is another on each table is set by the experiment `uci`.

use std::num::NonZeroUsize;
use std::sync::Arc;

use flows_continuous::{
    Accuracy, Adaptive, ContinuousFlow, EqualSteps, FieldConfig, Penalties, PerceptronField,
    PotentialConfig, Solver, TimeInput,
};
use flows_core::Architecture;
use flows_core::activation::Activation;
use flows_core::train::{AdamConfig, Schedule, TrainConfig};
use flows_finite::Scale;
use flows_finite::architecture::{
    AffineConfig, AutoregressiveFlow, Conditioner, CouplingFlow, LayerOrder, MaskConfig, Mixing,
    RationalQuadraticConfig, Residual, SplineConfig, TransformerConfig,
};

use super::Preset;

/// The presets, in the order of publication.
pub(super) fn presets() -> Vec<Preset> {
    vec![real_nvp(), maf(), ffjord(), nsf_coupling(), nsf_autoregressive(), ot_flow()]
}

fn preset(
    [name, title, description]: [&'static str; 3],
    flow: Arc<dyn Architecture>,
    train: TrainConfig,
) -> Preset {
    let family = super::family(&*flow);
    Preset { name, title, family, description, flow, train, quick: false }
}

/// Adam on batches of `batch_rows`; averages of weights are not kept.
fn train(batch_rows: usize, learning_rate: f64, schedule: Schedule) -> TrainConfig {
    let optimiser = AdamConfig { learning_rate, ..AdamConfig::default() };
    TrainConfig { batch_rows, optimiser, schedule, ..TrainConfig::default() }
}

/// As [`train`], at a constant rate, with weight decay.
fn decaying(batch_rows: usize, learning_rate: f64) -> TrainConfig {
    let train = train(batch_rows, learning_rate, Schedule::Constant);
    TrainConfig { optimiser: AdamConfig { weight_decay: 1e-6, ..train.optimiser }, ..train }
}

fn maf() -> Preset {
    let transformer = AffineConfig { scale: Scale::Exp, inverted: true }.shared();
    let flow = AutoregressiveFlow {
        layers: 5,
        transformer,
        conditioner: Conditioner::perceptron(vec![512; 2]),
        batch_norm: true,
        act_norm: false,
        ..AutoregressiveFlow::maf()
    };
    preset(
        [
            "uci-maf",
            "MAF (UCI)",
            "5 masked affine layers with unbounded log-scales, order reversed each layer, batch norm \
             between, 2 x 512 ReLU, batches of 100, Adam at 1e-4 with weight decay, gradients clipped at norm \
             5 (Papamakarios et al. 2017, who have 5 or 10 layers)",
        ],
        Arc::new(flow),
        decaying(100, 1e-4),
    )
}

fn real_nvp() -> Preset {
    let flow = CouplingFlow {
        layers: 10,
        transformer: AffineConfig { scale: Scale::Exp, inverted: false }.shared(),
        conditioner: Conditioner::perceptron(vec![512; 2]),
        mask: MaskConfig::Alternating,
        mixing: Mixing::None,
        act_norm: false,
        ..CouplingFlow::default()
    };
    preset(
        [
            "uci-real-nvp",
            "Real NVP (UCI)",
            "10 affine couplings with unbounded log-scales on alternating features, 2 x 512 ReLU, batches of \
             100, Adam at 1e-4 with weight decay, gradients clipped at norm 5 (Papamakarios et al. 2017, who \
             have 5 or 10 couplings, tanh networks of their own for the scales, and batch norm between \
             couplings)",
        ],
        Arc::new(flow),
        decaying(100, 1e-4),
    )
}

/// The splines of the neural spline flows.
fn splines() -> Arc<dyn TransformerConfig> {
    RationalQuadraticConfig(SplineConfig { bins: 8, bound: 3.0, ..SplineConfig::default() })
        .shared()
}

/// Their conditioner.
fn residual() -> Conditioner {
    Conditioner::Residual(Residual { width: 256, blocks: 2, activation: Activation::Relu })
}

fn nsf_coupling() -> Preset {
    let flow = CouplingFlow {
        layers: 10,
        transformer: splines(),
        conditioner: residual(),
        mask: MaskConfig::Random,
        act_norm: false,
        ..CouplingFlow::default()
    };
    preset(
        [
            "uci-nsf-coupling",
            "NSF (coupling, UCI)",
            "10 rational-quadratic spline couplings of a random half, 8 bins on [-3, 3], an LU linear layer \
             for each, 2 residual blocks of 256, batches of 512, Adam at 5e-4 to 0 by a cosine (Durkan et al. \
             2019, who have splines on the other half too, and on most tables dropout of 0.1 or 0.2)",
        ],
        Arc::new(flow),
        train(512, 5e-4, Schedule::Cosine),
    )
}

fn nsf_autoregressive() -> Preset {
    let flow = AutoregressiveFlow {
        layers: 10,
        transformer: splines(),
        conditioner: residual(),
        order: LayerOrder::Random,
        mixing: Mixing::Lu,
        act_norm: false,
        ..AutoregressiveFlow::default()
    };
    preset(
        [
            "uci-nsf-autoregressive",
            "NSF (autoregressive, UCI)",
            "10 masked rational-quadratic spline layers in random orders, 8 bins on [-3, 3], an LU linear \
             layer for each, 2 residual blocks of 256, batches of 512, Adam at 5e-4 to 0 by a cosine (Durkan \
             et al. 2019, who on most tables have dropout of 0.1 or 0.2)",
        ],
        Arc::new(flow),
        train(512, 5e-4, Schedule::Cosine),
    )
}

fn ffjord() -> Preset {
    let flow = ContinuousFlow::ffjord();
    let flow = ContinuousFlow {
        field: FieldConfig::Perceptron(PerceptronField {
            hidden: vec![860; 2],
            activation: Activation::Softplus,
            time: TimeInput::ConcatSquash,
        }),
        learn_end_time: true,
        training: Accuracy { solver: Solver::Dopri5(Adaptive::new(1e-6, 1e-6)), ..flow.training },
        act_norm: false,
        ..flow
    };
    preset(
        [
            "uci-ffjord",
            "FFJORD (UCI)",
            "one ODE with a learned end time, field of 2 x 860 softplus with concatsquash, trained with one \
             Rademacher probe at tolerance 1e-6, reported with the exact trace at 1e-5 row by row, batches of \
             1,000, Adam at 1e-3: the settings for MINIBOONE (Grathwohl et al. 2019, who chain 2 to 10 such \
             flows on other tables, take the adjoint, an atol of 1e-8, which single precision does not carry, \
             and a rate lowered by tenths; here gradients are clipped at norm 5)",
        ],
        Arc::new(flow),
        decaying(1_000, 1e-3),
    )
}

fn ot_flow() -> Preset {
    let flow = ContinuousFlow::ot_flow();
    // Of transport cost, likelihood and residual, 1, 100 and 15; the transport cost is half the
    // kinetic energy.
    let penalties =
        Penalties { kinetic: 0.5 / 100.0, hamilton_jacobi: 15.0 / 100.0, ..flow.penalties };
    let steps = NonZeroUsize::MIN.saturating_add(5);
    let flow = ContinuousFlow {
        field: FieldConfig::Potential(PotentialConfig { width: 256, ..PotentialConfig::default() }),
        training: Accuracy { solver: Solver::Rk4(EqualSteps { steps }), ..flow.training },
        penalties,
        act_norm: false,
        ..flow
    };
    preset(
        [
            "uci-ot-flow",
            "OT-Flow (UCI)",
            "the gradient field of a potential of width 256 with its exact trace, trained with 6 RK4 steps, \
             transport cost and Hamilton-Jacobi residual weighted 1/100 and 15/100, reported at 1e-5 row by \
             row, batches of 2,000, Adam at 0.02: the settings for MINIBOONE (Onken et al. 2021, who report \
             with 18 RK4 steps; here gradients are clipped at norm 5)",
        ],
        Arc::new(flow),
        train(2_000, 0.02, Schedule::Constant),
    )
}

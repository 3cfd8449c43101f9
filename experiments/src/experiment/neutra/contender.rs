//! The flows in whose base spaces chains run, and how they are trained.

use std::num::NonZero;
use std::sync::Arc;

use flows_claims::Setting;
use flows_continuous::{
    Accuracy, ContinuousFlow, Divergence, EqualSteps, FieldConfig, PerceptronField, Solver,
};
use flows_core::train::{AdamConfig, Objective, ReverseKl, TrainConfig};
use flows_core::{Architecture, Estimator};
use flows_finite::Scale;
use flows_finite::architecture::{
    AffineConfig, AutoregressiveFlow, Conditioner, TransformerConfig,
};
use flows_inference::chain::Nuts;

/// A flow with its training and the chains that it is worth.
pub(super) struct Contender {
    pub(super) title: &'static str,
    pub(super) family: &'static str,
    pub(super) flow: Arc<dyn Architecture>,
    pub(super) train: TrainConfig,
    pub(super) steps: u64,
    pub(super) nuts: Nuts,
}

/// One of either family; where only seconds are to be spent, the continuous one in the plane alone.
pub(super) fn contenders(dim: usize, setting: &Setting) -> Vec<Contender> {
    let mut all = vec![inverse_autoregressive(setting)];
    if dim == 2 || setting.either(false, true) {
        all.push(continuous(setting));
    }
    all
}

/// Chains of the finite flow and without one.
pub(super) fn nuts(setting: &Setting) -> Nuts {
    let (warm_up, draws) = setting.either((300, 300), (1_000, 1_000));
    Nuts { warm_up, draws, ..Nuts::default() }
}

/// Affine layers of bounded log-scales: without a bound, a step of the optimiser can send draws of a
/// stack to infinity.
fn inverse_autoregressive(setting: &Setting) -> Contender {
    let transformer = AffineConfig { scale: Scale::Bounded { bound: 2.0 }, inverted: false };
    let flow = AutoregressiveFlow {
        layers: 4,
        conditioner: Conditioner::perceptron(vec![32, 32]),
        transformer: transformer.shared(),
        ..AutoregressiveFlow::iaf()
    };
    Contender {
        title: "IAF",
        family: "finite",
        flow: Arc::new(flow),
        train: train(2e-3, Estimator::Reparameterised),
        steps: setting.either(1_000, 6_000),
        nuts: nuts(setting),
    }
}

/// A small field, reported with the solver that it was trained with and the exact trace: a path of eight
/// equal steps is the same function of the point at every evaluation.
fn continuous(setting: &Setting) -> Contender {
    let solver = Solver::Rk4(EqualSteps { steps: NonZero::<usize>::MIN.saturating_add(7) });
    let field = PerceptronField { hidden: vec![32, 32], ..PerceptronField::default() };
    let flow = ContinuousFlow {
        field: FieldConfig::Perceptron(field),
        reporting: Accuracy { solver, divergence: Divergence::Exact },
        ..ContinuousFlow::rnode()
    };
    let (warm_up, draws) = setting.either((100, 100), (300, 300));
    Contender {
        title: "RNODE",
        family: "continuous",
        flow: Arc::new(flow),
        train: train(1e-2, Estimator::Path),
        steps: setting.either(60, 2_000),
        nuts: Nuts { warm_up, draws, ..Nuts::default() },
    }
}

fn train(learning_rate: f64, estimator: Estimator) -> TrainConfig {
    TrainConfig {
        objective: Objective::ReverseKl(ReverseKl { estimator, ..ReverseKl::default() }),
        batch_rows: 256,
        optimiser: AdamConfig { learning_rate, ..AdamConfig::default() },
        clip_norm: 1.0,
        ema: Some(0.99),
        ..TrainConfig::default()
    }
}

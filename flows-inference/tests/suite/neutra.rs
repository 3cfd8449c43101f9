//! Pullbacks of targets by flows of both families, and chains in base space.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_bench::targets::{Funnel, KnownTarget};
use flows_continuous::{Accuracy, Adaptive, ContinuousFlow, Divergence, Solver};
use flows_core::testing::{assert_error, close, close_number, differences, perturb};
use flows_core::train::{
    AdamConfig, Budget, Objective, ReverseKl, TrainConfig, Trainer, TrainingData,
};
use flows_core::{
    Architecture, Base, Chain, Context, Error, Flow, Purpose, Tape, Target, Values, normals, stream,
};
use flows_finite::Scale;
use flows_finite::architecture::{
    AffineConfig, AutoregressiveFlow, Conditioner, CouplingFlow, Direction, LayerOrder,
    ResidualFlow, TransformerConfig,
};
use flows_inference::chain::{Nuts, Pullback};

use super::support::agrees;

fn built(architecture: &impl Architecture, dim: usize) -> Flow<f64> {
    let chain = architecture.build::<f64>(dim, 0, &mut stream(1, "init")).unwrap();
    Flow::new(Base::standard_normal(dim), Box::new(chain)).unwrap()
}

/// A flow in the plane away from the identity.
fn perturbed(architecture: &impl Architecture) -> Flow<f64> {
    let mut flow = built(architecture, 2);
    perturb(&mut flow, 0.1, &mut stream(2, "perturb")).unwrap();
    flow
}

fn flows() -> Vec<(&'static str, Flow<f64>)> {
    let conditioner = Conditioner::perceptron(vec![8, 8]);
    let couplings =
        CouplingFlow { layers: 3, conditioner: conditioner.clone(), ..CouplingFlow::real_nvp() };
    let splines = CouplingFlow { conditioner: conditioner.clone(), ..CouplingFlow::nsf() };
    let maf = AutoregressiveFlow { layers: 3, conditioner, ..AutoregressiveFlow::maf() };
    let solver = Solver::Dopri5(Adaptive::new(1e-10, 1e-10));
    let reporting = Accuracy { solver, divergence: Divergence::Exact };
    let continuous = ContinuousFlow { reporting, ..ContinuousFlow::default() };
    vec![
        ("affine couplings", perturbed(&couplings)),
        ("spline couplings", perturbed(&splines)),
        ("MAF", perturbed(&maf)),
        ("continuous", perturbed(&continuous)),
    ]
}

#[test]
fn values_and_gradients_of_pullbacks_are_right() {
    let target = KnownTarget::Banana;
    for (name, flow) in flows() {
        let pullback = Pullback::new(&flow, &target).unwrap();
        let u = normals::<f64>(2 * 5, &mut stream(3, "points"));
        let mut gradients = vec![0.0; u.len()];
        let values = pullback.evaluate(&u, &mut gradients).unwrap();

        // log p~(x) - log q(x) + log base(u), with q from the other direction.
        let z = flows_core::tensor::batch(u.clone(), 5, 2).unwrap();
        let x = flow.bijector().forward(&z, &Context::none(), &mut Tape::none()).unwrap().value;
        let log_p = target.log_densities(&x.values()).unwrap();
        let log_q = flow.evaluate(&x.values(), &Context::none()).unwrap().0;
        let base = flow.base().log_prob(&z, &mut Tape::none()).unwrap().values();
        let expected: Vec<f64> = (0..5).map(|i| log_p[i] - log_q[i] + base[i]).collect();
        // Ten times the tolerance of the solver, as for round trips.
        close(name, &values, &expected, 1e-8);
        close(name, &pullback.log_densities(&u).unwrap(), &values, 1e-12);
        close(name, &pullback.pull(&x.values()).unwrap(), &u, 1e-8);

        for (point, gradient) in u.chunks(2).zip(gradients.chunks(2)) {
            let numerical = differences(point, |u| pullback.log_density(u, &mut [0.0; 2]));
            // The error of the solver over the step, 1e-10 / 1e-5.
            close(name, gradient, &numerical, 1e-5);
        }
    }
}

#[test]
fn a_pullback_is_zero_outside_of_the_base() {
    let base = Base::uniform_box(vec![-1.0; 2], vec![1.0; 2]).unwrap();
    let flow = Flow::new(base, Box::new(Chain::new(2, vec![]).unwrap())).unwrap();
    let target = KnownTarget::Cross;
    let pullback = Pullback::new(&flow, &target).unwrap();
    let mut gradients = [1.0; 4];
    let values = pullback.evaluate(&[0.5, 0.5, 0.5, 1.5], &mut gradients).unwrap();
    let mut own = [0.0; 2];
    close_number("inside", values[0], target.log_density(&[0.5, 0.5], &mut own), 1e-14);
    close("gradient inside", &gradients[..2], &own, 1e-14);
    assert_eq!((values[1], &gradients[2..]), (f64::NEG_INFINITY, &[0.0, 0.0][..]));
    assert_eq!(pullback.log_densities(&[0.5, 1.5]).unwrap(), [f64::NEG_INFINITY]);
}

#[test]
fn flows_that_cannot_be_pulled_back_by_are_named() {
    let target = KnownTarget::Banana;
    let residual = built(&ResidualFlow { layers: 1, ..ResidualFlow::default() }, 2);
    let error = Pullback::new(&residual, &target);
    assert_error!(error, Error::Unavailable { .. }, ["from base to data", "turn the flow round"]);
    let error = Pullback::new(&built(&CouplingFlow::real_nvp(), 3), &target).err();
    assert!(matches!(error, Some(Error::Dimension { expected: 3, got: 2, .. })));
    let mut estimated = built(&ContinuousFlow::default(), 2);
    estimated.bijector_mut().set_purpose(Purpose::Training).unwrap();
    let error = Pullback::new(&estimated, &target);
    assert_error!(error, Error::Unavailable { .. }, ["estimated log-determinants", "Reporting"]);
    let chain = CouplingFlow::real_nvp().build::<f64>(2, 3, &mut stream(1, "init")).unwrap();
    let conditional = Flow::new(Base::standard_normal(2), Box::new(chain)).unwrap();
    let error = Pullback::new(&conditional, &target);
    assert_error!(error, Error::Dimension { expected: 3, got: 0, .. }, ["context"]);
}

/// One autoregressive layer can be the funnel's map, x_i = e^(v / 2) u_i, if its scale is not bounded.
#[test]
fn chains_in_base_space_know_the_funnel() {
    let target = KnownTarget::Funnel(Funnel::DEFAULT);
    let architecture = AutoregressiveFlow {
        layers: 1,
        conditioner: Conditioner::perceptron(vec![32]),
        order: LayerOrder::Natural,
        transformer: AffineConfig { scale: Scale::Exp, inverted: false }.shared(),
        formula: Direction::Sampling,
        ..AutoregressiveFlow::default()
    };
    let flow = built(&architecture, 10);
    let config = TrainConfig {
        objective: Objective::ReverseKl(ReverseKl::default()),
        batch_rows: 256,
        optimiser: AdamConfig { learning_rate: 3e-3, ..AdamConfig::default() },
        ..TrainConfig::default()
    };
    let trainer = Trainer::new(flow, config, Budget::Steps { steps: 1000 }, 1).unwrap();
    let mut flow = trainer.fit(TrainingData::Density(&target)).unwrap();
    flow.bijector_mut().set_purpose(Purpose::Reporting).unwrap();

    let pullback = Pullback::new(&flow, &target).unwrap();
    let starts: Vec<Vec<f64>> =
        normals::<f64>(4 * 10, &mut stream(5, "starts")).chunks(10).map(<[f64]>::to_vec).collect();
    let nuts = Nuts { warm_up: 500, draws: 1000, ..Nuts::default() };
    let run = nuts.sample(&pullback, &starts, &mut stream(5, "chains")).unwrap();
    let chains = pullback.push(&run.chains).unwrap();
    agrees("log-scale", chains.diagnostics_of(|x| x[0]).unwrap(), 0.0);
    agrees("its variance", chains.diagnostics_of(|x| x[0] * x[0]).unwrap(), 9.0);
    let scaled = chains.diagnostics_of(|x| x[5] * x[5] * (-x[0]).exp()).unwrap();
    agrees("variance given the scale", scaled, 1.0);
    for (x, value) in chains.draws[1].iter().zip(&chains.log_density[1]) {
        close_number("log-density", *value, target.log_density(x, &mut [0.0; 10]), 1e-9);
    }
}

//! Flow matching trains a continuous flow without a solve; afterwards it has a density.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_continuous::{
    Accuracy, Adaptive, ContinuousFlow, Divergence, FieldConfig, PerceptronField, Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::matching::{
    FlowMatching, MinibatchOt, Pairing, ProbabilityPath, VariancePreserving,
};
use flows_core::objective::flow_matching;
use flows_core::tensor::{batch, set_values};
use flows_core::train::{
    AdamConfig, Budget, Objective, SamplerSource, SimulationFree, TrainConfig, Trainer,
};
use flows_core::{
    Architecture, Base, Chain, Context, Error, Flow, Loss, Parameters, Purpose, Result, Stream,
    Tape, Values, normals, stream,
};

fn config() -> ContinuousFlow {
    let exact = Accuracy {
        solver: Solver::RowWise(Adaptive::new(1e-6, 1e-6)),
        divergence: Divergence::Exact,
    };
    let field = PerceptronField {
        hidden: vec![24, 24],
        activation: Activation::Tanh,
        time: TimeInput::Concat,
    };
    let field = FieldConfig::Perceptron(field);
    ContinuousFlow {
        field,
        training: exact,
        reporting: exact,
        act_norm: false,
        ..ContinuousFlow::default()
    }
}

fn flow(context: usize) -> Flow<f64> {
    let bijector = config().build(2, context, &mut stream(3, "init")).unwrap();
    Flow::new(Base::standard_normal(2), Box::new(bijector)).unwrap()
}

/// A correlated normal away from the origin; returns its log-density too.
fn draw(rows: usize, rng: &mut Stream) -> Vec<f64> {
    let z: Vec<f64> = normals(rows * 2, rng);
    z.chunks(2).flat_map(|z| [1.5 + 0.5 * z[0], -0.5 + 0.8 * z[0] + 0.6 * z[1]]).collect()
}

fn log_density(x: &[f64]) -> f64 {
    let u = (x[0] - 1.5) / 0.5;
    let v = (x[1] + 0.5 - 0.8 * u) / 0.6;
    -0.5 * (u * u + v * v) - (2.0 * std::f64::consts::PI * 0.5 * 0.6).ln()
}

/// Divergence after training, in nats.
fn divergence(objective: Objective, steps: u64) -> f64 {
    let train = TrainConfig {
        objective,
        batch_rows: 256,
        optimiser: AdamConfig { learning_rate: 1e-2, ..AdamConfig::default() },
        ..TrainConfig::default()
    };
    let mut trainer = Trainer::new(flow(0), train, Budget::Steps { steps }, 5).unwrap();
    let mut kinds = [0_u64; 2];
    trainer
        .run(&SamplerSource::new(draw, 2, 5), None, |_, progress| {
            assert!(progress.train_nats.is_some() != progress.matching_loss.is_some());
            kinds[usize::from(progress.train_nats.is_some())] += 1;
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    if let Objective::FlowMatching(SimulationFree { fine_tune, .. }) = objective {
        assert_eq!(kinds[1], (fine_tune * steps as f64).round() as u64, "{kinds:?}");
    }
    let mut flow = trainer.into_flow().unwrap();
    flow.bijector_mut().set_purpose(Purpose::Reporting).unwrap();
    let test = draw(2_000, &mut stream(9, "test"));
    let log_prob = flow.evaluate(&test, &Context::none()).unwrap().0;
    let gaps = test.chunks(2).zip(&log_prob).map(|(x, q)| log_density(x) - q);
    gaps.sum::<f64>() / 2_000.0
}

#[test]
fn a_flow_trained_without_a_solve_has_the_density_of_the_data() {
    // Untrained, the divergence is several nats; what is left is the error of a short regression.
    let variance_preserving = ProbabilityPath::VariancePreserving(VariancePreserving::default());
    let minibatch = Pairing::MinibatchOt(MinibatchOt { group: 64 });
    for (path, coupling) in [
        (ProbabilityPath::default(), Pairing::default()),
        (ProbabilityPath::default(), minibatch),
        (variance_preserving, Pairing::default()),
    ] {
        let objective = Objective::FlowMatching(SimulationFree { path, coupling, fine_tune: 0.0 });
        let kl = divergence(objective, 500);
        assert!((-0.01..0.15).contains(&kl), "{path:?} {coupling:?}: {kl}");
    }
    let tuned = SimulationFree { fine_tune: 0.2, ..SimulationFree::default() };
    let (before, after) = (
        divergence(Objective::FlowMatching(SimulationFree::default()), 200),
        divergence(Objective::FlowMatching(tuned), 250),
    );
    assert!(after < before, "fine-tuning: {before} {after}");
}

/// The loss of rows, with the default settings.
fn loss(flow: &Flow<f64>, rows: usize, context: &Context<f64>) -> Result<Loss<f64>> {
    let x = batch(draw(rows, &mut stream(1, "x")), rows, 2).unwrap();
    let rng = &mut stream(2, "pairs");
    flow_matching(flow, &FlowMatching::default(), &x, context, Tape::recording(), rng)
}

#[test]
fn the_loss_has_the_gradient_of_its_differences() {
    for context in [0, 2] {
        let mut flow = flow(context);
        let rows = 150;
        let code: Vec<f64> = normals(rows * context, &mut stream(1, "code"));
        let context = match context {
            0 => Context::none(),
            _ => Context::of(batch(code, rows, context).unwrap()),
        };
        let mut result = loss(&flow, rows, &context).unwrap();
        assert_eq!(result.work.field_evaluations, 1);
        let mut cases = Vec::new();
        flow.visit(&mut |name, _, tensor| {
            let gradient = result.gradient.take(tensor).unwrap();
            cases.push((name.to_owned(), tensor.values(), gradient));
        });
        for (name, values, gradient) in cases {
            for index in [0, values.len() / 2, values.len() - 1] {
                let h = 1e-5;
                let mut at = |by: f64| {
                    let mut moved = values.clone();
                    moved[index] += by;
                    flow.visit_mut(&mut |n, _, t| {
                        if n == name { set_values(t, &moved) } else { Ok(()) }
                    })
                    .unwrap();
                    loss(&flow, rows, &context).unwrap().value
                };
                let expected = (at(h) - at(-h)) / (2.0 * h);
                at(0.0);
                let got = gradient[index];
                // Differences of second order and rounding over h: 1e-9 on losses of order ten.
                assert!(
                    (got - expected).abs() < 1e-7 * (1.0 + expected.abs()),
                    "{name} {index}: {got} {expected}"
                );
            }
        }
    }
}

#[test]
fn data_reach_the_field_through_what_stands_between() {
    // A second flow on the data side: the first part's field is the one that is trained.
    let rng = &mut stream(4, "init");
    let mut part = || Box::new(config().build(2, 0, rng).unwrap()) as _;
    let parts = vec![part(), part()];
    let chain = Chain::new(2, parts).unwrap();
    let flow = Flow::new(Base::standard_normal(2), Box::new(chain)).unwrap();
    let mut loss = loss(&flow, 40, &Context::none()).unwrap();
    flow.visit(&mut |name, _, tensor| {
        let gradient = loss.gradient.take(tensor).unwrap();
        let trained = gradient.iter().any(|g| *g != 0.0);
        assert_eq!(trained, name.starts_with("bijector.0."), "{name}");
    });
}

#[test]
fn a_flow_without_a_field_is_refused() {
    let chain: Chain<f64> = Chain::new(2, Vec::new()).unwrap();
    let flow = Flow::new(Base::standard_normal(2), Box::new(chain)).unwrap();
    assert!(matches!(loss(&flow, 4, &Context::none()), Err(Error::Unavailable { .. })));
}

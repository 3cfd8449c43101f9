//! Hybrid models: gradients, evaluation and training.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::ops::ControlFlow;

use flows_continuous::ContinuousFlow;
use flows_core::activation::Activation;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{close, differences, names, perturb, wide};
use flows_core::train::{
    AdamConfig, Budget, Minibatch, SamplerSource, StopReason, TableSource, TrainConfig, Validation,
};
use flows_core::{
    Architecture, Base, Chain, Context, Flow, Parameters, Purpose, Role, Stream, Tape, Values,
    normals, stream,
};
use flows_finite::architecture::{Conditioner, CouplingFlow, Perceptron};
use flows_inference::hybrid::{Hybrid, HybridTrainer, HybridTraining};

/// Smooth, so that differences have no kinks to cross.
fn couplings(dim: usize) -> Flow<f64> {
    let perceptron = Perceptron { hidden: vec![5], activation: Activation::Tanh };
    let conditioner = Conditioner::Perceptron(perceptron);
    let config = CouplingFlow { layers: 2, conditioner, ..CouplingFlow::default() };
    let chain = config.build::<f64>(dim, 0, &mut stream(1, "weights")).unwrap();
    Flow::new(Base::diagonal_normal(dim).unwrap(), Box::new(chain)).unwrap()
}

fn identity(dim: usize) -> Flow<f64> {
    Flow::new(Base::standard_normal(dim), Box::new(Chain::new(dim, Vec::new()).unwrap())).unwrap()
}

/// A model away from its start.
fn model(dim: usize, classes: usize) -> Hybrid<f64> {
    let mut model = Hybrid::new(couplings(dim), classes).unwrap();
    perturb(&mut model, 0.3, &mut stream(2, "perturbation")).unwrap();
    model
}

const ROWS: [f64; 9] = [0.3, -1.0, 0.5, 1.2, -0.2, 0.7, -0.6, 0.1, 2.0];
const CLASSES: [usize; 3] = [2, 0, 3];

fn learned(model: &Hybrid<f64>) -> Vec<f64> {
    let mut all = Vec::new();
    model.visit(&mut |_, role, tensor| {
        if role == Role::Learned {
            all.extend(tensor.values());
        }
    });
    all
}

fn set_learned(model: &mut Hybrid<f64>, values: &[f64]) {
    let mut rest = values;
    model
        .visit_mut(&mut |_, role, tensor| {
            if role == Role::Fixed {
                return Ok(());
            }
            let (here, after) = rest.split_at(tensor.values().len());
            rest = after;
            set_values(tensor, here)
        })
        .unwrap();
}

/// By weights of all parts, through both terms: the classifier alone at weight 0.
#[test]
fn gradients_are_those_of_differences() {
    let x = batch(ROWS.to_vec(), 3, 3).unwrap();
    for weight in [0.0, 0.7] {
        let mut model = model(3, 4);
        let mut gradient = model.loss(&x, &CLASSES, weight).unwrap().gradient;
        let mut analytic = Vec::new();
        model.visit(&mut |name, role, tensor| {
            if role == Role::Learned {
                let slopes = gradient.of(tensor).unwrap();
                // Without a weight nothing asks for the base.
                let used = weight > 0.0 || !name.starts_with("flow.base");
                assert_eq!(slopes.iter().any(|g| *g != 0.0), used, "{name} at weight {weight}");
                analytic.extend_from_slice(slopes);
            }
        });
        let point = learned(&model);
        assert_eq!(point.len(), model.count());
        let numeric = differences(&point, |values| {
            set_learned(&mut model, values);
            model.loss(&x, &CLASSES, weight).unwrap().value
        });
        close(&format!("weight {weight}"), &analytic, &numeric, 1e-7);
    }
}

#[test]
fn an_evaluation_is_the_density_of_the_flow_and_the_softmax_of_the_classifier() {
    let model = model(3, 4);
    let found = model.evaluate(&ROWS).unwrap();
    let (log_prob, _) = model.flow().evaluate(&ROWS, &Context::none()).unwrap();
    assert_eq!(found.log_prob, log_prob);
    for row in found.log_classes.chunks(4) {
        let total: f64 = row.iter().map(|log_p| log_p.exp()).sum();
        assert!((total - 1.0).abs() < 1e-14, "{total}");
    }
    let x = batch(ROWS.to_vec(), 3, 3).unwrap();
    let terms = model.terms(&x, &CLASSES, &mut Tape::none()).unwrap();
    let chosen: Vec<f64> = (0..3).map(|row| found.log_classes[4 * row + CLASSES[row]]).collect();
    close("log p(y | x)", &wide(&terms.log_class.values()), &chosen, 1e-14);

    let predicted = found.predictions();
    for ((row, class), confidence) in
        found.log_classes.chunks(4).zip(&predicted).zip(found.confidence())
    {
        assert!(row.iter().all(|log_p| *log_p <= row[*class]));
        assert_eq!(row[*class].exp(), confidence);
    }
    assert_eq!(found.accuracy(&predicted).unwrap(), 1.0);
    let other: Vec<usize> = predicted.iter().map(|class| (class + 1) % 4).collect();
    assert_eq!(found.accuracy(&[other[0], predicted[1], other[2]]).unwrap(), 1.0 / 3.0);
}

/// Scores of a few thousand nats, as far points have, neither overflow nor lose the smaller classes.
#[test]
fn large_scores_stay_finite() {
    let mut model = Hybrid::new(identity(2), 2).unwrap();
    let tensors = &mut |name: &str, _, tensor: &mut flows_core::Batch<f64>| match name {
        "classifier.weight0" => set_values(tensor, &[1.0, 0.0, -1.0, 0.0]),
        _ => Ok(()),
    };
    model.visit_mut(tensors).unwrap();
    let found = model.evaluate(&[2000.0, 0.0]).unwrap();
    close("log-probabilities", &found.log_classes, &[0.0, -4000.0], 1e-9);
    let x = batch(vec![2000.0, 0.0], 1, 2).unwrap();
    let mut loss = model.loss(&x, &[1], 0.0).unwrap();
    assert_eq!(loss.value, 4000.0);
    model.visit(&mut |_, _, tensor| {
        assert!(loss.gradient.of(tensor).unwrap().iter().all(|slope| slope.is_finite()));
    });
}

/// RNODE charges for the path of its rows, in training only.
#[test]
fn penalties_of_a_continuous_flow_are_in_the_loss_for_a_feature() {
    let chain = ContinuousFlow::rnode().build::<f64>(3, 0, &mut stream(1, "weights")).unwrap();
    let flow = Flow::new(Base::standard_normal(3), Box::new(chain)).unwrap();
    let mut model = Hybrid::new(flow, 4).unwrap();
    perturb(&mut model, 0.3, &mut stream(2, "perturbation")).unwrap();
    let bijector = model.flow_mut().bijector_mut();
    bijector.set_purpose(Purpose::Training).unwrap();
    bijector.begin_step(&mut stream(3, "probes")).unwrap();
    let x = batch(ROWS.to_vec(), 3, 3).unwrap();
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / 3.0;
    let terms = model.terms(&x, &CLASSES, &mut Tape::recording()).unwrap();
    let penalty = mean(terms.penalty.unwrap().values());
    assert!(penalty > 0.0, "{penalty}");
    let [class, density] = [terms.log_class, terms.log_prob].map(|term| mean(term.values()));
    for weight in [0.0, 2.0] {
        let loss = model.loss(&x, &CLASSES, weight).unwrap().value;
        let expected = -class - weight / 3.0 * density + penalty / 3.0;
        // A sum of three terms below 100.
        assert!((loss - expected).abs() < 1e-13 * 100.0, "{loss} for {expected}");
    }
    model.flow_mut().bijector_mut().set_purpose(Purpose::Reporting).unwrap();
    assert!(model.terms(&x, &CLASSES, &mut Tape::recording()).unwrap().penalty.is_none());
}

/// Rows of N(m, I) and N(-m, I), as many of each, with their class.
fn two_normals(rows: usize, rng: &mut Stream) -> Minibatch<f64> {
    let noise = normals::<f64>(2 * rows, rng);
    let sign = |row: usize| if row.is_multiple_of(2) { 1.0 } else { -1.0 };
    let place = |index: usize| sign(index / 2) * [0.6, 0.3][index % 2];
    let values = noise.iter().enumerate().map(|(index, noise)| noise + place(index)).collect();
    Minibatch { values, context: (0..rows).map(|row| f64::from(u8::from(row % 2 == 1))).collect() }
}

fn settings(steps: u64, weight: f64) -> HybridTraining {
    let train = TrainConfig {
        batch_rows: 1024,
        optimiser: AdamConfig { learning_rate: 2e-2, ..AdamConfig::default() },
        validate_every: 4,
        ..TrainConfig::default()
    };
    HybridTraining { train, budget: Budget::Steps { steps }, weight }
}

/// With the identity for its flow the model is logistic regression. Its weights tend to those of Bayes' rule:
/// the scores of both classes differ by 2 m . x.
///
/// Tolerance: the steps at the end see about 100 batches of 1,024 rows; the information of a row about the
/// difference of scores is at least 1/10, so that its standard error is 0.01, and four of them are 0.04.
#[test]
fn without_layers_it_is_logistic_regression_with_the_weights_of_bayes_rule() {
    let source = SamplerSource::conditional(two_normals, 2, 1, 7);
    let model = Hybrid::new(identity(2), 2).unwrap();
    let model = HybridTrainer::new(model, settings(600, 1.0), 3).unwrap().fit(&source).unwrap();
    let mut found = Vec::new();
    model.visit(&mut |name, _, tensor| {
        if name.starts_with("classifier") {
            found.push(tensor.values());
        }
    });
    let [weight, bias] = &found[..] else { panic!("{found:?}") };
    let differences = [weight[0] - weight[2], weight[1] - weight[3], bias[0] - bias[1]];
    for (found, expected) in differences.iter().zip([1.2, 0.6, 0.0]) {
        assert!((found - expected).abs() < 0.04, "{differences:?}");
    }
}

#[test]
fn patience_keeps_the_best_validated_weights() {
    // The classes of the held-out rows are exchanged, so that training worsens them.
    let Minibatch { values, context } = two_normals(64, &mut stream(5, "rows"));
    let exchanged: Vec<f64> = context.iter().map(|class| 1.0 - class).collect();
    let validation = Validation {
        values: values.clone(),
        context: Context::of(batch(exchanged.clone(), 64, 1).unwrap()),
    };
    let source = TableSource::new(values.clone(), 2, 1).unwrap().with_context(context, 1).unwrap();
    let mut settings = settings(400, 0.0);
    settings.train.patience = Some(2);
    let mut trainer =
        HybridTrainer::new(Hybrid::new(couplings(2), 2).unwrap(), settings, 3).unwrap();
    let mut validated = Vec::new();
    let stopped = trainer.run(&source, Some(&validation), |_, progress| {
        validated.extend(progress.validation_nats);
        Ok(ControlFlow::Continue(()))
    });
    assert_eq!(stopped.unwrap(), StopReason::EarlyStop);
    assert!(trainer.steps() < 400 && validated.len() > 2, "{validated:?}");
    let best = validated.iter().copied().fold(f64::INFINITY, f64::min);
    let found = trainer.into_model().unwrap().evaluate(&values).unwrap();
    let log_p = |(row, class): (&[f64], &f64)| row[*class as usize];
    let total: f64 = found.log_classes.chunks(2).zip(&exchanged).map(log_p).sum();
    assert!((-total / 64.0 - best).abs() < 1e-12, "{best}");
}

#[test]
fn parts_rows_and_settings_that_do_not_fit_are_refused() {
    names(&Hybrid::new(couplings(2), 1).unwrap_err(), &["classes", "at least 2", "got 1"]);
    let config = CouplingFlow { layers: 2, ..CouplingFlow::default() };
    let chain = config.build::<f64>(2, 3, &mut stream(1, "weights")).unwrap();
    let conditional = Flow::new(Base::standard_normal(2), Box::new(chain)).unwrap();
    let error = Hybrid::new(conditional, 2).unwrap_err();
    names(&error, &["context of a hybrid model", "expected 0", "got 3"]);

    let model = model(3, 4);
    let x = batch(ROWS.to_vec(), 3, 3).unwrap();
    names(
        &model.loss(&x, &[0, 4, 1], 1.0).unwrap_err(),
        &["whole number below 4", "got 4", "row 1"],
    );
    names(&model.loss(&x, &[0, 1], 1.0).unwrap_err(), &["expected 3 rows", "got 2"]);
    names(&model.evaluate(&ROWS[..4]).unwrap_err(), &["expected 3", "got 1"]);
    names(&model.evaluate(&ROWS).unwrap().accuracy(&[0]).unwrap_err(), &["expected 3", "got 1"]);

    let wrong = |change: &dyn Fn(&mut HybridTraining)| {
        let mut settings = settings(3, 1.0);
        change(&mut settings);
        HybridTrainer::new(Hybrid::new(couplings(2), 2).unwrap(), settings, 3).unwrap_err()
    };
    names(&wrong(&|s| s.weight = -1.0), &["weight", "at least 0", "got -1"]);
    names(&wrong(&|s| s.weight = f64::NAN), &["weight", "at least 0"]);
    names(&wrong(&|s| s.train.ema = Some(0.9)), &["ema", "patience"]);

    let trainer = || HybridTrainer::new(Hybrid::new(couplings(2), 2).unwrap(), settings(3, 1.0), 3);
    let source = |classes: Vec<f64>| {
        TableSource::new(vec![0.5; 8], 2, 1).unwrap().with_context(classes, 1).unwrap()
    };
    let unlabelled = TableSource::new(vec![0.5; 8], 2, 1).unwrap();
    names(&trainer().unwrap().fit(&unlabelled).unwrap_err(), &["classes", "expected 1", "got 0"]);
    let error = trainer().unwrap().fit(&source(vec![0.5; 4])).unwrap_err();
    names(&error, &["whole number", "got 0.5"]);
    let error = trainer().unwrap().fit(&source(vec![2.0; 4])).unwrap_err();
    names(&error, &["whole number below 2", "got 2"]);
}

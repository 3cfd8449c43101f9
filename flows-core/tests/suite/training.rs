//! Training against arithmetic: a diagonal normal has gradients that fit on a line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use std::ops::ControlFlow;

use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, set_values};
use flows_core::testing::assert_error;
use flows_core::train::{
    Adam, AdamConfig, Budget, Minibatch, Progress, Schedule, Source, StopReason, TableSource,
    TrainConfig, Trainer, Validation, gradient_norm,
};
use flows_core::{
    Base, Batch, Chain, Context, Error, Flow, Gradients, Parameters, Real, Result, Role, Values,
};

/// N(m, exp(s)^2) in one dimension, from m = s = 0.
fn normal<E: Real>() -> Flow<E> {
    let identity = Box::new(Chain::new(1, Vec::new()).unwrap());
    Flow::new(Base::diagonal_normal(1).unwrap(), identity).unwrap()
}

/// m and s.
fn weights<E: Real>(flow: &Flow<E>) -> [E; 2] {
    let mut all = Vec::new();
    flow.visit(&mut |_, _, tensor| all.extend(tensor.values()));
    all.try_into().unwrap()
}

/// The same rows every step, with others at one step.
struct Repeated<E> {
    rows: Vec<E>,
    odd_step: u64,
    odd_rows: Vec<E>,
}

impl<E: Real> Source<E> for Repeated<E> {
    fn dim(&self) -> usize {
        1
    }

    fn minibatch(&self, step: u64, _: usize) -> Result<Minibatch<E>> {
        let values = if step == self.odd_step { &self.odd_rows } else { &self.rows };
        Ok(Minibatch { values: values.clone(), context: Vec::new() })
    }
}

fn repeated<E: Real>(rows: &[f64]) -> Repeated<E> {
    let rows = rows.iter().map(|&v| E::of(v)).collect();
    Repeated { rows, odd_step: u64::MAX, odd_rows: Vec::new() }
}

fn config(learning_rate: f64) -> TrainConfig {
    let optimiser = AdamConfig { learning_rate, ..AdamConfig::default() };
    TrainConfig { optimiser, ..TrainConfig::default() }
}

type Step = (Progress, [f64; 2]);

/// All reports, each with the weights after its step.
fn run<E: Real>(
    trainer: &mut Trainer<E>,
    source: &dyn Source<E>,
    validation: Option<&Validation<E>>,
) -> Result<(StopReason, Vec<Step>)> {
    let mut steps = Vec::new();
    let outcome = trainer.run(source, validation, |trainer, progress| {
        steps.push((*progress, weights(trainer.flow()).map(Real::as_f64)));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((outcome, steps))
}

/// Mean negative log-likelihood of N(m, e^s) and its gradient for m and s.
fn nats_and_slope(rows: &[f64], [m, s]: [f64; 2]) -> (f64, [f64; 2]) {
    let count = rows.len() as f64;
    let u: Vec<f64> = rows.iter().map(|x| (x - m) * (-s).exp()).collect();
    let (mean, square) = (u.iter().sum::<f64>() / count, u.iter().map(|u| u * u).sum::<f64>());
    let square = square / count;
    let half_log = 0.5 * (2.0 * std::f64::consts::PI).ln();
    (0.5 * square + s + half_log, [-mean * (-s).exp(), 1.0 - square])
}

#[test]
fn steps_are_those_of_adam_on_the_clipped_gradient_under_the_schedule() {
    let rows = [2.0, 5.0, -1.0, 3.5];
    let total = 12;
    for (schedule, clip, decay) in
        [(Schedule::Constant, 1e9, 0.0), (Schedule::Cosine, 0.3, 0.0), (Schedule::Cosine, 2.0, 0.5)]
    {
        let optimiser =
            AdamConfig { learning_rate: 0.1, weight_decay: decay, ..AdamConfig::default() };
        let config = TrainConfig { optimiser, schedule, clip_norm: clip, ..TrainConfig::default() };
        let mut trainer =
            Trainer::new(normal::<f64>(), config, Budget::Steps { steps: total }, 0).unwrap();
        let (outcome, steps) = run(&mut trainer, &repeated(&rows), None).unwrap();
        assert_eq!((outcome, steps.len() as u64), (StopReason::Finished, total));

        let (mut at, mut first, mut second) = ([0.0; 2], [0.0; 2], [0.0; 2]);
        let mut clipped = 0;
        for (t, (progress, weights)) in steps.iter().enumerate() {
            let (nats, slope) = nats_and_slope(&rows, at);
            let norm = slope[0].hypot(slope[1]);
            let scale = if norm > clip { clip / norm } else { 1.0 };
            clipped += usize::from(norm > clip);
            let part = t as f64 / total as f64;
            let rate = 0.1
                * match schedule {
                    Schedule::Constant => 1.0,
                    Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * part).cos()),
                };
            let power = i32::try_from(t).unwrap() + 1;
            for i in 0..2 {
                let g = slope[i] * scale;
                first[i] = 0.9 * first[i] + 0.1 * g;
                second[i] = 0.999 * second[i] + 0.001 * g * g;
                let m = first[i] / (1.0 - 0.9_f64.powi(power));
                let v = second[i] / (1.0 - 0.999_f64.powi(power));
                at[i] -= rate * (decay * at[i] + m / (v.sqrt() + 1e-8));
            }
            // Numbers of order ten after twelve steps of a few roundings each: 1e-12 is ample.
            let pairs = [
                (progress.train_nats.unwrap(), nats),
                (progress.gradient_norm, norm),
                (progress.learning_rate, rate),
                (weights[0], at[0]),
                (weights[1], at[1]),
            ];
            for (got, expected) in pairs {
                assert!((got - expected).abs() < 1e-12, "step {t}: {got} {expected}");
            }
        }
        assert_eq!(clipped > 0, clip < 1e9, "the case does not test what it should");
    }
}

#[test]
fn early_stopping_keeps_the_weights_of_the_best_validation() {
    // Training pulls the mean from 0 to 10 at about 0.1 a step; validation is best near 1.
    let rows = [9.0, 11.0, 10.0];
    let judge = [0.0, 1.0, 2.0];
    let validation = Validation { values: judge.to_vec(), context: Context::none() };
    let config = TrainConfig {
        validate_every: 2,
        patience: Some(3),
        schedule: Schedule::Constant,
        ..config(0.1)
    };
    let mut trainer =
        Trainer::new(normal::<f64>(), config, Budget::Steps { steps: 1000 }, 0).unwrap();
    let (outcome, steps) = run(&mut trainer, &repeated(&rows), Some(&validation)).unwrap();
    assert_eq!(outcome, StopReason::EarlyStop);
    let validated: Vec<_> =
        steps.iter().filter_map(|(p, w)| p.validation_nats.map(|n| (p.step, n, *w))).collect();
    for (step, nats, weights) in &validated {
        assert!((nats - nats_and_slope(&judge, *weights).0).abs() < 1e-12, "step {step}");
    }
    assert!(validated.iter().map(|v| v.0).eq((1..=validated.len() as u64).map(|n| 2 * n)));
    let best = validated.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert!(best.0 > 2, "the case does not test what it should");
    assert_eq!(trainer.steps(), best.0 + 6, "three validations of two steps without improvement");
    assert_eq!(trainer.best_nats(), Some(best.1));
    assert_eq!(weights(&trainer.into_flow().unwrap()), best.2);
}

#[test]
fn the_start_is_kept_if_training_only_makes_it_worse() {
    // Validation rows are those of the start, N(0, 1); training goes to N(10, ..), or, at a rate of
    // 1e3, out of all numbers.
    let judge = [-1.0, 1.0, 0.0];
    let validation = Validation { values: judge.to_vec(), context: Context::none() };
    for (rate, ema, rows) in
        [(0.1, None, [9.0, 11.0]), (0.1, Some(0.9), [9.0, 11.0]), (1e3, None, [1e6, -1e6])]
    {
        let config = TrainConfig {
            validate_every: 5,
            patience: Some(100),
            schedule: Schedule::Constant,
            ema,
            ..config(rate)
        };
        let budget = Budget::Steps { steps: 40 };
        let mut trainer = Trainer::new(normal::<f64>(), config.clone(), budget, 0).unwrap();
        let start = nats_and_slope(&judge, [0.0, 0.0]).0;
        let (_, steps) = run(&mut trainer, &repeated(&rows), Some(&validation)).unwrap();
        assert!(steps.iter().filter_map(|(p, _)| p.validation_nats).all(|nats| nats > start));
        assert!((trainer.best_nats().unwrap() - start).abs() < 1e-12);
        assert_eq!(weights(&trainer.into_flow().unwrap()), [0.0, 0.0]);
        // Without patience no weights are kept, and the steps are the same.
        let config = TrainConfig { patience: None, ..config };
        let mut plain = Trainer::new(normal::<f64>(), config, budget, 0).unwrap();
        let (_, same) = run(&mut plain, &repeated(&rows), Some(&validation)).unwrap();
        assert!(steps.iter().map(|s| s.1).eq(same.iter().map(|s| s.1)));
        assert_eq!(plain.best_nats(), None);
    }
}

/// Trains with one minibatch that spoils the loss and looks at what is left.
fn diverges<E: Real>(odd: E) {
    let source = Repeated { odd_step: 7, odd_rows: vec![E::one(), odd], ..repeated(&[1.0, 2.0]) };
    let mut trainer =
        Trainer::new(normal::<E>(), config(0.1), Budget::Steps { steps: 20 }, 0).unwrap();
    let (outcome, steps) = run(&mut trainer, &source, None).unwrap();
    let StopReason::Diverged { step, reason } = outcome else { panic!("{outcome:?}") };
    assert_eq!((step, steps.len(), trainer.steps()), (7, 7, 7));
    assert!(reason.contains("not finite") && reason.contains("learning_rate"), "{reason}");
    let left = weights(trainer.flow()).map(Real::as_f64);
    assert!(left.iter().all(|w| w.is_finite()));
    assert_eq!(left, steps[6].1, "weights of the last good step");
    assert_eq!(weights(&trainer.into_flow().unwrap()).map(Real::as_f64), left);
}

#[test]
fn a_loss_that_is_not_finite_leaves_the_weights_of_the_last_good_step() {
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
        diverges(odd);
        diverges(odd as f32);
    }
}

#[test]
fn a_run_that_cannot_start_says_why() {
    let mut trainer =
        Trainer::new(normal::<f64>(), config(0.1), Budget::Steps { steps: 5 }, 0).unwrap();
    let wide = TableSource::new(vec![1.0; 6], 2, 0).unwrap();
    let error = run(&mut trainer, &wide, None).unwrap_err();
    assert!(matches!(error, Error::Dimension { expected: 1, got: 2, .. }), "{error}");
    let bad = [
        (config(0.0), "learning_rate", 0.0),
        (config(f64::NAN), "learning_rate", f64::NAN),
        (TrainConfig { batch_rows: 0, ..config(0.1) }, "batch_rows", 0.0),
    ];
    for (config, name, value) in bad {
        assert_error!(
            Trainer::new(normal::<f64>(), config, Budget::Steps { steps: 5 }, 0),
            Error::Parameter { .. },
            [name, &format!("got {value}")]
        );
    }
    let nothing = [
        (Budget::Steps { steps: 0 }, "steps", 0.0),
        (Budget::Seconds { seconds: 0.0 }, "seconds", 0.0),
        (Budget::Seconds { seconds: f64::INFINITY }, "seconds", f64::INFINITY),
        (Budget::Work { work: 0 }, "work", 0.0),
    ];
    for (budget, name, value) in nothing {
        assert_error!(
            Trainer::new(normal::<f64>(), config(0.1), budget, 0),
            Error::Parameter { .. },
            [name, "positive and finite", &format!("got {value}")]
        );
    }
    // This flow has no network whose passes could be counted.
    let mut trainer =
        Trainer::new(normal::<f64>(), config(0.1), Budget::Work { work: 100 }, 0).unwrap();
    let error = run(&mut trainer, &repeated(&[1.0, 2.0]), None).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[test]
fn a_large_but_finite_gradient_is_clipped_and_not_taken_for_divergence() {
    // The loss is 1e20 / 2 and the slope of the log-scale 1 - 1e20: single precision holds both.
    let rows = [1e10, -1e10];
    let mut trainer =
        Trainer::new(normal::<f32>(), config(0.1), Budget::Steps { steps: 3 }, 0).unwrap();
    let (outcome, steps) = run(&mut trainer, &repeated(&rows), None).unwrap();
    assert_eq!((outcome, steps.len()), (StopReason::Finished, 3));
    assert!((steps[0].0.gradient_norm / 1e20 - 1.0).abs() < 1e-5);
    // The first step of Adam is the learning rate along the sign of the gradient.
    assert!((steps[0].1[1] - 0.1).abs() < 1e-6);
}

#[derive(Debug)]
struct Three<E: Real>(Batch<E>);

impl<E: Real> Parameters<E> for Three<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        f("three", Role::Learned, &self.0);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        f("three", Role::Learned, &mut self.0)
    }
}

fn norm_of<E: Real>(values: [f64; 3]) -> f64 {
    let mut model = Three(batch(vec![E::zero(); 3], 1, 3).unwrap());
    set_values(&mut model.0, &[E::one(); 3]).unwrap();
    let mut gradients = Gradients::new();
    gradients.add(&model.0, &values.map(E::of)).unwrap();
    gradient_norm(&model, &mut gradients).unwrap()
}

#[test]
fn the_norm_of_a_finite_gradient_is_finite() {
    // sqrt(2^2 + 3^2 + 6^2) = 7; single precision holds the scaled values to 6e-8 each.
    for scale in [1.0, 1e-30, 1e30] {
        let values = [2.0, -3.0, 6.0].map(|v| v * scale);
        for norm in [norm_of::<f64>(values), norm_of::<f32>(values)] {
            assert!((norm / scale - 7.0).abs() < 1e-5, "{norm:e} at scale {scale:e}");
        }
    }
}

/// Steps of this Adam and of that of dfdx along the same gradients.
fn compare_with_dfdx(weight_decay: f64) {
    let start = vec![0.3, -1.0, 2.0];
    let mut ours = Three(batch(start.clone(), 1, 3).unwrap());
    let mut theirs = batch(start, 1, 3).unwrap();
    let config = AdamConfig { weight_decay, ..AdamConfig::default() };
    let reference = dfdx::tensor_ops::AdamConfig {
        lr: config.learning_rate,
        betas: config.betas,
        eps: config.epsilon,
        weight_decay: (weight_decay > 0.0)
            .then_some(dfdx::tensor_ops::WeightDecay::Decoupled(weight_decay)),
    };
    let mut adam = Adam::new(config, &ours);
    let leaky = dfdx::tensor::Gradients::<f64, dfdx::tensor::Cpu>::leaky;
    let (mut first, mut second) = (leaky(), leaky());
    for t in 1..=5 {
        let mut gradients = Gradients::new();
        let slope: Vec<f64> = (0..3).map(|i| f64::from(t * i) - 1.5).collect();
        gradients.add(&ours.0, &slope).unwrap();
        adam.update(&mut ours, &mut gradients, 1.0, 1.0).unwrap();
        let mut gradient = leaky();
        gradient.get_or_alloc_mut(&theirs).unwrap().copy_from_slice(&slope);
        let ghost = theirs.clone();
        let (m, v) =
            (first.get_or_alloc_mut(&ghost).unwrap(), second.get_or_alloc_mut(&ghost).unwrap());
        let gradient = gradient.get_or_alloc_mut(&ghost).unwrap();
        reference.try_update(t, &mut theirs, m, v, gradient).unwrap();
    }
    for (a, b) in ours.0.values().iter().zip(theirs.values()) {
        assert!((a - b).abs() < 1e-14, "{a} {b}");
    }
}

#[test]
fn updates_agree_with_those_of_dfdx() {
    compare_with_dfdx(0.0);
    compare_with_dfdx(0.1);
}

//! Batch normalisation: one batch in training, running statistics everywhere else.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::f64::consts::TAU;
use std::ops::ControlFlow;

use flows_core::Shape;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{
    Tolerance, assert_error, check_bijector, differences, distance_to_scale, normal_point,
    objective, objective_gradients, perturb,
};
use flows_core::train::{
    Budget, Checkpoint, SamplerSource, StopReason, TableSource, TrainConfig, Trainer,
};
use flows_core::{
    Base, Batch, Bijector, Chain, Context, Error, Flow, Inverse, Layer, Mapped, Parameters,
    Pixelwise, Purpose, Real, Role, Stream, Tape, Values, normals, stream,
};
use flows_finite::{BatchNorm, LuLinear};

const DIM: usize = 3;
const MEANS: [f64; DIM] = [5.0, -2.0, 0.3];
const DEVIATIONS: [f64; DIM] = [1.0, 30.0, 0.1];

fn data<E: Real>(seed: u64, rows: usize) -> Batch<E> {
    let draws: Vec<f64> = normals(rows * DIM, &mut stream(seed, "data"));
    let scaled = |(i, v): (usize, f64)| E::of(MEANS[i % DIM] + DEVIATIONS[i % DIM] * v);
    batch(draws.into_iter().enumerate().map(scaled).collect(), rows, DIM).unwrap()
}

fn tensor<E: Real>(layer: &impl Parameters<E>, name: &str) -> Vec<f64> {
    let mut found = None;
    layer.visit(&mut |this, _, tensor| {
        if this == name {
            found = Some(tensor.values().iter().map(|v| v.as_f64()).collect());
        }
    });
    found.unwrap()
}

fn moved(dim: usize) -> BatchNorm<f64> {
    let mut layer = BatchNorm::new(dim).unwrap();
    perturb(&mut layer, 0.4, &mut stream(3, "perturb")).unwrap();
    layer
}

fn inverse<E: Real>(layer: &dyn Bijector<E>, x: &Batch<E>) -> Mapped<E> {
    layer.inverse(x, &Context::none(), &mut Tape::none()).unwrap()
}

fn forward<E: Real>(layer: &dyn Bijector<E>, z: &Batch<E>) -> Mapped<E> {
    layer.forward(z, &Context::none(), &mut Tape::none()).unwrap()
}

/// A training step on a batch, without a change of the learned parameters.
fn step<E: Real>(layer: &mut BatchNorm<E>, x: &Batch<E>) {
    let mut tape = Tape::recording();
    layer.inverse(x, &Context::none(), &mut tape).unwrap();
    let mut gradients = tape.backward(|_| Ok(())).unwrap();
    layer.end_step(&mut gradients).unwrap();
}

/// z and log-det of each row by the formula, with the statistics of the batch.
fn plain(x: &[f64], dim: usize, log_scale: &[f64], shift: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let rows = x.len() / dim;
    let (mut z, mut log_det) = (x.to_vec(), 0.0);
    for j in 0..dim {
        let column: Vec<f64> = (0..rows).map(|r| x[r * dim + j]).collect();
        let mean = column.iter().sum::<f64>() / rows as f64;
        let variance = column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / rows as f64;
        log_det += log_scale[j] - 0.5 * (variance + 1e-5).ln();
        for r in 0..rows {
            let scaled = (column[r] - mean) / (variance + 1e-5).sqrt();
            z[r * dim + j] = scaled * log_scale[j].exp() + shift[j];
        }
    }
    (z, vec![log_det; rows])
}

#[test]
fn reporting_is_a_bijection_of_each_row() {
    for dim in [1, 2, 5] {
        let mut layer = moved(dim);
        check_bijector(&mut layer, normal_point(2.0), Tolerance::default());
        let x: Vec<f64> = normals(dim * 50, &mut stream(1, "x"));
        let x = batch(x.iter().map(|v| 3.0 + 0.5 * v).collect(), 50, dim).unwrap();
        layer.initialise(&x, &Context::none()).unwrap();
        check_bijector(&mut layer, normal_point(2.0), Tolerance::default());
        layer.set_purpose(Purpose::Training).unwrap();
        layer.set_purpose(Purpose::Reporting).unwrap();
        check_bijector(&mut layer, normal_point(2.0), Tolerance::default());
        let mut exchanged = Inverse::new(Box::new(layer));
        check_bijector(&mut exchanged, normal_point(2.0), Tolerance::default());
    }
}

#[test]
fn training_normalises_by_the_batch_with_and_without_a_tape() {
    for (rows, dim) in [(2, 1), (2, 3), (5, 3), (300, 2)] {
        let mut layer = moved(dim);
        layer.set_purpose(Purpose::Training).unwrap();
        let x: Vec<f64> = normals(rows * dim, &mut stream(2, "x"));
        let x = batch(x.iter().map(|v| 1.5 + 2.0 * v).collect(), rows, dim).unwrap();
        let (log_scale, shift) = (tensor(&layer, "log_scale"), tensor(&layer, "shift"));
        let (z, log_det) = plain(&x.values(), dim, &log_scale, &shift);
        let untraced = inverse(&layer, &x);
        let traced = layer.inverse(&x, &Context::none(), &mut Tape::recording()).unwrap();
        assert_eq!(untraced.value.values(), traced.value.values());
        assert_eq!(untraced.log_det.values(), traced.log_det.values());
        assert!(distance_to_scale(&untraced.value.values(), &z) < 1e-13);
        assert!(distance_to_scale(&untraced.log_det.values(), &log_det) < 1e-13);
    }
}

#[test]
fn training_gradients_agree_with_differences_of_the_whole_batch() {
    // More rows than a block, too: the statistics run across blocks.
    for (rows, dim) in [(2, 1), (2, 2), (3, 2), (7, 3), (150, 1)] {
        let mut layer = moved(dim);
        layer.set_purpose(Purpose::Training).unwrap();
        let x: Vec<f64> = normals(rows * dim, &mut stream(4, "x"));
        let x = batch(x.iter().map(|v| 0.5 + 1.5 * v).collect(), rows, dim).unwrap();
        let mut tape = Tape::recording();
        let out = layer.inverse(&x, &Context::none(), &mut tape).unwrap();
        let mut tensors = vec![x.clone()];
        layer.visit(&mut |_, role, tensor| {
            if role == Role::Learned {
                tensors.push(tensor.clone());
            }
        });
        let exact = objective_gradients(&out, tape, &tensors).unwrap();
        let given: Vec<Vec<f64>> = tensors.iter().map(Values::values).collect();
        for (index, exact) in exact.iter().enumerate() {
            let numerical = differences(&given[index], |moved| {
                let mut all = given.clone();
                all[index] = moved.to_vec();
                let (z, log_det) = plain(&all[0], dim, &all[1], &all[2]);
                objective(&z, &log_det)
            });
            let distance = distance_to_scale(exact, &numerical);
            // The error of differences, 8e-9 at most, grows where few rows lie close together.
            assert!(distance < 1e-7, "{rows} rows, tensor {index}: {distance:e}");
        }
    }
}

/// Mean and unbiased variance of each column.
fn moments(x: &Batch<f64>) -> Vec<(f64, f64)> {
    let (values, rows) = (x.values(), x.rows() as f64);
    let of = |j: usize| {
        let column = || values.iter().skip(j).step_by(DIM);
        let mean = column().sum::<f64>() / rows;
        (mean, column().map(|v| (v - mean).powi(2)).sum::<f64>() / (rows - 1.0))
    };
    (0..DIM).map(of).collect()
}

#[test]
fn running_statistics_converge_to_those_of_the_data() {
    let mut layer = BatchNorm::<f64>::new(DIM).unwrap();
    layer.set_purpose(Purpose::Training).unwrap();
    let (batches, rows) = (200, 200);
    for seed in 0..batches {
        step(&mut layer, &data(seed, rows));
    }
    let (mean, variance) = (tensor(&layer, "running_mean"), tensor(&layer, "running_variance"));
    for j in 0..DIM {
        // Momentum 0.1 averages over 2 / 0.1 - 1 = 19 batches: 3800 rows, four standard errors.
        let error = 4.0 / f64::sqrt(19.0 * rows as f64);
        let (off, ratio) =
            ((mean[j] - MEANS[j]) / DEVIATIONS[j], variance[j] / DEVIATIONS[j].powi(2));
        assert!(off.abs() < error, "mean {j}: {off}");
        assert!((ratio - 1.0).abs() < error * f64::sqrt(2.0), "variance {j}: {ratio}");
    }
    layer.set_purpose(Purpose::Reporting).unwrap();
    let z = inverse(&layer, &data(999, 4000)).value;
    for (mean, variance) in moments(&z) {
        assert!(mean.abs() < 0.12 && (variance - 1.0).abs() < 0.15, "{mean} {variance}");
    }
}

#[test]
fn the_running_statistics_follow_the_rule() {
    let mut layer = BatchNorm::<f64>::new(DIM).unwrap();
    layer.set_purpose(Purpose::Training).unwrap();
    let mut expected: Vec<(f64, f64)> = Vec::new();
    for seed in 0..4 {
        let x = data(seed, 10);
        step(&mut layer, &x);
        let seen = moments(&x);
        if expected.is_empty() {
            expected = seen;
        } else {
            for (old, new) in expected.iter_mut().zip(seen) {
                *old = (0.9 * old.0 + 0.1 * new.0, 0.9 * old.1 + 0.1 * new.1);
            }
        }
    }
    let (means, variances): (Vec<f64>, Vec<f64>) = expected.into_iter().unzip();
    assert!(distance_to_scale(&tensor(&layer, "running_mean"), &means) < 1e-12);
    assert!(distance_to_scale(&tensor(&layer, "running_variance"), &variances) < 1e-12);

    // What is not finite moves nothing; nor does the forward map.
    let before = (tensor(&layer, "running_mean"), tensor(&layer, "running_variance"));
    let odd = batch([vec![f64::NAN], vec![1.0; 5]].concat(), 2, DIM).unwrap();
    step(&mut layer, &odd);
    let mut tape = Tape::recording();
    let out = layer.forward(&data(1, 10), &Context::none(), &mut tape).unwrap();
    let outer = vec![1.0; 10 * DIM];
    let mut gradients = tape.backward(|gradients| gradients.add(&out.value, &outer)).unwrap();
    layer.end_step(&mut gradients).unwrap();
    assert_eq!((tensor(&layer, "running_mean"), tensor(&layer, "running_variance")), before);
    assert!(layer.initialise(&odd, &Context::none()).unwrap_err().to_string().contains("row 0"));
}

#[test]
fn a_training_batch_of_one_row_is_refused_with_what_to_do() {
    let one = batch(vec![0.3; DIM], 1, DIM).unwrap();
    let mut layer = BatchNorm::<f64>::new(DIM).unwrap();
    layer.set_purpose(Purpose::Training).unwrap();
    assert_error!(
        layer.inverse(&one, &Context::none(), &mut Tape::recording()),
        Error::Parameter { .. },
        ["batch norm must be at least 2", "batch_rows", "got 1"]
    );
    // Draws and reports use the running statistics.
    forward(&layer, &one);
    layer.set_purpose(Purpose::Reporting).unwrap();
    inverse(&layer, &one);
    // A training run ends with that sentence, and not as diverged.
    let config = TrainConfig { batch_rows: 1, ..TrainConfig::default() };
    let flow = Flow::new(Base::standard_normal(DIM), Box::new(layer)).unwrap();
    let trainer = Trainer::new(flow, config, Budget::Steps { steps: 3 }, 0).unwrap();
    let source = TableSource::new(data(1, 10).values(), DIM, 0).unwrap();
    assert_error!(trainer.fit(&source), Error::Parameter { .. }, ["batch_rows"]);
}

#[test]
fn forward_and_inverse_meet_after_training_and_in_a_file() {
    let mut layer = moved(DIM);
    layer.set_purpose(Purpose::Training).unwrap();
    for seed in 0..30 {
        step(&mut layer, &data(seed, 100));
    }
    let z = batch(normals(20 * DIM, &mut stream(1, "z")), 20, DIM).unwrap();
    let in_training = forward(&layer, &z);
    layer.set_purpose(Purpose::Reporting).unwrap();
    let x = forward(&layer, &z);
    assert_eq!(in_training.value.values(), x.value.values());
    let back = inverse(&layer, &x.value);
    assert!(distance_to_scale(&back.value.values(), &z.values()) < 1e-12);
    assert!((back.log_det.values()[0] + x.log_det.values()[0]).abs() < 1e-12);

    let mut file = Checkpoint::new();
    file.add_model("layer", &layer);
    let mut second = BatchNorm::<f64>::new(DIM).unwrap();
    file.restore_model("layer", &mut second).unwrap();
    let again = forward(&second, &z);
    assert_eq!(again.value.values(), x.value.values());
}

#[test]
fn the_first_batch_sets_the_running_statistics_once() {
    let mut layer = BatchNorm::<f64>::new(DIM).unwrap();
    let z = layer.initialise(&data(1, 500), &Context::none()).unwrap();
    for (mean, variance) in moments(&z) {
        // eps beside a variance of 0.01.
        assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 2e-3, "{mean} {variance}");
    }
    let before = tensor(&layer, "running_mean");
    layer.initialise(&data(2, 500), &Context::none()).unwrap();
    assert_eq!(tensor(&layer, "running_mean"), before);
}

fn trainer(seed: u64) -> Trainer<f32> {
    let linear = Layer::new(LuLinear::new(DIM).unwrap(), &mut stream(1, "init")).unwrap();
    let parts: Vec<Box<dyn Bijector<f32>>> = vec![
        Box::new(BatchNorm::new(DIM).unwrap()),
        Box::new(linear),
        Box::new(BatchNorm::new(DIM).unwrap()),
    ];
    let mut chain = Chain::new(DIM, parts).unwrap();
    // Weights of its own: all that a resumed run needs is in the file.
    chain.initialise(&data(seed, 50), &Context::none()).unwrap();
    let base = Base::diagonal_normal(DIM).unwrap();
    let config = TrainConfig { batch_rows: 100, ..TrainConfig::default() };
    let flow = Flow::new(base, Box::new(chain)).unwrap();
    Trainer::new(flow, config, Budget::Steps { steps: 60 }, 1).unwrap()
}

fn all_bits(flow: &Flow<f32>) -> Vec<u32> {
    let mut all = Vec::new();
    flow.visit(&mut |_, _, tensor| all.extend(tensor.values().iter().map(|v| v.to_bits())));
    all
}

#[test]
fn a_run_moves_the_statistics_and_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let draw = |rows: usize, rng: &mut Stream| {
        let draws: Vec<f64> = normals(rows * DIM, rng);
        let scaled = |(i, v): (usize, f64)| (MEANS[i % DIM] + DEVIATIONS[i % DIM] * v) as f32;
        draws.into_iter().enumerate().map(scaled).collect()
    };
    let source = SamplerSource::new(draw, DIM, 5);
    let mut whole = trainer(1);
    let outcome = whole.run(&source, None, |trainer, progress| {
        if progress.step == 17 {
            trainer.save(&path)?;
        }
        Ok(ControlFlow::Continue(()))
    });
    assert_eq!(outcome.unwrap(), StopReason::Finished);
    let mut resumed = trainer(2);
    resumed.resume(&path).unwrap();
    resumed.run(&source, None, |_, _| Ok(ControlFlow::Continue(()))).unwrap();
    assert_eq!(all_bits(whole.flow()), all_bits(resumed.flow()));

    let mut flow = whole.into_flow().unwrap();
    flow.bijector_mut().set_purpose(Purpose::Reporting).unwrap();
    let (log_prob, _) = flow.evaluate(&data::<f32>(77, 4000).values(), &Context::none()).unwrap();
    let nats = -log_prob.iter().sum::<f64>() / 4000.0;
    let entropy: f64 = DEVIATIONS.iter().map(|d| 0.5 * (TAU * d * d).ln() + 0.5).sum();
    // 4000 rows: a standard error of sqrt(3/2/4000) = 0.02.
    assert!((nats - entropy).abs() < 0.08, "{nats} {entropy}");
}

#[test]
fn channels_of_images_are_normalised_over_all_pixels() {
    let shape = Shape { channels: 2, height: 2, width: 2 };
    let norm = Box::new(BatchNorm::<f64>::new(2).unwrap());
    let mut layer = Pixelwise::new(norm, shape.pixels()).unwrap();
    layer.set_purpose(Purpose::Training).unwrap();
    let x = batch(normals(80, &mut stream(1, "x")), 10, 8).unwrap();
    let z = inverse(&layer, &x).value.values();
    for channel in 0..2 {
        let sum: f64 = (0..80).filter(|i| i / 4 % 2 == channel).map(|i| z[i]).sum();
        assert!(sum.abs() < 1e-12, "{sum}");
    }
}

#[test]
fn constant_single_and_extreme_rows_stay_finite() {
    fn ordinary<E: Real>(rows: usize, dim: usize) -> Batch<E> {
        batch(vec![E::of(-3.0); rows * dim], rows, dim).unwrap()
    }
    fn check<E: Real>() {
        let tiny = E::min_positive_value().as_f64() / 8.0;
        for purpose in [Purpose::Training, Purpose::Reporting] {
            for edge in [0.0, 1.0, 1e6, -1e6, 1e30, -1e30, tiny] {
                for rows in [1, 2, 129] {
                    // A training batch of one row is refused.
                    if rows == 1 && purpose == Purpose::Training {
                        continue;
                    }
                    for dim in [1, 3] {
                        let mut layer = BatchNorm::<E>::new(dim).unwrap();
                        layer.set_purpose(purpose).unwrap();
                        for alternate in [false, true] {
                            let value = |i: usize| if alternate && i % 2 == 1 { 0.3 } else { edge };
                            let x = (0..rows * dim).map(|i| E::of(value(i))).collect();
                            let x = batch(x, rows, dim).unwrap();
                            let mut tape = Tape::recording();
                            let out = layer.inverse(&x, &Context::none(), &mut tape).unwrap();
                            let mut all = [out.value.values(), out.log_det.values()].concat();
                            let mut tensors = vec![x.clone()];
                            layer.visit(&mut |_, _, tensor| tensors.push(tensor.clone()));
                            if edge.abs() <= 1e6 {
                                all.extend(
                                    objective_gradients(&out, tape, &tensors[..3])
                                        .unwrap()
                                        .concat(),
                                );
                            }
                            // 1e30 deviations of 1e30 are beyond single precision by right.
                            let z = if edge.abs() <= 1e6 { &x } else { &ordinary(rows, dim) };
                            let back = forward(&layer, z);
                            all.extend([back.value.values(), back.log_det.values()].concat());
                            assert!(all.iter().all(|v| v.is_finite()), "{edge:e} {rows} {dim}");
                            step(&mut layer, &x);
                        }
                    }
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
    let none = inverse(&BatchNorm::<f64>::new(2).unwrap(), &batch(vec![], 0, 2).unwrap());
    assert_eq!(none.value.rows(), 0);
    let wide = batch(vec![0.0; 3], 1, 3).unwrap();
    assert_error!(
        moved(2).inverse(&wide, &Context::none(), &mut Tape::none()),
        Error::Dimension { op: "batch norm", expected: 2, got: 3 }
    );
}

#[test]
fn single_precision_is_close_to_double() {
    fn z<E: Real>() -> Vec<f64> {
        let mut layer = BatchNorm::<E>::new(DIM).unwrap();
        layer
            .visit_mut(&mut |name, _, tensor| match name {
                "shift" => set_values(tensor, &[0.1, -0.2, 0.3].map(E::of)),
                "log_scale" => set_values(tensor, &[0.5, -0.4, 0.2].map(E::of)),
                _ => Ok(()),
            })
            .unwrap();
        layer.set_purpose(Purpose::Training).unwrap();
        let x: Vec<f64> = data::<f32>(1, 300).values().iter().map(|&v| v.into()).collect();
        let x = batch(x.into_iter().map(E::of).collect(), 300, DIM).unwrap();
        let out = inverse(&layer, &x);
        [out.value.values(), out.log_det.values()].concat().iter().map(|v| v.as_f64()).collect()
    }
    let worst = distance_to_scale(&z::<f32>(), &z::<f64>());
    // The mean 5 of the first column is rounded at 2e-7 deviations, the scale at 1e-7.
    assert!(worst < 2e-6, "{worst:e}");
}

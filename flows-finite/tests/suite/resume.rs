//! A run that is saved and resumed goes on bit for bit, whatever the number of threads.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::ops::ControlFlow;
use std::path::Path;

use flows_core::tensor::batch;
use flows_core::train::{
    Budget, Progress, SamplerSource, Schedule, Source, StopReason, TableSource, TrainConfig,
    Trainer, Validation,
};
use flows_core::{
    Architecture, Base, Context, Flow, Parameters, Real, Stream, Values, normals, stream,
};
use flows_finite::architecture::{Conditioner, CouplingFlow};

const STEPS: u64 = 24;
const ROWS: usize = 300;

/// One way of training; `context` conditioning features need a table.
#[derive(Clone, Copy, Default)]
struct Setting {
    table: bool,
    context: usize,
    ema: Option<f64>,
    patience: Option<u64>,
    constant: bool,
}

/// Everything but the clock that a step reports, as bits.
type Report = (u64, [u64; 4], Option<u64>);

fn report_of(progress: &Progress) -> Report {
    let Progress { step, fraction, train_nats, learning_rate, gradient_norm, .. } = *progress;
    let nats = train_nats.unwrap();
    let numbers = [fraction, nats, learning_rate, gradient_norm].map(f64::to_bits);
    (step, numbers, progress.validation_nats.map(f64::to_bits))
}

fn trainer<E: Real>(setting: Setting, act_norm: bool, seed: u64) -> Trainer<E> {
    let config = CouplingFlow {
        layers: 3,
        conditioner: Conditioner::perceptron(vec![8]),
        act_norm,
        ..CouplingFlow::real_nvp()
    };
    let chain = config.build(2, setting.context, &mut stream(seed, "init")).unwrap();
    let flow = Flow::new(Base::diagonal_normal(2).unwrap(), Box::new(chain)).unwrap();
    let config = TrainConfig {
        batch_rows: ROWS,
        ema: setting.ema,
        patience: setting.patience,
        schedule: if setting.constant { Schedule::Constant } else { Schedule::Cosine },
        validate_every: 5,
        ..TrainConfig::default()
    };
    Trainer::new(flow, config, Budget::Steps { steps: STEPS }, 17).unwrap()
}

/// Two correlated features, the second one shifted.
fn draw<E: Real>(rows: usize, rng: &mut Stream) -> Vec<E> {
    let pairs: Vec<f64> = normals(rows * 2, rng);
    pairs.chunks(2).flat_map(|p| [E::of(p[0]), E::of(0.6 * p[0] + 0.4 * p[1] + 1.0)]).collect()
}

fn source<E: Real>(setting: Setting) -> Box<dyn Source<E>> {
    if !setting.table {
        return Box::new(SamplerSource::new(draw::<E>, 2, 5));
    }
    // Two minibatches an epoch, with rows left over.
    let mut rng = stream(3, "table");
    let table = TableSource::new(draw(700, &mut rng), 2, 5).unwrap();
    match setting.context {
        0 => Box::new(table),
        dim => Box::new(table.with_context(normals(700 * dim, &mut rng), dim).unwrap()),
    }
}

fn validation<E: Real>(setting: Setting) -> Validation<E> {
    let mut rng = stream(4, "validation");
    let values = draw(200, &mut rng);
    let context = match setting.context {
        0 => Context::none(),
        dim => Context::of(batch(normals(200 * dim, &mut rng), 200, dim).unwrap()),
    };
    Validation { values, context }
}

fn bits<E: Real>(model: &impl Parameters<E>) -> Vec<(String, Vec<u64>)> {
    let mut all = Vec::new();
    model.visit(&mut |name, _, tensor| {
        let values = tensor.values().iter().map(|v| v.as_f64().to_bits()).collect();
        all.push((name.to_owned(), values));
    });
    all
}

/// Runs to the end, or saves at step `cut` and stops there.
fn run<E: Real>(
    trainer: &mut Trainer<E>,
    setting: Setting,
    cut: Option<(u64, &Path)>,
) -> (StopReason, Vec<Report>) {
    let (source, validation) = (source::<E>(setting), validation::<E>(setting));
    let mut reports = Vec::new();
    let outcome = trainer.run(&*source, Some(&validation), |trainer, progress| {
        reports.push(report_of(progress));
        match cut {
            Some((step, path)) if step == progress.step => {
                trainer.save(path)?;
                Ok(ControlFlow::Break(()))
            }
            _ => Ok(ControlFlow::Continue(())),
        }
    });
    (outcome.unwrap(), reports)
}

fn resumed_equals_undisturbed<E: Real>(setting: Setting) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let mut whole = trainer::<E>(setting, true, 1);
    let (outcome, reports) = run(&mut whole, setting, None);
    let latest = bits(whole.flow());
    let used = bits(&whole.into_flow().unwrap());
    // After one step, on a validation, between two of them, and just before the end.
    for cut in [1, 5, 12, STEPS - 1].into_iter().filter(|&cut| cut < reports.len() as u64) {
        let mut first = trainer::<E>(setting, true, 1);
        let (stopped, before) = run(&mut first, setting, Some((cut, &path)));
        assert_eq!(stopped, StopReason::Interrupted);
        // Other initial weights: all that matters is in the file.
        let mut second = trainer::<E>(setting, true, 2);
        second.resume(&path).unwrap();
        assert_eq!(second.steps(), cut);
        assert_eq!(bits(second.flow()), bits(first.flow()), "weights at step {cut}");
        let (end, after) = run(&mut second, setting, None);
        assert_eq!([before, after].concat(), reports, "reports around step {cut}");
        assert_eq!(end, outcome);
        assert_eq!(bits(second.flow()), latest, "latest weights after a cut at {cut}");
        assert_eq!(bits(&second.into_flow().unwrap()), used, "weights to use, cut at {cut}");
    }
}

fn settings() -> Vec<Setting> {
    let plain = Setting::default();
    vec![
        plain,
        Setting { table: true, ..plain },
        Setting { constant: true, ema: Some(0.9), ..plain },
        Setting { table: true, context: 2, ema: Some(0.99), patience: Some(2), ..plain },
        Setting { patience: Some(1), constant: true, ..plain },
    ]
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

#[test]
fn a_resumed_run_in_double_precision_is_the_undisturbed_one() {
    settings().into_iter().for_each(resumed_equals_undisturbed::<f64>);
}

#[test]
fn a_resumed_run_in_single_precision_is_the_undisturbed_one() {
    settings().into_iter().for_each(resumed_equals_undisturbed::<f32>);
}

#[test]
fn a_run_on_one_thread_is_resumed_on_two() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let setting = Setting { table: true, ema: Some(0.9), patience: Some(3), ..Setting::default() };
    let whole = |threads: usize| {
        pool(threads).install(|| {
            let mut whole = trainer::<f32>(setting, true, 1);
            let end = run(&mut whole, setting, None);
            (end, bits(whole.flow()), bits(&whole.into_flow().unwrap()))
        })
    };
    let undisturbed = whole(1);
    assert_eq!(whole(2), undisturbed);
    let (_, before) =
        pool(1).install(|| run(&mut trainer::<f32>(setting, true, 1), setting, Some((11, &path))));
    let mut second = trainer::<f32>(setting, true, 2);
    second.resume(&path).unwrap();
    let (outcome, after) = pool(2).install(|| run(&mut second, setting, None));
    assert_eq!((outcome, [before, after].concat()), undisturbed.0);
    assert_eq!(bits(second.flow()), undisturbed.1);
}

#[test]
fn a_finished_run_is_resumed_without_another_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let setting = Setting { ema: Some(0.9), ..Setting::default() };
    let mut first = trainer::<f32>(setting, true, 1);
    run(&mut first, setting, None);
    first.save(&path).unwrap();
    let mut second = trainer::<f32>(setting, true, 2);
    second.resume(&path).unwrap();
    assert_eq!(run(&mut second, setting, None), (StopReason::Finished, Vec::new()));
    assert_eq!(bits(&second.into_flow().unwrap()), bits(&first.into_flow().unwrap()));
}

/// Trains on rows near the origin, so that the density shrinks away from the validation rows and the
/// start is the best one.
fn run_out_of_patience(trainer: &mut Trainer<f64>, path: &Path) -> StopReason {
    let near = |rows: usize, rng: &mut Stream| -> Vec<f64> {
        normals::<f64>(rows * 2, rng).iter().map(|v| 0.1 * v).collect()
    };
    let source = SamplerSource::new(near, 2, 5);
    let away = [3.0, -3.0, -3.0, 3.0].repeat(10);
    let validation = Validation { values: away, context: Context::none() };
    let outcome = trainer.run(&source, Some(&validation), |trainer, _| {
        trainer.save(path)?;
        Ok(ControlFlow::Continue(()))
    });
    outcome.unwrap()
}

#[test]
fn a_run_that_ran_out_of_patience_is_resumed_without_another_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let setting = Setting { patience: Some(2), ..Setting::default() };
    let mut first = trainer::<f64>(setting, false, 1);
    assert_eq!(run_out_of_patience(&mut first, &path), StopReason::EarlyStop);
    // Two validations without improvement, five steps each.
    assert_eq!(first.steps(), 10);
    let mut second = trainer::<f64>(setting, false, 2);
    second.resume(&path).unwrap();
    assert_eq!(run_out_of_patience(&mut second, &path), StopReason::EarlyStop);
    assert_eq!(second.steps(), 10, "training went on after it had stopped early");
    assert_eq!(bits(&second.into_flow().unwrap()), bits(&first.into_flow().unwrap()));
}

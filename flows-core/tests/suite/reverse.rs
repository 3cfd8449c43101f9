//! Reverse KL from a learned base to a density known up to a constant: both estimators of its
//! gradient against differences, against each other and against the closed form; training on it.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::ops::ControlFlow;
use std::path::Path;

use flows_core::rowwise::{gradient_of_mean, mean};
use flows_core::tensor::{batch, set_values};
use flows_core::testing::assert_error;
use flows_core::train::{
    AdamConfig, Annealing, Budget, Objective, Progress, ReverseKl, SamplerSource, StopReason,
    TrainConfig, Trainer,
};
use flows_core::{
    Base, Chain, Context, Error, Estimator, Flow, Gradients, Parameters, Real, Tape, Target,
    Values, normals, reverse_kl, stream,
};

/// Seven times N(m, s^2) in each of two dimensions.
#[derive(Debug)]
struct Normals {
    location: [f64; 2],
    scale: [f64; 2],
}

impl Target for Normals {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let mut total = 7.0_f64.ln();
        for i in 0..2 {
            let u = (point[i] - self.location[i]) / self.scale[i];
            gradient[i] = -u / self.scale[i];
            total -= 0.5 * u * u + self.scale[i].ln() + 0.5 * (2.0 * std::f64::consts::PI).ln();
        }
        total
    }
}

const TARGET: Normals = Normals { location: [0.7, -0.4], scale: [1.5, 0.6] };

/// N(m, e^s) in both dimensions, without a map behind it.
fn flow<E: Real>(location: [f64; 2], log_scale: [f64; 2]) -> Flow<E> {
    let identity = Box::new(Chain::new(2, Vec::new()).unwrap());
    let mut flow = Flow::new(Base::diagonal_normal(2).unwrap(), identity).unwrap();
    let set = flow.visit_mut(&mut |name, _, tensor| {
        let values = if name.ends_with("location") { location } else { log_scale };
        set_values(tensor, &values.map(E::of))
    });
    set.unwrap();
    flow
}

fn slopes<E: Real>(flow: &Flow<E>, gradients: &mut Gradients<E>) -> Vec<f64> {
    let mut all = Vec::new();
    flow.visit(&mut |_, _, t| all.extend(gradients.take(t).unwrap()));
    all.iter().map(|v| v.as_f64()).collect()
}

fn estimate<E: Real>(
    flow: &Flow<E>,
    rows: usize,
    beta: f64,
    by: Estimator,
    seed: u64,
) -> (f64, Vec<f64>) {
    let rng = &mut stream(seed, "draws");
    let mut loss =
        reverse_kl(flow, &TARGET, rows, beta, by, (&Context::none(), Tape::recording()), rng)
            .unwrap();
    (loss.value, slopes(flow, &mut loss.gradient))
}

#[test]
fn the_reparameterised_gradient_is_that_of_the_value_at_fixed_noise() {
    let at = [0.2, -0.3, 0.4, -0.1];
    let split = |v: [f64; 4]| flow::<f64>([v[0], v[1]], [v[2], v[3]]);
    for beta in [1.0, 0.3] {
        for rows in [1, 7, 300] {
            let (value, slope) = estimate(&split(at), rows, beta, Estimator::Reparameterised, 1);
            let (same, _) = estimate(&split(at), rows, beta, Estimator::Path, 1);
            assert_eq!(value, same, "one value, two gradients");
            for i in 0..4 {
                let moved = |by: f64| {
                    let mut v = at;
                    v[i] += by;
                    estimate(&split(v), rows, beta, Estimator::Reparameterised, 1).0
                };
                // Error of the differences: 1e-10 times third derivatives of order ten, rounding 1e-10.
                let numerical = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!(
                    (slope[i] - numerical).abs() < 1e-8,
                    "{rows} {i}: {} {numerical}",
                    slope[i]
                );
            }
        }
    }
}

/// Of KL(N(m, e^s) || target): (m - m') / s'^2 and e^2s / s'^2 - 1 in each dimension.
fn closed_form(m: [f64; 2], s: [f64; 2]) -> Vec<f64> {
    let square = |i: usize| TARGET.scale[i].powi(2);
    let location = (0..2).map(|i| (m[i] - TARGET.location[i]) / square(i));
    let scale = (0..2).map(|i| (2.0 * s[i]).exp() / square(i) - 1.0);
    location.chain(scale).collect()
}

#[test]
fn both_estimators_are_unbiased() {
    const BATCHES: u64 = 2000;
    let (m, s) = ([0.2, -0.3], [0.4, -0.1]);
    let (flow, expected) = (flow::<f64>(m, s), closed_form(m, s));
    for by in [Estimator::Reparameterised, Estimator::Path] {
        let all: Vec<_> = (0..BATCHES).map(|seed| estimate(&flow, 10, 1.0, by, seed).1).collect();
        for (i, expected) in expected.iter().enumerate() {
            let mean = all.iter().map(|g| g[i]).sum::<f64>() / BATCHES as f64;
            let square = all.iter().map(|g| (g[i] - mean).powi(2)).sum::<f64>();
            let error = (square / (BATCHES - 1) as f64 / BATCHES as f64).sqrt();
            assert!((mean - expected).abs() < 3.0 * error, "{by:?} {i}: {mean} {expected} {error}");
        }
    }
}

#[test]
fn at_the_target_the_path_gradient_of_every_batch_is_zero() {
    let log_scale = TARGET.scale.map(f64::ln);
    let (wide, narrow) =
        (flow::<f64>(TARGET.location, log_scale), flow(TARGET.location, log_scale));
    for seed in 0..20 {
        let (value, slope) = estimate(&wide, 5, 1.0, Estimator::Path, seed);
        assert!((value + 7.0_f64.ln()).abs() < 1e-14 * 10.0, "-ln C, {value}");
        // Two slopes of order one that cancel: a few roundings each.
        assert!(slope.iter().all(|g| g.abs() < 1e-14), "{slope:?}");
        let (_, slope) = estimate::<f32>(&narrow, 5, 1.0, Estimator::Path, seed);
        assert!(slope.iter().all(|g| g.abs() < 1e-14 * 5e8), "{slope:?}");
        let (_, noisy) = estimate(&wide, 5, 1.0, Estimator::Reparameterised, seed);
        assert!(noisy.iter().any(|g| g.abs() > 1e-2), "the case does not test what it should");
    }
}

fn config(estimator: Estimator) -> TrainConfig {
    let annealing = Some(Annealing { from: 0.2, until: 0.5 });
    TrainConfig {
        objective: Objective::ReverseKl(ReverseKl { estimator, annealing }),
        batch_rows: 64,
        optimiser: AdamConfig { learning_rate: 0.05, ..AdamConfig::default() },
        validate_every: 50,
        ..TrainConfig::default()
    }
}

#[test]
fn training_on_a_density_finds_it() {
    for estimator in [Estimator::Reparameterised, Estimator::Path] {
        let start = flow::<f64>([-2.0, 2.0], [-1.0, 1.0]);
        let mut trainer =
            Trainer::new(start, config(estimator), Budget::Steps { steps: 400 }, 3).unwrap();
        let mut last = f64::NAN;
        let note = |_: &_, progress: &Progress| {
            assert!(progress.reverse_nats.is_some() && progress.train_nats.is_none());
            last = progress.validation_nats.unwrap_or(last);
            Ok(ControlFlow::Continue(()))
        };
        let target: &dyn Target = &TARGET;
        assert_eq!(trainer.run(target, None, note).unwrap(), StopReason::Finished);
        // The least value is -ln 7, and no average is below it but by the noise of 512 draws.
        assert!((last + 7.0_f64.ln()).abs() < 1e-2, "{estimator:?}: {last}");
    }
}

#[test]
fn an_objective_without_its_material_is_refused() {
    let rows = SamplerSource::new(|rows, rng: &mut _| normals::<f64>(rows * 2, rng), 2, 0);
    let start = || flow::<f64>([0.0; 2], [0.0; 2]);
    let go = |_: &Trainer<f64>, _: &Progress| Ok(ControlFlow::Continue(()));
    let mut reverse =
        Trainer::new(start(), config(Estimator::Path), Budget::Steps { steps: 5 }, 0).unwrap();
    let error = reverse.run(&rows, None, go).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    let mut forward =
        Trainer::new(start(), TrainConfig::default(), Budget::Steps { steps: 5 }, 0).unwrap();
    let target: &dyn Target = &TARGET;
    let error = forward.run(target, None, go).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    let [start_of, end_of] = ["from of annealing", "until of annealing"];
    for (from, until, name) in
        [(0.0, 0.5, start_of), (0.5, 0.0, end_of), (1.5, 0.5, start_of), (0.5, f64::NAN, end_of)]
    {
        let annealing = Some(Annealing { from, until });
        let reverse = ReverseKl { annealing, ..ReverseKl::default() };
        let config =
            TrainConfig { objective: Objective::ReverseKl(reverse), ..TrainConfig::default() };
        assert_error!(
            Trainer::new(start(), config, Budget::Steps { steps: 5 }, 0),
            Error::Parameter { .. },
            [name, "above 0 and at most 1"],
            "{from} {until}"
        );
    }
}

/// The density of a base, as a target.
#[derive(Debug)]
struct DensityOf(Base<f64>);

impl Target for DensityOf {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let x = batch(point.to_vec(), 1, point.len()).unwrap();
        let mut tape = Tape::recording();
        let value = self.0.log_prob(&x, &mut tape).unwrap();
        let slope = gradient_of_mean(1.0, &value, tape).unwrap().take(&x).unwrap();
        gradient.copy_from_slice(&slope);
        mean(&value)
    }
}

fn mixture(logit: f64) -> Base<f64> {
    let mut base = Base::mixture(1, 3, &mut stream(1, "mixture")).unwrap();
    let set = base.visit_mut(&mut |name, _, tensor| match name {
        "logits" => set_values(tensor, &[logit, -0.4, 0.2]),
        "location" => set_values(tensor, &[-2.0, 0.5, 2.0]),
        _ => set_values(tensor, &[-0.5, 0.0, -0.3]),
    });
    set.unwrap();
    base
}

fn flow_of(base: Base<f64>) -> Flow<f64> {
    let identity = Box::new(Chain::new(base.dim(), Vec::new()).unwrap());
    Flow::new(base, identity).unwrap()
}

#[test]
fn gradients_for_the_weights_of_a_mixture_are_unbiased() {
    const BATCHES: u64 = 4000;
    let target = DensityOf(Base::logistic(1).unwrap());
    // The divergence by the trapezoidal rule: smooth, and 1e-30 at the ends.
    let divergence = |logit: f64| {
        let z: Vec<f64> = (-1200..1200).map(|i| f64::from(i) * 0.01).collect();
        let z = batch(z.clone(), z.len(), 1).unwrap();
        let of = |base: &Base<f64>| base.log_prob(&z, &mut Tape::none()).unwrap().values();
        let pairs = of(&mixture(logit)).into_iter().zip(of(&target.0));
        pairs.map(|(q, p)| q.exp() * (q - p) * 0.01).sum::<f64>()
    };
    let expected = (divergence(0.3 + 1e-5) - divergence(0.3 - 1e-5)) / 2e-5;
    let flow = flow_of(mixture(0.3));
    for by in [Estimator::Reparameterised, Estimator::Path] {
        let slope = |seed: u64| {
            let rng = &mut stream(seed, "draws");
            let loss =
                reverse_kl(&flow, &target, 8, 1.0, by, (&Context::none(), Tape::recording()), rng);
            slopes(&flow, &mut loss.unwrap().gradient)[0]
        };
        let all: Vec<f64> = (0..BATCHES).map(slope).collect();
        let mean = all.iter().sum::<f64>() / BATCHES as f64;
        let square = all.iter().map(|g| (g - mean).powi(2)).sum::<f64>();
        let error = (square / (BATCHES - 1) as f64 / BATCHES as f64).sqrt();
        assert!((mean - expected).abs() < 3.0 * error, "{by:?}: {mean} {expected} {error}");
    }
}

#[test]
fn at_the_target_the_path_gradient_of_every_base_is_zero() {
    for (name, base) in super::bases::bases(2) {
        let (flow, target) = (flow_of(base.clone()), DensityOf(base));
        let rng = &mut stream(5, "draws");
        let by = Estimator::Path;
        let mut loss =
            reverse_kl(&flow, &target, 40, 1.0, by, (&Context::none(), Tape::recording()), rng)
                .unwrap();
        let slope = slopes(&flow, &mut loss.gradient);
        assert!(loss.value.abs() < 1e-13, "{name}: {}", loss.value);
        // Slopes of order ten that cancel, times draws of order ten.
        assert!(slope.iter().all(|g| g.abs() < 1e-12), "{name}: {slope:?}");
    }
}

/// Weights and reports of a run; stops at `cut` with a file written.
fn trained(mut trainer: Trainer<f64>, cut: Option<(u64, &Path)>) -> (Trainer<f64>, Vec<[u64; 2]>) {
    let mut seen = Vec::new();
    let target: &dyn Target = &TARGET;
    let note = |trainer: &Trainer<f64>, progress: &Progress| {
        let nats = progress.validation_nats.unwrap_or_default();
        seen.push([progress.reverse_nats.unwrap().to_bits(), nats.to_bits()]);
        Ok(match cut {
            Some((step, path)) if step == progress.step => {
                trainer.save(path)?;
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        })
    };
    trainer.run(target, None, note).unwrap();
    (trainer, seen)
}

#[test]
fn a_resumed_run_on_a_density_is_the_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    for estimator in [Estimator::Reparameterised, Estimator::Path] {
        let start = |seed| {
            let mixture = Base::mixture(2, 2, &mut stream(seed, "init")).unwrap();
            let config = TrainConfig {
                validate_every: 3,
                patience: Some(9),
                ema: Some(0.9),
                ..config(estimator)
            };
            Trainer::new(flow_of(mixture), config, Budget::Steps { steps: 10 }, 3).unwrap()
        };
        let (whole, undisturbed) = trained(start(1), None);
        for cut in [1, 3, 7] {
            let (_, before) = trained(start(1), Some((cut, &path)));
            let mut second = start(2);
            second.resume(&path).unwrap();
            let (second, after) = trained(second, None);
            assert_eq!([before, after].concat(), undisturbed, "{estimator:?} cut at {cut}");
            let weights = |flow: &Flow<f64>| {
                let mut all = Vec::new();
                flow.visit(&mut |_, _, t| all.extend(t.values().iter().map(|v| v.to_bits())));
                all
            };
            assert_eq!(weights(second.flow()), weights(whole.flow()), "{estimator:?} {cut}");
        }
    }
}

//! Annealed importance sampling against closed forms and known targets.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::f64::consts::{PI, TAU};

use flows_bench::targets::{KnownTarget, ManyWell};
use flows_core::testing::names;
use flows_core::{Base, Chain, Error, Flow, Target, stream};
use flows_inference::{AnnealedSampler, AnnealedSampling};

/// N(0, I) without a bijector.
pub(crate) fn plain(dim: usize) -> Flow<f64> {
    Flow::new(Base::standard_normal(dim), Box::new(Chain::new(dim, vec![]).unwrap())).unwrap()
}

/// 5 N(1, 0.6^2 I), on x_1 > `above`.
#[derive(Debug)]
struct Normals {
    dim: usize,
    above: f64,
}

const MEAN: f64 = 1.0;
const VARIANCE: f64 = 0.36;

impl Target for Normals {
    fn dim(&self) -> usize {
        self.dim
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        if point[0] <= self.above {
            gradient.fill(0.0);
            return f64::NEG_INFINITY;
        }
        gradient.iter_mut().zip(point).for_each(|(g, x)| *g = (MEAN - x) / VARIANCE);
        let square: f64 = point.iter().map(|x| (x - MEAN).powi(2)).sum();
        5.0_f64.ln() - 0.5 * square / VARIANCE - 0.5 * self.dim as f64 * (TAU * VARIANCE).ln()
    }
}

/// log of the integral of p~^2 / q for one of the features, without the factor 5: with
/// c = 1 / v - 1/2 it is that of exp(-c x^2 + 2 m x / v - m^2 / v) / (v sqrt(2 pi)).
fn second_moment() -> f64 {
    let c = 1.0 / VARIANCE - 0.5;
    let exponent = (MEAN / VARIANCE).powi(2) / c - MEAN.powi(2) / VARIANCE;
    0.5 * (PI / c).ln() + exponent - VARIANCE.ln() - 0.5 * TAU.ln()
}

/// Four densities between both ends.
const SETTINGS: AnnealedSampling =
    AnnealedSampling { intermediate: 4, transitions: 1, leapfrog_steps: 5, step_size: 0.2 };

fn sampler(settings: AnnealedSampling) -> AnnealedSampler {
    AnnealedSampler::new(settings, 1.0).unwrap()
}

#[test]
fn both_ends_of_the_path_have_their_normalisers() {
    let dim = 3;
    let target = Normals { dim, above: f64::NEG_INFINITY };
    for (power, exact) in
        [(1.0, 5.0_f64.ln()), (2.0, 2.0 * 5.0_f64.ln() + dim as f64 * second_moment())]
    {
        let mut rng = stream(1, "annealing");
        let mut sampler = AnnealedSampler::new(SETTINGS, power).unwrap();
        let first = sampler.draw(&plain(dim), &target, 500, &mut rng).unwrap();
        sampler.tune(&plain(dim), &target, (60, 500), &mut rng).unwrap();
        let annealed = sampler.draw(&plain(dim), &target, 20_000, &mut rng).unwrap();
        let log_z = annealed.weights().unwrap().log_normaliser();
        let error = log_z.standard_error.unwrap();
        assert!(error < 0.03, "{error}");
        assert!((log_z.nats - exact).abs() < 4.0 * error, "{power}: {log_z:?}, not {exact}");
        for (now, first) in annealed.acceptance.iter().zip(&first.acceptance) {
            assert!((now - 0.65).abs() < (first - 0.65).abs(), "{power}: {now}, at first {first}");
        }
    }
}

/// Where the flow covers the support of the target only in part.
#[test]
fn a_bounded_support_is_respected() {
    let target = Normals { dim: 1, above: MEAN };
    let sampler = sampler(SETTINGS);
    let annealed = sampler.draw(&plain(1), &target, 40_000, &mut stream(2, "annealing")).unwrap();
    let weights = annealed.weights().unwrap();
    let log_z = weights.log_normaliser();
    assert!((log_z.nats - 2.5_f64.ln()).abs() < 4.0 * log_z.standard_error.unwrap(), "{log_z:?}");
    let inside = annealed.draws.iter().zip(weights.values());
    assert!(inside.clone().all(|(x, w)| *w == f64::NEG_INFINITY || *x > MEAN));
    assert!(weights.zeros() > 0);
}

#[test]
fn the_wells_are_found_from_a_plain_base() {
    let target = KnownTarget::ManyWell(ManyWell::new(2).unwrap());
    let mut rng = stream(3, "annealing");
    let mut sampler = sampler(AnnealedSampling { intermediate: 16, ..SETTINGS });
    sampler.tune(&plain(4), &target, (20, 500), &mut rng).unwrap();
    let annealed = sampler.draw(&plain(4), &target, 40_000, &mut rng).unwrap();
    let weights = annealed.weights().unwrap();
    let log_z = weights.log_normaliser();
    let error = log_z.standard_error.unwrap();
    assert!(error < 0.03, "{error}");
    let exact = target.log_normaliser().nats;
    assert!((log_z.nats - exact).abs() < 4.0 * error, "{log_z:?}, not {exact}");

    let shares = weights.normalised();
    let right = ManyWell::mode_weights()[1];
    for well in [0, 2] {
        let side = |i: usize| f64::from(annealed.draws[4 * i + well] > 0.0);
        let share: f64 = shares.iter().enumerate().map(|(i, w)| w * side(i)).sum();
        // The delta method for a ratio of weighted sums.
        let squares = shares.iter().enumerate().map(|(i, w)| (w * (side(i) - share)).powi(2));
        let error = squares.sum::<f64>().sqrt();
        assert!((share - right).abs() < 4.0 * error && error < 0.02, "{share} +- {error}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let target = KnownTarget::ManyWell(ManyWell::new(2).unwrap());
    let draw = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let sampler = sampler(SETTINGS);
            sampler.draw(&plain(4), &target, 5000, &mut stream(4, "annealing")).unwrap()
        })
    };
    let (one, three) = (draw(1), draw(3));
    assert_eq!(one.draws, three.draws);
    assert_eq!(one.log_weights, three.log_weights);
}

#[test]
fn runaway_trajectories_are_rejected() {
    let target = KnownTarget::ManyWell(ManyWell::new(1).unwrap());
    let settings = AnnealedSampling { step_size: 1e12, ..SETTINGS };
    let sampler = AnnealedSampler::new(settings, 2.0).unwrap();
    let annealed = sampler.draw(&plain(2), &target, 100, &mut stream(5, "annealing")).unwrap();
    assert_eq!(annealed.acceptance, [0.0; 4]);
    assert!(annealed.draws.iter().all(|x| x.abs() < 10.0));
    // Without a move the weights are those of importance sampling.
    for i in 0..100 {
        let plain = 2.0 * (annealed.log_target[i] - annealed.log_proposal[i]);
        assert!((annealed.log_weights[i] - plain).abs() < 1e-12 * (1.0 + plain.abs()));
    }
}

#[test]
fn settings_and_densities_out_of_range_are_named() {
    let error = AnnealedSampler::new(SETTINGS, -1.0);
    names(&error.unwrap_err(), &["power of annealed sampling", "positive", "-1"]);
    let mut sampler = sampler(SETTINGS);
    names(&sampler.set_step_sizes(vec![0.1]).unwrap_err(), &["4 rows", "got 1"]);
    names(&sampler.set_step_sizes(vec![0.0; 4]).unwrap_err(), &["step_size", "positive"]);

    #[derive(Debug)]
    struct NotANumber;
    impl Target for NotANumber {
        fn dim(&self) -> usize {
            2
        }

        fn log_density(&self, point: &[f64], _: &mut [f64]) -> f64 {
            if point[0] > 0.0 { f64::NAN } else { 0.0 }
        }
    }
    let error = sampler.draw(&plain(2), &NotANumber, 50, &mut stream(6, "annealing")).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row, .. } if row < 50), "{error}");
    let error = sampler.draw(&plain(3), &NotANumber, 50, &mut stream(6, "annealing")).unwrap_err();
    assert!(matches!(error, Error::Dimension { expected: 3, got: 2, .. }));
}

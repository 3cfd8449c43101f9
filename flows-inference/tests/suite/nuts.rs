//! The no-U-turn sampler on densities with known moments, and where there is no density.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use flows_core::target::at_point;
use flows_core::testing::assert_error;
use flows_core::{Error, Result, Target, stream};
use flows_inference::chain::{Nuts, NutsChains};

use super::support::agrees;

/// A normal with means 1 and -2, standard deviations 0.5 and 3 and correlation 0.7, times 5.
#[derive(Debug)]
struct Correlated;

impl Target for Correlated {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let (a, b, rho) = ((point[0] - 1.0) / 0.5, (point[1] + 2.0) / 3.0, 0.7);
        let rest = 1.0 - rho * rho;
        gradient[0] = -(a - rho * b) / rest / 0.5;
        gradient[1] = -(b - rho * a) / rest / 3.0;
        5.0_f64.ln() - 0.5 * (a * a - 2.0 * rho * a * b + b * b) / rest
    }
}

/// A standard normal for x > 0, elsewhere what is given.
#[derive(Debug)]
struct Half {
    elsewhere: f64,
}

impl Target for Half {
    fn dim(&self) -> usize {
        1
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let inside = point[0] > 0.0;
        gradient[0] = if inside { -point[0] } else { 0.0 };
        if inside { -0.5 * point[0] * point[0] } else { self.elsewhere }
    }
}

/// A density that cannot be evaluated.
#[derive(Debug)]
struct Broken;

impl Target for Broken {
    fn dim(&self) -> usize {
        1
    }

    fn log_density(&self, _: &[f64], _: &mut [f64]) -> f64 {
        f64::NAN
    }

    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        gradients.fill(1.0);
        if points == [0.5] { Ok(vec![0.0]) } else { Err(Error::Caller("no licence".into())) }
    }
}

fn sample(nuts: Nuts, target: &dyn Target, starts: &[Vec<f64>]) -> Result<NutsChains> {
    nuts.sample(target, starts, &mut stream(4, "chains"))
}

fn starts() -> Vec<Vec<f64>> {
    vec![vec![-3.0, 4.0], vec![3.0, -9.0], vec![0.5, 0.5], vec![1.5, 2.0]]
}

#[test]
fn a_correlated_normal_has_its_moments() {
    let run = sample(Nuts::default(), &Correlated, &starts()).unwrap();
    let of = |f: fn(&[f64]) -> f64| run.chains.diagnostics_of(f).unwrap();
    agrees("mean of the first", of(|x| x[0]), 1.0);
    agrees("mean of the second", of(|x| x[1]), -2.0);
    agrees("variance of the first", of(|x| (x[0] - 1.0).powi(2)), 0.25);
    agrees("variance of the second", of(|x| (x[1] + 2.0).powi(2)), 9.0);
    agrees("covariance", of(|x| (x[0] - 1.0) * (x[1] + 2.0)), 0.7 * 1.5);
    for d in run.chains.diagnostics().unwrap() {
        assert!(d.r_hat.unwrap() < 1.01 && d.bulk_ess.unwrap() > 400.0, "{d:?}");
    }
    assert_eq!(run.divergences(), 0);
    assert!(run.missing_information().iter().all(|f| f.unwrap() > 0.3));
    for (chain, values) in run.chains.draws.iter().zip(&run.chains.log_density) {
        assert_eq!((chain.len(), values.len()), (1000, 1000));
        for (x, value) in chain.iter().zip(values) {
            let own = Correlated.log_density(x, &mut [0.0; 2]);
            assert!((own - value).abs() < 1e-12 * (1.0 + own.abs()), "{own}, not {value}");
        }
    }
    for (energies, values) in run.energy.iter().zip(&run.chains.log_density) {
        assert!(energies.iter().zip(values).all(|(e, v)| *e > -v), "no kinetic energy");
    }
    let counts = run.warm_up.iter().chain(&run.sampling);
    assert!(counts.clone().all(|c| c.gradient_evaluations >= 1000 && c.undefined == 0));
    assert_eq!(run.gradient_evaluations(), counts.map(|c| c.gradient_evaluations).sum::<u64>());
}

#[test]
fn chains_are_the_same_with_any_number_of_threads() {
    let nuts = Nuts { warm_up: 50, draws: 50, ..Nuts::default() };
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| sample(nuts, &Correlated, &starts()).unwrap())
    };
    let (one, three) = (with(1), with(3));
    assert_eq!(one, three);
    assert_ne!(one.chains.draws[0], one.chains.draws[1]);
}

/// A density whose points are evaluated together; where the first feature is above 3 it fails.
#[derive(Debug, Default)]
struct Together {
    most: AtomicUsize,
}

impl Target for Together {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        at_point(self, point, gradient)
    }

    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        self.most.fetch_max(points.len() / 2, Ordering::SeqCst);
        if let Some(row) = points.chunks(2).position(|point| point[0] > 3.0) {
            return Err(Error::NonFinite { quantity: "density", row, advice: "stay below" });
        }
        let rows = points.chunks(2).zip(gradients.chunks_mut(2));
        Ok(rows.map(|(point, gradient)| Correlated.log_density(point, gradient)).collect())
    }

    fn is_cheaper_together(&self) -> bool {
        true
    }
}

/// As [`Together`], a point at a time.
#[derive(Debug, Default)]
struct Alone(Together);

impl Target for Alone {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        at_point(self, point, gradient)
    }

    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        self.0.evaluate(points, gradients)
    }
}

#[test]
fn points_that_are_evaluated_together_give_the_same_chains() {
    let (together, alone) = (Together::default(), Alone::default());
    let starts = [vec![-2.0, 4.0], vec![2.5, -9.0], vec![0.5, 0.5], vec![1.5, 2.0]];
    let nuts = Nuts { warm_up: 300, draws: 200, ..Nuts::default() };
    let found = sample(nuts, &together, &starts).unwrap();
    assert_eq!(found, sample(nuts, &alone, &starts).unwrap());
    assert_eq!((together.most.into_inner(), alone.0.most.into_inner()), (4, 1));
    let undefined = found.warm_up.iter().chain(&found.sampling).map(|counts| counts.undefined);
    assert!(undefined.sum::<u64>() > 0, "no point failed");
    for (trajectories, counts) in found.trajectories.iter().zip(&found.sampling) {
        let steps: u64 = trajectories.iter().map(|t| t.steps).sum();
        assert_eq!(steps, counts.gradient_evaluations);
        assert!(trajectories.iter().all(|t| t.steps < 2 << t.depth && t.acceptance <= 1.0));
        let diverging = trajectories.iter().filter(|t| t.diverging).count() as u64;
        assert_eq!(diverging, counts.divergences);
    }
}

/// An error that stops one chain stops the run, and no chain waits for it for ever.
#[test]
fn a_chain_that_fails_for_good_does_not_hold_up_the_others() {
    #[derive(Debug)]
    struct Expires(AtomicUsize);

    impl Target for Expires {
        fn dim(&self) -> usize {
            2
        }

        fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
            at_point(self, point, gradient)
        }

        fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
            if self.0.fetch_add(1, Ordering::SeqCst) > 100 {
                return Err(Error::Caller("no licence".into()));
            }
            Together::default().evaluate(points, gradients)
        }

        fn is_cheaper_together(&self) -> bool {
            true
        }
    }

    let target = Expires(AtomicUsize::new(0));
    let starts = [vec![-2.0, 4.0], vec![0.5, 0.5]];
    assert_error!(sample(Nuts::default(), &target, &starts), Error::Caller(_), ["no licence"]);
}

#[test]
fn trajectories_that_leave_the_support_are_divergences() {
    let nuts = Nuts { draws: 2000, ..Nuts::default() };
    let outside = Half { elsewhere: f64::NEG_INFINITY };
    let run = sample(nuts, &outside, &[vec![1.0], vec![0.3]]).unwrap();
    agrees("mean", run.chains.diagnostics().unwrap()[0], (2.0 / std::f64::consts::PI).sqrt());
    assert!(run.divergences() > 0);
    assert!(run.warm_up.iter().chain(&run.sampling).all(|c| c.undefined == 0));

    let undefined = sample(nuts, &Half { elsewhere: f64::NAN }, &[vec![1.0]]).unwrap();
    assert!(undefined.sampling[0].undefined > 0);
    assert!(undefined.divergences() >= undefined.sampling[0].undefined);
    assert!(undefined.chains.rows().iter().all(|x| *x > 0.0));
}

#[test]
fn starts_that_cannot_be_are_named() {
    let half = Half { elsewhere: f64::NEG_INFINITY };
    let nuts = Nuts::default();
    let error = sample(nuts, &half, &[vec![1.0], vec![-1.0]]);
    assert_error!(error, Error::NonFinite { row: 1, .. }, ["log-density at a starting point"]);
    let error = sample(nuts, &Half { elsewhere: f64::NAN }, &[vec![-1.0]]);
    assert_error!(error, Error::NonFinite { row: 0, .. }, ["log-density at a starting point"]);
    let error = sample(nuts, &Correlated, &[vec![1.0, -2.0]]);
    assert_error!(error, Error::Caller(_), ["chain 0", "zero in feature 0"]);
    assert_error!(sample(nuts, &half, &[]), Error::Caller(_), ["no starting points"]);
    let error = sample(nuts, &half, &[vec![1.0, 2.0]]);
    assert_error!(error, Error::Dimension { expected: 1, got: 2, .. });
    let error = sample(nuts, &Broken, &[vec![0.5]]);
    assert_error!(error, Error::Caller(_), ["no licence"]);
    let error = sample(Nuts { acceptance: 1.0, ..nuts }, &half, &[vec![1.0]]);
    assert_error!(error, Error::Parameter { .. }, ["acceptance", "(0, 1)"]);
    let error = sample(Nuts { draws: 0, ..nuts }, &half, &[vec![1.0]]);
    assert_error!(error, Error::Parameter { .. }, ["draws", "at least 1"]);
}

//! Priors against their formulas.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::testing::names;
use flows_core::{Space, Target, stream};
use flows_inference::simulation::{Marginal, Prior, ProductPrior};

const MARGINALS: [Marginal; 3] = [
    Marginal::Uniform { low: -1.0, high: 3.0 },
    Marginal::LogUniform { low: 0.1, high: 10.0 },
    Marginal::Normal { mean: 2.0, deviation: 0.5 },
];

fn one(marginal: Marginal) -> ProductPrior {
    ProductPrior::new(vec![("theta".into(), marginal)]).unwrap()
}

/// The mean of p(theta) over a box of its support, a midpoint sum, is one over its width.
#[test]
fn densities_are_normalised_and_have_their_derivatives() {
    let ranges = [[-1.0, 3.0], [0.1, 10.0], [-2.0, 6.0]];
    for (marginal, [low, high]) in MARGINALS.into_iter().zip(ranges) {
        let (prior, points) = (one(marginal), 20_000);
        let width = (high - low) / f64::from(points);
        let at = |theta: f64| prior.log_density(&[theta], &mut [0.0]);
        let middles = (0..points).map(|i| low + width * (f64::from(i) + 0.5));
        let mass: f64 = middles.map(|theta| at(theta).exp() * width).sum();
        // The midpoint rule errs by width^2 (p'(high) - p'(low)) / 24, and p' is below 22 here.
        assert!((mass - 1.0).abs() < width * width, "{marginal:?}: {mass}");

        let (theta, step, mut slope) = (0.4 * low + 0.6 * high, 1e-5, [0.0]);
        prior.log_density(&[theta], &mut slope);
        let difference = (at(theta + step) - at(theta - step)) / (2.0 * step);
        // Truncation of step^2 and rounding of 1e-16 / step.
        assert!((slope[0] - difference).abs() < 1e-8, "{marginal:?}: {slope:?}, {difference}");
    }
}

#[test]
fn draws_lie_in_the_support_and_have_the_moments_of_the_density() {
    let prior = ProductPrior::new(MARGINALS.map(|m| ("p".into(), m)).to_vec()).unwrap();
    let draws = prior.sample(20_000, &mut stream(0, "draws"));
    let of = |k: usize| draws.iter().skip(k).step_by(3).copied();
    // Of the uniform, of the logarithm of the log-uniform, and of the normal: mean and deviation.
    let moments =
        [(1.0, 4.0 / 12_f64.sqrt()), (0.0, 2.0 * 10_f64.ln() / 12_f64.sqrt()), (2.0, 0.5)];
    for (k, (mean, deviation)) in moments.into_iter().enumerate() {
        let map = |v: f64| if k == 1 { v.ln() } else { v };
        let found = of(k).map(map).sum::<f64>() / 20_000.0;
        assert!((found - mean).abs() < 4.0 * deviation / 20_000_f64.sqrt(), "{k}: {found}");
    }
    assert!(of(0).all(|v| (-1.0..=3.0).contains(&v)) && of(1).all(|v| (0.1..=10.0).contains(&v)));
    let [a, b] = [[-1.0, 3.0], [0.1, 10.0]].map(Space::Interval);
    assert_eq!(prior.support(), [a, b, Space::Line]);
}

#[test]
fn outside_of_the_support_there_is_no_density() {
    let prior = ProductPrior::new(MARGINALS.map(|m| ("p".into(), m)).to_vec()).unwrap();
    let mut gradient = [1.0; 3];
    assert_eq!(prior.log_density(&[3.1, 1.0, 2.5], &mut gradient), f64::NEG_INFINITY);
    assert_eq!(gradient, [0.0; 3]);
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |marginal| ProductPrior::new(vec![("p".into(), marginal)]).unwrap_err();
    let error = refused(Marginal::Uniform { low: 1.0, high: 1.0 });
    names(&error, &["width of a uniform prior", "positive", "got 0"]);
    let error = refused(Marginal::LogUniform { low: 0.0, high: 1.0 });
    names(&error, &["low of a log-uniform prior", "positive", "got 0"]);
    let error = refused(Marginal::Normal { mean: 0.0, deviation: -1.0 });
    names(&error, &["deviation of a normal prior", "positive", "got -1"]);
    names(&ProductPrior::new(vec![]).unwrap_err(), &["number of parameters", "at least 1"]);
}

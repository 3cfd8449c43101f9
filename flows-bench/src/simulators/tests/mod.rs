//! Simulators against closed forms, quadrature and published files.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

mod draws;
mod files;
mod likelihoods;
mod published;

use flows_core::stream;

use super::Simulator;

#[test]
fn names_are_read_back_and_others_answered_with_them() {
    for simulator in Simulator::ALL {
        assert_eq!(simulator.name().parse(), Ok(simulator));
        assert_eq!(format!("{simulator:>30}").trim(), simulator.name());
    }
    let message = "two-moons".parse::<Simulator>().unwrap_err().to_string();
    assert!(Simulator::ALL.iter().all(|simulator| message.contains(simulator.name())), "{message}");
}

#[test]
fn rows_have_the_stated_numbers_of_columns_and_incomplete_ones_give_nothing() {
    let rng = &mut stream(1, "rows");
    for simulator in Simulator::ALL {
        let (parameters, features) = (simulator.parameters(), simulator.features());
        let theta = simulator.sample_prior(3, rng);
        assert_eq!(theta.len(), 3 * parameters);
        assert_eq!(simulator.simulate(&theta, rng).len(), 3 * features);
        assert_eq!(simulator.simulate(&theta[1..], rng).len(), 2 * features);
        assert_eq!(simulator.support().len(), parameters);
        let x = vec![0.1; features];
        let posterior = simulator.sample_posterior(&x, 3, rng).map(|theta| theta.len());
        let exact = simulator == Simulator::GaussianLinear;
        assert_eq!(posterior, exact.then_some(3 * parameters));
        assert_eq!(simulator.sample_posterior(&x[1..], 3, rng), None);
    }
}

#[test]
fn what_does_not_fit_has_no_density() {
    for simulator in Simulator::ALL {
        let (theta, x) = (vec![0.5; simulator.parameters()], vec![0.5; simulator.features()]);
        assert!(simulator.log_likelihood(&x, &theta).is_finite(), "{simulator}");
        for bad in [f64::NAN, f64::INFINITY] {
            let mut wrong = theta.clone();
            wrong[1] = bad;
            assert!(simulator.log_likelihood(&x, &wrong).is_nan(), "{simulator}");
        }
        assert!(simulator.log_likelihood(&x, &theta[1..]).is_nan());
        assert!(simulator.log_likelihood(&x[1..], &theta).is_nan());
        assert!(simulator.prior_log_density(&theta[1..]).is_nan());
        assert!(simulator.prior_log_density(&vec![f64::NAN; theta.len()]).is_nan());
        let outside = simulator.support()[0].map_or(f64::INFINITY, |[_, end]| 1.001 * end);
        let at_edge = simulator.prior_log_density(&vec![outside; theta.len()]);
        assert_eq!(at_edge, f64::NEG_INFINITY, "{simulator}");
    }
    let all = Simulator::GaussianLinear;
    assert!(all.posterior_log_density(&[0.0; 10], &[0.0; 9]).unwrap().is_nan());
    assert_eq!(Simulator::Slcp.posterior_log_density(&[0.0; 5], &[0.0; 8]), None);
    assert_eq!(Simulator::Slcp.log_likelihood(&[0.0; 8], &[0.0; 5]), f64::NEG_INFINITY);
    let centre = [0.25, 0.0];
    assert_eq!(Simulator::TwoMoons.log_likelihood(&centre, &[0.0; 2]), f64::NEG_INFINITY);
}

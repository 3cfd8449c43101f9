//! Convergence diagnostics against ArviZ, and where they are not defined.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::Error;
use flows_core::testing::{assert_error, close_number};
use flows_inference::chain::{Chains, Diagnostics};

/// Chains x <- phi x + u - 1/2 from 0, with u the upper 53 bits of a linear congruential generator that
/// starts at the number of the chain, from 1; chain c, from 0, is then moved by `shift` c.
fn autoregressive(chains: u64, draws: usize, phi: f64, shift: f64) -> Vec<Vec<f64>> {
    let chain = |number: u64| {
        let (mut state, mut x) = (number + 1, 0.0);
        let step = |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            x = phi * x + ((state >> 11) as f64 / 2.0_f64.powi(53) - 0.5);
            x + shift * number as f64
        };
        (0..draws).map(step).collect()
    };
    (0..chains).map(chain).collect()
}

/// R-hat, bulk and tail effective sample size, standard error of the mean and mean.
fn check(chains: &[Vec<f64>], expected: [f64; 5]) {
    let found = Diagnostics::of(chains).unwrap();
    // Sums over at most 1,000 draws in another order, and normal quantiles to about 1e-12.
    let tolerance = 1e-8;
    match found.r_hat {
        Some(r_hat) => close_number("R-hat", r_hat, expected[0], tolerance),
        None => assert!(expected[0].is_nan(), "R-hat is missing"),
    }
    close_number("bulk", found.bulk_ess.unwrap(), expected[1], tolerance);
    close_number("tail", found.tail_ess.unwrap(), expected[2], tolerance);
    close_number("standard error", found.standard_error.unwrap(), expected[3], tolerance);
    close_number("mean", found.mean, expected[4], tolerance);
}

/// The numbers of `az.rhat`, `az.ess(method="bulk")`, `az.ess(method="tail")` and
/// `az.mcse(method="mean")` of ArviZ 0.23.4 for the same chains.
#[test]
fn diagnostics_are_those_of_arviz() {
    check(
        &autoregressive(4, 250, 0.7, 0.0),
        [
            1.0230515765934858,
            160.7744061525442,
            283.97693186730015,
            0.03317906298611844,
            0.011098532899606476,
        ],
    );
    // Negatively correlated draws, an odd number of them.
    check(
        &autoregressive(3, 101, -0.6, 0.0),
        [
            0.9949712524519018,
            743.1363764158988,
            309.63759238209775,
            0.012329448541579234,
            -0.006176139243681554,
        ],
    );
    // Chains at different places.
    check(
        &autoregressive(4, 100, 0.5, 0.3),
        [
            1.482704843631177,
            8.55187891717281,
            100.37384134787725,
            0.17774123594125596,
            0.4440752117501166,
        ],
    );
    // Heavy tails.
    let cubes: Vec<Vec<f64>> = autoregressive(2, 77, 0.9, 0.0)
        .iter()
        .map(|chain| chain.iter().map(|x| x * x * x).collect())
        .collect();
    check(
        &cubes,
        [
            1.170518336638481,
            9.3564726380248,
            35.90281643457454,
            0.2290763644581603,
            -0.40717018983745856,
        ],
    );
    check(
        &autoregressive(1, 60, 0.3, 0.0),
        [
            f64::NAN,
            27.026645232299618,
            64.42853616391012,
            0.05818387916944329,
            -0.0010733214629122347,
        ],
    );
}

#[test]
fn what_is_not_defined_is_none() {
    let none = |d: Diagnostics| [d.standard_error, d.r_hat, d.bulk_ess, d.tail_ess] == [None; 4];
    assert!(none(Diagnostics::of(&vec![vec![2.0; 50]; 4]).unwrap()));
    assert!(none(Diagnostics::of(&vec![vec![1.0, 2.0, 3.0]; 4]).unwrap()));
    assert!(none(Diagnostics::of(&[vec![1.0]]).unwrap()));
    // Each chain stays at a point of its own.
    let stuck = Diagnostics::of(&[vec![1.0; 20], vec![2.0; 20]]).unwrap();
    assert_eq!(stuck.r_hat, Some(f64::INFINITY));
    assert!(stuck.bulk_ess.unwrap() < 4.0);
}

#[test]
fn draws_that_are_none_are_named() {
    let nan = [vec![1.0, 2.0, 3.0, 4.0], vec![1.0, f64::NAN, 3.0, 4.0]];
    assert_error!(
        Diagnostics::of(&nan),
        Error::NonFinite { row: 5, .. },
        ["draw of a Markov chain"]
    );
    let uneven = [vec![1.0, 2.0, 3.0, 4.0], vec![1.0]];
    assert_error!(Diagnostics::of(&uneven), Error::Rows { expected: 4, got: 1, .. });
    assert_error!(Diagnostics::of(&[]), Error::Caller(_), ["no draws"]);
}

#[test]
fn chains_are_diagnosed_feature_by_feature() {
    let first = autoregressive(2, 100, 0.5, 0.0);
    let second = autoregressive(2, 100, 0.5, 5.0);
    let pair = |c: usize| first[c].iter().zip(&second[c]).map(|(&a, &b)| vec![a, b]).collect();
    let chains =
        Chains { draws: vec![pair(0), pair(1)], log_density: vec![vec![0.0; 100], vec![0.0; 100]] };
    let diagnostics = chains.diagnostics().unwrap();
    assert_eq!(diagnostics[0], Diagnostics::of(&first).unwrap());
    assert_eq!(diagnostics[1], Diagnostics::of(&second).unwrap());
    assert_eq!(chains.diagnostics_of(|x| x[1]).unwrap(), diagnostics[1]);
    assert!(diagnostics[1].r_hat > Some(1.5) && diagnostics[0].r_hat < Some(1.2));
    assert_eq!(chains.rows()[..4], [first[0][0], second[0][0], first[0][1], second[0][1]]);
}

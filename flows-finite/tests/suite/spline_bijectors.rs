//! Couplings with every spline pass the one check of the workspace.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb, uniform_point};
use flows_core::{Stream, stream};
use flows_finite::Tails;

use crate::elements::{coupling, splines};

const BOUND: f64 = 2.0;

/// Couplings with every spline that has such tails, with 2 and 5 bins.
fn check(tails: Tails, point: impl Fn(&mut Stream) -> f64) {
    for config in [2, 5].into_iter().flat_map(|bins| splines(bins, BOUND, tails)) {
        for sizes in [(1, 0), (2, 0), (3, 2)] {
            let network = (&[6, 5][..], Activation::Tanh);
            let mut coupling = coupling(&config, sizes, network, &mut stream(7, "init"));
            // Nearer to the identity than other maps are taken: slopes of several features multiply,
            // and differences over h = 1e-5 are off by h^2 times third derivatives.
            perturb(&mut coupling, 0.25, &mut stream(3, "perturb")).unwrap();
            check_bijector(&mut coupling, &point, Tolerance::default());
        }
    }
}

#[test]
fn couplings_with_splines_on_the_line_are_bijective() {
    // Wide enough that some points fall outside of the interval.
    check(Tails::Identity, normal_point(1.5));
    check(Tails::Linear, normal_point(1.5));
}

#[test]
fn couplings_with_splines_on_the_circle_are_bijective() {
    check(Tails::Circular, uniform_point(BOUND));
}

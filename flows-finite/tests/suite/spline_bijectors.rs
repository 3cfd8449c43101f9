//! Couplings with every spline pass the one check of the workspace.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb, uniform_point};
use flows_core::{BoxBijector, MlpKernel, Result, Stream, stream};
use flows_finite::{
    CircularSpline, Coupling, CubicSpline, LinearRational, LinearSpline, Mask, QuadraticSpline,
    RationalQuadratic, Tails, Transformer,
};

const BOUND: f64 = 2.0;

fn kernel(inputs: usize, outputs: usize) -> Result<MlpKernel> {
    MlpKernel::new(inputs, &[6, 5], outputs, Activation::Tanh)
}

fn couplings(map: impl Transformer<f64>) -> Vec<(usize, BoxBijector<f64>)> {
    let coupling = |(dim, context)| {
        let mask = Mask::halves(dim, false).unwrap();
        let mut rng = stream(7, "init");
        let coupling = Coupling::new(&mask, context, map.clone(), kernel, &mut rng).unwrap();
        (context, BoxBijector::new(coupling))
    };
    [(1, 0), (2, 0), (3, 2)].map(coupling).into()
}

/// Every spline that has tails, with 2 and 5 bins.
fn splines(tails: Tails) -> Vec<(usize, BoxBijector<f64>)> {
    let mut all = Vec::new();
    for bins in [2, 5] {
        all.extend(couplings(QuadraticSpline::new(bins, BOUND, tails).unwrap()));
        all.extend(couplings(CubicSpline::new(bins, BOUND, tails).unwrap()));
        all.extend(couplings(RationalQuadratic::new(bins, BOUND, tails).unwrap()));
        all.extend(couplings(LinearRational::new(bins, BOUND, tails).unwrap()));
        match tails {
            Tails::Identity => all.extend(couplings(LinearSpline::new(bins, BOUND).unwrap())),
            Tails::Circular => all.extend(couplings(CircularSpline::new(bins, BOUND).unwrap())),
            Tails::Linear => {}
        }
    }
    all
}

fn check(all: Vec<(usize, BoxBijector<f64>)>, point: impl Fn(&mut Stream) -> f64) {
    for (context, mut coupling) in all {
        // Nearer to the identity than other maps are taken: slopes of several features multiply,
        // and differences over h = 1e-5 are off by h^2 times third derivatives.
        perturb(&mut coupling, 0.25, &mut stream(3, "perturb")).unwrap();
        check_bijector(&mut coupling, context, &point, Tolerance::default());
    }
}

#[test]
fn couplings_with_splines_on_the_line_are_bijective() {
    // Wide enough that some points fall outside of the interval.
    check(
        [splines(Tails::Identity), splines(Tails::Linear)].into_iter().flatten().collect(),
        normal_point(1.5),
    );
}

#[test]
fn couplings_with_splines_on_the_circle_are_bijective() {
    check(splines(Tails::Circular), uniform_point(BOUND));
}

//! Every finite bijector passes the one check of the workspace.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb};
use flows_core::{
    Bijector, BoxBijector, Chain, Inverse, MlpKernel, ResidualKernel, Result, Stream, stream,
};
use flows_finite::{
    ActNorm, Affine, Coupling, LuLinear, Mask, Permutation, RationalQuadratic, Scale, Tails,
    Transformer,
};

fn kernel(inputs: usize, outputs: usize) -> Result<MlpKernel> {
    MlpKernel::new(inputs, &[6, 5], outputs, Activation::Tanh)
}

fn coupling(
    dim: usize,
    context: usize,
    transformer: impl Transformer<f64>,
    rng: &mut Stream,
) -> BoxBijector<f64> {
    let mask = Mask::halves(dim, false).unwrap();
    BoxBijector::new(Coupling::new(&mask, context, transformer, kernel, rng).unwrap())
}

fn check(mut bijector: impl Bijector<f64>, context: usize, spread: f64) {
    let mut rng = stream(3, "perturb");
    perturb(&mut bijector, 0.4, &mut rng).unwrap();
    check_bijector(&mut bijector, context, normal_point(spread), Tolerance::default());
}

fn spline(bins: usize, tails: Tails) -> RationalQuadratic {
    RationalQuadratic::new(bins, 2.0, tails).unwrap()
}

#[test]
fn elementwise_and_linear_maps_are_bijective() {
    for dim in [1, 2, 5] {
        check(ActNorm::new(dim).unwrap(), 0, 2.0);
        check(LuLinear::new(dim).unwrap(), 0, 2.0);
        check(Permutation::reverse(dim).unwrap(), 0, 2.0);
        check(Permutation::random(dim, &mut stream(1, "order")).unwrap(), 0, 2.0);
    }
    let order = [2, 0, 1];
    let layer = LuLinear::from_factors(&order, &[0.0; 9], &[0.0; 9], &[0.5, 2.0, 1.5]).unwrap();
    check(layer, 0, 2.0);
}

#[test]
fn couplings_with_every_transformer_are_bijective() {
    for (dim, context) in [(1, 0), (1, 2), (2, 0), (3, 2), (5, 0)] {
        let mut rng = stream(7, "init");
        check(coupling(dim, context, Affine::new(Scale::Exp).unwrap(), &mut rng), context, 1.0);
        check(
            coupling(dim, context, Affine::new(Scale::Bounded(1.5)).unwrap(), &mut rng),
            context,
            1.0,
        );
        for tails in [Tails::Identity, Tails::Linear] {
            // Wide enough that some points fall outside of the interval.
            check(coupling(dim, context, spline(5, tails), &mut rng), context, 1.5);
            check(coupling(dim, context, spline(2, tails), &mut rng), context, 1.5);
        }
    }
}

#[test]
fn couplings_with_residual_conditioners_are_bijective() {
    for activation in [Activation::Tanh, Activation::Softplus, Activation::Silu] {
        for blocks in [0, 1, 2] {
            let mask = Mask::alternating(4, true).unwrap();
            let kernel =
                |inputs, outputs| ResidualKernel::new(inputs, (5, blocks), outputs, activation);
            let mut rng = stream(5, "init");
            let spline = spline(3, Tails::Identity);
            let mut coupling = Coupling::new(&mask, 2, spline, kernel, &mut rng).unwrap();
            // Less far from the identity than elsewhere: a slope of e^7 at a knot is beyond what
            // differences can tell.
            perturb(&mut coupling, 0.2, &mut rng).unwrap();
            check_bijector(&mut coupling, 2, normal_point(1.0), Tolerance::default());
        }
    }
}

#[test]
fn chains_and_inverses_are_bijective() {
    let mut rng = stream(11, "init");
    let parts = vec![
        coupling(3, 1, spline(4, Tails::Identity), &mut rng),
        BoxBijector::new(Permutation::new(&[1, 2, 0]).unwrap()),
        BoxBijector::new(Inverse(coupling(3, 1, Affine::new(Scale::Exp).unwrap(), &mut rng))),
        BoxBijector::new(LuLinear::new(3).unwrap()),
        BoxBijector::new(ActNorm::new(3).unwrap()),
    ];
    check(Inverse(Chain::new(3, parts).unwrap()), 1, 1.0);
}

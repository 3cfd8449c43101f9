//! Every finite bijector passes the one check of the workspace.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb};
use flows_core::{Bijector, Chain, Inverse, Layer, Map, MlpKernel, ResidualKernel, Stream, stream};
use flows_finite::architecture::{
    AffineConfig, RationalQuadraticConfig, SplineConfig, TransformerConfig,
};
use flows_finite::{ActNorm, Coupling, LuLinear, Mask, Permutation, Scale, Tails};

fn layer(map: impl Map<f64> + 'static, rng: &mut Stream) -> Box<dyn Bijector<f64>> {
    Box::new(Layer::new(map, rng).unwrap())
}

fn coupling(
    dim: usize,
    context: usize,
    transformer: Arc<dyn TransformerConfig>,
    rng: &mut Stream,
) -> Box<dyn Bijector<f64>> {
    let mask = Mask::halves(dim, false).unwrap();
    let kernel = |inputs, outputs| MlpKernel::new(inputs, &[6, 5], outputs, Activation::Tanh);
    let coupling = Coupling::new(&mask, context, transformer.build().unwrap(), kernel);
    layer(coupling.unwrap(), rng)
}

fn check(bijector: &mut dyn Bijector<f64>, spread: f64) {
    perturb(bijector, 0.4, &mut stream(3, "perturb")).unwrap();
    check_bijector(bijector, normal_point(spread), Tolerance::default());
}

fn affine(scale: Scale) -> Arc<dyn TransformerConfig> {
    AffineConfig { scale, inverted: false }.shared()
}

fn spline(bins: usize, tails: Tails) -> Arc<dyn TransformerConfig> {
    RationalQuadraticConfig(SplineConfig { bins, bound: 2.0, tails }).shared()
}

#[test]
fn elementwise_and_linear_maps_are_bijective() {
    let rng = &mut stream(1, "order");
    for dim in [1, 2, 5] {
        let random = Permutation::random(dim, &mut stream(1, "order")).unwrap();
        for mut bijector in [
            layer(ActNorm::new(dim), rng),
            layer(LuLinear::new(dim).unwrap(), rng),
            layer(Permutation::reverse(dim).unwrap(), rng),
            layer(random, rng),
        ] {
            check(&mut *bijector, 2.0);
        }
    }
    let order = [2, 0, 1];
    let layer = LuLinear::from_factors::<f64>(&order, &[0.0; 9], &[0.0; 9], &[0.5, 2.0, 1.5]);
    check(&mut layer.unwrap(), 2.0);
}

#[test]
fn couplings_with_every_transformer_are_bijective() {
    for (dim, context) in [(1, 0), (1, 2), (2, 0), (3, 2), (5, 0)] {
        let rng = &mut stream(7, "init");
        for (transformer, spread) in [
            (affine(Scale::Exp), 1.0),
            (affine(Scale::Bounded { bound: 1.5 }), 1.0),
            // Wide enough that some points fall outside of the interval.
            (spline(5, Tails::Identity), 1.5),
            (spline(2, Tails::Identity), 1.5),
            (spline(5, Tails::Linear), 1.5),
            (spline(2, Tails::Linear), 1.5),
        ] {
            check(&mut *coupling(dim, context, transformer, rng), spread);
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
            let spline = spline(3, Tails::Identity).build().unwrap();
            let mut coupling = layer(Coupling::new(&mask, 2, spline, kernel).unwrap(), &mut rng);
            // Less far from the identity than elsewhere: a slope of e^7 at a knot is beyond what
            // differences can tell.
            perturb(&mut *coupling, 0.2, &mut rng).unwrap();
            check_bijector(&mut *coupling, normal_point(1.0), Tolerance::default());
        }
    }
}

#[test]
fn chains_and_inverses_are_bijective() {
    let rng = &mut stream(11, "init");
    let parts = vec![
        coupling(3, 1, spline(4, Tails::Identity), rng),
        layer(Permutation::new(&[1, 2, 0]).unwrap(), rng),
        Box::new(Inverse::new(coupling(3, 1, affine(Scale::Exp), rng))),
        layer(LuLinear::new(3).unwrap(), rng),
        layer(ActNorm::new(3), rng),
    ];
    check(&mut Inverse::new(Box::new(Chain::new(3, parts).unwrap())), 1.0);
}

//! Every wiring with every transformer passes the one check of the workspace.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::masked::Hidden;
use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb, uniform_point};
use flows_core::{Bijector, Inverse, Layer, Map, MlpKernel, Stream, stream};
use flows_finite::architecture::{
    AdditiveConfig, AffineConfig, BernsteinConfig, CircularSplineConfig, CubicSplineConfig,
    DeepSigmoidalConfig, DenseSigmoidalConfig, GaussianizationConfig, IntegratedConfig,
    LinearRationalConfig, LinearSplineConfig, LogisticMixtureConfig, MixtureConfig,
    QuadraticSplineConfig, RationalQuadraticConfig, SplineConfig, SumOfSquaresConfig,
    TransformerConfig,
};
use flows_finite::{
    Autoregressive, Coupling, Elementwise, Mask, MaskedConditioner, Order, Recurrent, Scale, Tails,
    Transformer,
};
use rayon::prelude::*;

use crate::elements::registered;

const CONTEXT: usize = 1;

/// Small ones, and of every other kind that is registered the default; `circular` says where points
/// have to stay inside the bound.
fn transformers() -> Vec<(Arc<dyn TransformerConfig>, bool)> {
    let spline = |tails| SplineConfig { bins: 3, bound: 2.0, tails };
    let affine = |scale, inverted| AffineConfig { scale, inverted }.shared();
    let mixture = MixtureConfig { components: 3 };
    let mut all = vec![
        AdditiveConfig {}.shared(),
        affine(Scale::Exp, false),
        affine(Scale::Exp, true),
        affine(Scale::Bounded { bound: 1.5 }, false),
        affine(Scale::Softplus, false),
        affine(Scale::Sigmoid, true),
        LinearSplineConfig(spline(Tails::Identity)).shared(),
        BernsteinConfig { degree: 4, bound: 2.0 }.shared(),
        DeepSigmoidalConfig { units: 3 }.shared(),
        DenseSigmoidalConfig { layers: 2, units: 2 }.shared(),
        LogisticMixtureConfig(mixture).shared(),
        GaussianizationConfig(mixture).shared(),
        // As many steps as differences at 1e-6 ask for, where the integrand has a kink; one unit, because
        // every difference solves for the inverse through all of them.
        IntegratedConfig { hidden: 1, steps: 600, tolerance: f64::INFINITY }.shared(),
        SumOfSquaresConfig { degree: 1, ..SumOfSquaresConfig::default() }.shared(),
    ];
    for tails in [Tails::Identity, Tails::Linear] {
        all.push(QuadraticSplineConfig(spline(tails)).shared());
        all.push(CubicSplineConfig(spline(tails)).shared());
        all.push(LinearRationalConfig(spline(tails)).shared());
        all.push(RationalQuadraticConfig(spline(tails)).shared());
    }
    let mut all: Vec<_> = all.into_iter().map(|config| (config, false)).collect();
    all.push((CircularSplineConfig(spline(Tails::Identity)).shared(), true));
    let small: Vec<_> = all.iter().map(|(config, _)| config.typetag_name()).collect();
    let others = registered().into_iter().filter(|config| !small.contains(&config.typetag_name()));
    all.extend(others.map(|config| (config, false)));
    all
}

/// Every wiring of three features.
fn wirings(transformer: &Arc<dyn Transformer<f64>>) -> Vec<Box<dyn Bijector<f64>>> {
    fn layer(map: impl Map<f64> + 'static, rng: &mut Stream) -> Box<dyn Bijector<f64>> {
        Box::new(Layer::new(map, rng).unwrap())
    }
    let rng = &mut stream(7, "init");
    let transformer = || Arc::clone(transformer);
    let coupling = Coupling::new(
        &Mask::alternating(3, false).unwrap(),
        CONTEXT,
        transformer(),
        |inputs, outputs| MlpKernel::new(inputs, &[4], outputs, Activation::Tanh),
    );
    let conditioner =
        MaskedConditioner { hidden: Hidden::Perceptron(vec![6]), activation: Activation::Tanh };
    let masked =
        |order: Order| Autoregressive::new(&order, CONTEXT, transformer(), &conditioner).unwrap();
    let graph = vec![vec![false, true, true], vec![false; 3], vec![false; 3]];
    vec![
        layer(coupling.unwrap(), rng),
        layer(masked(Order::natural(3)), rng),
        Box::new(Inverse::new(layer(masked(Order::reversed(3).in_parts(2).unwrap()), rng))),
        layer(masked(Order::graph(&graph).unwrap()), rng),
        layer(Recurrent::new(3, CONTEXT, 4, transformer()).unwrap(), rng),
        layer(Elementwise::new(3, transformer()), rng),
    ]
}

#[test]
fn every_wiring_takes_every_transformer() {
    transformers().into_par_iter().for_each(|(config, circular)| {
        for mut bijector in wirings(&config.build().unwrap()) {
            perturb(&mut *bijector, 0.25, &mut stream(3, "perturb")).unwrap();
            let tolerance = Tolerance::default();
            if circular {
                check_bijector(&mut *bijector, uniform_point(1.5), tolerance);
            } else {
                check_bijector(&mut *bijector, normal_point(1.2), tolerance);
            }
        }
    });
}

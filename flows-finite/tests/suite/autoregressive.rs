//! Masked autoregressive layers against the one check and against plain sequential sampling.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::masked::Hidden;
use flows_core::tensor::batch;
use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb};
use flows_core::{Batch, Bijector, Context, Layer, Tape, Values, normals, stream};
use flows_finite::{
    Affine, Autoregressive, MaskedConditioner, Newton, Order, RationalQuadratic, Sampling, Scale,
    Tails, Transformer,
};

fn conditioners() -> Vec<MaskedConditioner> {
    let perceptron = |widths: &[usize], activation| MaskedConditioner {
        hidden: Hidden::Perceptron(widths.to_vec()),
        activation,
    };
    let residual = |blocks, activation| MaskedConditioner {
        hidden: Hidden::Residual { width: 9, blocks },
        activation,
    };
    vec![
        perceptron(&[9, 7], Activation::Tanh),
        perceptron(&[8], Activation::Silu),
        residual(0, Activation::Tanh),
        residual(1, Activation::Softplus),
        residual(2, Activation::Tanh),
    ]
}

fn orders() -> Vec<Order> {
    let graph = [
        [false, true, false, false, true],
        [false, false, false, false, false],
        [false, true, false, false, false],
        [true, false, true, false, false],
        [false, false, false, false, false],
    ];
    let graph: Vec<Vec<bool>> = graph.iter().map(|row| row.to_vec()).collect();
    vec![
        Order::natural(1),
        Order::reversed(2),
        Order::natural(5),
        Order::random(5, &mut stream(1, "order")),
        Order::new(&[3, 0, 4, 1, 2]).unwrap().in_parts(2).unwrap(),
        Order::natural(5).in_parts(3).unwrap(),
        Order::natural(3).in_parts(1).unwrap(),
        Order::graph(&graph).unwrap(),
    ]
}

fn layer(
    order: &Order,
    context: usize,
    transformer: Arc<dyn Transformer<f64>>,
    conditioner: &MaskedConditioner,
    sampling: Sampling,
) -> Layer<f64> {
    let map = Autoregressive::new(order, context, transformer, conditioner).unwrap();
    let map = map.with_sampling(sampling).unwrap();
    let mut layer = Layer::new(map, &mut stream(7, "init")).unwrap();
    perturb(&mut layer, 0.3, &mut stream(3, "perturb")).unwrap();
    layer
}

fn affine(bound: f64) -> Arc<dyn Transformer<f64>> {
    Arc::new(Affine::new(Scale::Bounded { bound }).unwrap())
}

#[test]
fn every_order_and_conditioner_is_bijective() {
    let sampling = Sampling::default();
    for order in orders() {
        for conditioner in conditioners() {
            for context in [0, 2] {
                let mut affine = layer(&order, context, affine(1.5), &conditioner, sampling);
                check_bijector(&mut affine, normal_point(1.0), Tolerance::default());
            }
        }
        let spline = Arc::new(RationalQuadratic::new(4, 2.0, Tails::Identity).unwrap());
        let mut spline = layer(&order, 1, spline, &conditioners()[0], sampling);
        check_bijector(&mut spline, normal_point(1.5), Tolerance::default());
    }
}

fn rows(count: usize, dim: usize) -> Batch<f64> {
    batch(normals(count * dim, &mut stream(5, "rows")), count, dim).unwrap()
}

#[test]
fn every_way_of_sampling_gives_the_same_rows() {
    for order in orders() {
        for conditioner in conditioners() {
            let dim = order.features().len();
            for width in [0, 2] {
                let features = batch(normals(150 * 2, &mut stream(6, "context")), 150, 2).unwrap();
                let given = if width == 0 { Context::none() } else { Context::of(features) };
                let draw = |sampling| {
                    let layer = layer(&order, width, affine(1.0), &conditioner, sampling);
                    layer.forward(&rows(150, dim), &given, &mut Tape::none()).unwrap()
                };
                let plain = draw(Sampling::Sequential);
                let newton = Newton { tolerance: 1e-13, ..Newton::default() };
                for (sampling, tolerance) in
                    [(Sampling::Incremental, 1e-13), (Sampling::Newton(newton), 1e-11)]
                {
                    let other = draw(sampling);
                    let pairs = [
                        (other.value.values(), plain.value.values()),
                        (other.log_det.values(), plain.log_det.values()),
                    ];
                    for (got, expected) in pairs {
                        for (got, expected) in got.iter().zip(&expected) {
                            let allowed = tolerance * (1.0 + expected.abs());
                            assert!((got - expected).abs() <= allowed, "{sampling:?}");
                        }
                    }
                }
            }
        }
    }
}

//! How long does each fused operation take, forward and with its gradient?
#![allow(clippy::unwrap_used, reason = "a benchmark reports by panicking")]

use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use flows_core::activation::Activation;
use flows_core::rowwise::gradient_of_mean;
use flows_core::tensor::{Batch, batch};
use flows_core::{Bijector, Context, LastLayer, Layer, MlpKernel, Network, Tape, normals, stream};
use flows_finite::{
    Affine, Coupling, LuLinear, Mask, RationalQuadratic, Scale, Tails, Transformer,
};

const ROWS: usize = 512;

const DIMS: [usize; 3] = [2, 6, 43];

fn main() {
    divan::main();
}

fn rows(dim: usize) -> Batch<f32> {
    batch(normals(ROWS * dim, &mut stream(0, "rows")), ROWS, dim).unwrap()
}

fn kernel(inputs: usize, outputs: usize) -> flows_core::Result<MlpKernel> {
    MlpKernel::new(inputs, &[128, 128], outputs, Activation::Relu)
}

fn coupling(dim: usize, transformer: Arc<dyn Transformer<f32>>) -> Box<dyn Bijector<f32>> {
    let mask = Mask::halves(dim, false).unwrap();
    let coupling = Coupling::new(&mask, 0, transformer, kernel).unwrap();
    Box::new(Layer::new(coupling, &mut stream(1, "init")).unwrap())
}

fn affine_coupling(dim: usize) -> Box<dyn Bijector<f32>> {
    coupling(dim, Arc::new(Affine::new(Scale::Bounded { bound: 3.0 }).unwrap()))
}

fn spline_coupling(dim: usize) -> Box<dyn Bijector<f32>> {
    coupling(dim, Arc::new(RationalQuadratic::new(8, 3.0, Tails::Identity).unwrap()))
}

fn lu_linear(dim: usize) -> Box<dyn Bijector<f32>> {
    Box::new(Layer::new(LuLinear::new(dim).unwrap(), &mut stream(1, "init")).unwrap())
}

/// A layer, by the number of features.
type Build = fn(usize) -> Box<dyn Bijector<f32>>;

const LAYERS: [(&str, Build); 3] = [
    ("affine_coupling", affine_coupling),
    ("spline_coupling", spline_coupling),
    ("lu_linear", lu_linear),
];

fn layer(name: &str, dim: usize) -> Box<dyn Bijector<f32>> {
    LAYERS.iter().find(|(layer, _)| *layer == name).unwrap().1(dim)
}

#[divan::bench(args = LAYERS.map(|(name, _)| name), consts = DIMS)]
fn inverse<const DIM: usize>(bencher: Bencher<'_, '_>, name: &str) {
    let (layer, x) = (layer(name, DIM), rows(DIM));
    bencher
        .bench_local(|| black_box(layer.inverse(&x, &Context::none(), &mut Tape::none()).unwrap()));
}

#[divan::bench(args = LAYERS.map(|(name, _)| name), consts = DIMS)]
fn gradient<const DIM: usize>(bencher: Bencher<'_, '_>, name: &str) {
    let (layer, x) = (layer(name, DIM), rows(DIM));
    bencher.bench_local(|| {
        let mut tape = Tape::recording();
        let out = layer.inverse(&x, &Context::none(), &mut tape).unwrap();
        black_box(gradient_of_mean(-1.0, &out.log_det, tape).unwrap())
    });
}

#[divan::bench(args = [Activation::Relu, Activation::Tanh, Activation::Softplus, Activation::Silu])]
fn perceptron(bencher: Bencher<'_, '_>, activation: Activation) {
    let kernel = MlpKernel::new(6, &[128, 128], 12, activation).unwrap();
    let network =
        Network::<f32, _>::new(kernel, LastLayer::Random, &mut stream(1, "init")).unwrap();
    let x = rows(6);
    bencher.bench_local(|| black_box(network.forward(&x, &mut Tape::none()).unwrap()));
}

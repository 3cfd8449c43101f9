//! How long does each fused operation take, forward and with its gradient?
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark reports by panicking")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use flows_core::activation::Activation;
use flows_core::rowwise::gradient_of_mean;
use flows_core::tensor::{Batch, batch};
use flows_core::{Bijector, Context, LastLayer, Layer, MlpKernel, Network, Tape, normals, stream};
use flows_finite::{Affine, Coupling, LuLinear, Mask, RationalQuadratic, Scale, Tails};

const SIZES: [(usize, usize); 3] = [(512, 2), (512, 6), (512, 43)];

fn rows(rows: usize, dim: usize) -> Batch<f32> {
    batch(normals(rows * dim, &mut stream(0, "rows")), rows, dim).unwrap()
}

fn bench(c: &mut Criterion, name: &str, build: impl Fn(usize) -> Box<dyn Bijector<f32>>) {
    let mut group = c.benchmark_group(name);
    for (count, dim) in SIZES {
        let (bijector, x) = (build(dim), rows(count, dim));
        let id = format!("d={dim}/rows={count}");
        group.bench_function(BenchmarkId::new("inverse", &id), |b| {
            let none = Context::none();
            b.iter(|| black_box(bijector.inverse(&x, &none, &mut Tape::none()).unwrap()));
        });
        group.bench_function(BenchmarkId::new("gradient", &id), |b| {
            b.iter(|| {
                let mut tape = Tape::recording();
                let out = bijector.inverse(&x, &Context::none(), &mut tape).unwrap();
                black_box(gradient_of_mean(-1.0, &out.log_det, tape).unwrap())
            });
        });
    }
    group.finish();
}

fn kernel(inputs: usize, outputs: usize) -> flows_core::Result<MlpKernel> {
    MlpKernel::new(inputs, &[128, 128], outputs, Activation::Relu)
}

fn bijectors(c: &mut Criterion) {
    bench(c, "affine_coupling", |dim| {
        let mask = Mask::halves(dim, false).unwrap();
        let affine = Affine::new(Scale::Bounded { bound: 3.0 }).unwrap();
        let mut rng = stream(1, "init");
        let coupling = Coupling::new(&mask, 0, Arc::new(affine), kernel).unwrap();
        Box::new(Layer::new(coupling, &mut rng).unwrap())
    });
    bench(c, "spline_coupling", |dim| {
        let mask = Mask::halves(dim, false).unwrap();
        let spline = RationalQuadratic::new(8, 3.0, Tails::Identity).unwrap();
        let mut rng = stream(1, "init");
        let coupling = Coupling::new(&mask, 0, Arc::new(spline), kernel).unwrap();
        Box::new(Layer::new(coupling, &mut rng).unwrap())
    });
    bench(c, "lu_linear", |dim| {
        Box::new(Layer::new(LuLinear::new(dim).unwrap(), &mut stream(1, "init")).unwrap())
    });
}

fn networks(c: &mut Criterion) {
    let mut group = c.benchmark_group("perceptron");
    for activation in [Activation::Relu, Activation::Tanh, Activation::Softplus, Activation::Silu] {
        let kernel = MlpKernel::new(6, &[128, 128], 12, activation).unwrap();
        let network =
            Network::<f32, _>::new(kernel, LastLayer::Random, &mut stream(1, "init")).unwrap();
        let x = rows(512, 6);
        group.bench_function(format!("{activation:?}/forward"), |b| {
            b.iter(|| black_box(network.forward(&x, &mut Tape::none()).unwrap()));
        });
    }
    group.finish();
}

criterion_group!(benches, bijectors, networks);
criterion_main!(benches);

//! Multi-scale flows as a whole.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::Shape;
use flows_core::activation::Activation;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{
    Tolerance, assert_error, check_bijector, distance_to_scale, names, normal_point, perturb,
};
use flows_core::{
    Architecture, Base, Bijector, Chain, Context, Error, Flow, Loss, Parameters, Real, Role, Tape,
    Values, forward_kl, normals, stream,
};
use flows_finite::Scale;
use flows_finite::architecture::{AffineConfig, Mixing, MultiScaleFlow, TransformerConfig};

fn shape(channels: usize, height: usize, width: usize) -> Shape {
    Shape { channels, height, width }
}

fn affine(scale: Scale) -> Arc<dyn TransformerConfig> {
    AffineConfig { scale, ..AffineConfig::default() }.shared()
}

fn small(levels: usize, activation: Activation) -> MultiScaleFlow {
    let transformer = affine(Scale::Bounded { bound: 1.5 });
    let default = MultiScaleFlow::default();
    MultiScaleFlow { levels, depth: 1, hidden: 2, activation, transformer, ..default }
}

fn build<E: Real>(config: &MultiScaleFlow, shape: Shape, context: usize) -> Chain<E> {
    let config = MultiScaleFlow { shape, ..config.clone() };
    config.build(shape.dim(), context, &mut stream(1, "init")).unwrap()
}

#[test]
fn a_small_glow_is_bijective() {
    let cases = [
        (shape(1, 4, 4), 2, 0, Activation::Tanh),
        (shape(1, 4, 4), 1, 1, Activation::Softplus),
        (shape(2, 2, 2), 1, 0, Activation::Silu),
        (shape(1, 2, 2), 1, 2, Activation::Tanh),
    ];
    for (shape, levels, context, activation) in cases {
        check(&small(levels, activation), shape, context);
    }
}

fn check(config: &MultiScaleFlow, shape: Shape, context: usize) {
    let mut chain = build::<f64>(config, shape, context);
    perturb(&mut chain, 0.2, &mut stream(2, "perturb")).unwrap();
    check_bijector(&mut chain, normal_point(1.0), Tolerance::default());
}

#[test]
fn small_real_nvp_and_nsf_are_bijective() {
    let small = |flow: MultiScaleFlow| {
        let (hidden, activation) = (2, Activation::Tanh);
        MultiScaleFlow { depth: 2, checkerboards: 2, hidden, activation, ..flow }
    };
    let (real_nvp, nsf) = (small(MultiScaleFlow::real_nvp()), small(MultiScaleFlow::nsf()));
    check(&MultiScaleFlow { levels: 1, ..real_nvp.clone() }, shape(1, 2, 2), 1);
    check(&MultiScaleFlow { factor_out: false, act_norm: false, ..real_nvp }, shape(1, 4, 4), 0);
    check(&MultiScaleFlow { mixing: Mixing::Cayley, depth: 1, ..nsf }, shape(1, 4, 4), 0);
}

#[test]
fn it_starts_by_moving_features_only() {
    let config = MultiScaleFlow { levels: 3, ..MultiScaleFlow::default() };
    let chain = build::<f64>(&config, shape(3, 8, 8), 0);
    let x: Vec<f64> = normals(192, &mut stream(1, "x"));
    let rows = batch(x.clone(), 1, 192).unwrap();
    let out = chain.inverse(&rows, &Context::none(), &mut Tape::none()).unwrap();
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    assert_eq!(out.log_det.values(), [0.0]);
    assert_eq!(sorted(out.value.values()), sorted(x));
}

/// For each of five images of 1 x 4 x 4, which features in base space depend on the weights of the
/// level that is next to the base.
fn moved_by_the_last_level(config: &MultiScaleFlow) -> Vec<Vec<bool>> {
    let mut chain = build::<f64>(config, shape(1, 4, 4), 0);
    perturb(&mut chain, 0.3, &mut stream(2, "perturb")).unwrap();
    let x = batch(normals(16 * 5, &mut stream(3, "x")), 5, 16).unwrap();
    let image = |chain: &Chain<f64>| {
        chain.inverse(&x, &Context::none(), &mut Tape::none()).unwrap().value.values()
    };
    let before = image(&chain);
    chain
        .visit_mut(&mut |name, role, tensor| {
            if role == Role::Fixed || !name.starts_with("0.") {
                return Ok(());
            }
            let moved: Vec<f64> = tensor.values().iter().map(|v| v + 0.1).collect();
            set_values(tensor, &moved)
        })
        .unwrap();
    let after = image(&chain);
    let moved = before.iter().zip(&after).map(|(before, after)| before != after);
    moved.collect::<Vec<bool>>().chunks(16).map(<[bool]>::to_vec).collect()
}

#[test]
fn each_level_leaves_half_of_its_features_alone() {
    // Level 2 acts on 8 of 16 features: those behind keep what level 1 made of them.
    let real_nvp = MultiScaleFlow { depth: 2, hidden: 2, ..MultiScaleFlow::real_nvp() };
    for config in [small(2, Activation::Tanh), real_nvp.clone()] {
        for moved in moved_by_the_last_level(&config) {
            assert_eq!(moved, [[true; 8], [false; 8]].concat());
        }
    }
    let whole = MultiScaleFlow { factor_out: false, ..real_nvp };
    assert!(moved_by_the_last_level(&whole).concat().iter().all(|&moved| moved));
}

#[test]
fn sizes_and_settings_that_do_not_fit_are_errors() {
    let rng = &mut stream(1, "init");
    let mut refused = |config: &MultiScaleFlow, shape, name: &str| {
        let config = MultiScaleFlow { shape, ..config.clone() };
        let built = config.build::<f32>(config.shape.dim(), 0, rng);
        assert_error!(built, Error::Parameter { .. }, [name], "{config:?}");
    };
    let default = MultiScaleFlow::default();
    let sides = "height and width of a squeezed image must be even and at least 2";
    for wrong in [shape(1, 6, 8), shape(1, 8, 6), shape(1, 7, 8), shape(1, 0, 8)] {
        refused(&default, wrong, sides);
    }
    refused(&default, shape(0, 8, 8), "channels of an image must be at least 1");
    let fits = shape(1, 8, 8);
    refused(&MultiScaleFlow { levels: 4, ..default.clone() }, fits, sides);
    refused(&MultiScaleFlow { levels: 0, ..default.clone() }, fits, "levels must be at least 1");
    refused(&MultiScaleFlow { depth: 0, ..default.clone() }, fits, "depth must be at least 1");
    refused(
        &MultiScaleFlow { hidden: 0, ..default.clone() },
        fits,
        "hidden channels must be at least 1",
    );
    for bound in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let scale = Scale::Bounded { bound };
        refused(
            &MultiScaleFlow { transformer: affine(scale), ..default.clone() },
            fits,
            "bound of the scale must be positive",
        );
    }
    let text = serde_json::to_string(&default).unwrap();
    for text in [&text[..], "{}"] {
        let read = serde_json::from_str::<MultiScaleFlow>(text).unwrap();
        assert_eq!(format!("{read:?}"), format!("{default:?}"));
    }
    names(
        &serde_json::from_str::<MultiScaleFlow>("{\"layers\": 2}").unwrap_err(),
        &["unknown field `layers`", "levels"],
    );
}

#[test]
fn the_first_batch_standardises_every_channel_of_the_last_features() {
    let mut chain = build::<f64>(&MultiScaleFlow::default(), shape(1, 8, 8), 0);
    let x: Vec<f64> = normals(64 * 300, &mut stream(1, "x"));
    let x = batch(x.iter().map(|v| 7.0 + 0.2 * v).collect(), 300, 64).unwrap();
    let z = chain.initialise(&x, &Context::none()).unwrap().values();
    let square = z.iter().map(|v| v * v).sum::<f64>() / z.len() as f64;
    let mean = z.iter().sum::<f64>() / z.len() as f64;
    assert!(mean.abs() < 1e-10 && (square - 1.0).abs() < 1e-10, "{mean} {square}");
    let again = chain.inverse(&x, &Context::none(), &mut Tape::none()).unwrap().value.values();
    assert!(distance_to_scale(&again, &z) < 1e-12);
}

#[test]
fn gradient_steps_lower_the_loss() {
    // Rows of smooth images: all pixels of a row share a level, with a little noise.
    let (rows, dim) = (64, 16);
    let (levels, noise) = (
        normals::<f64>(rows, &mut stream(1, "x")),
        normals::<f64>(rows * dim, &mut stream(2, "x")),
    );
    let x: Vec<f32> =
        noise.iter().enumerate().map(|(i, n)| (levels[i / dim] + 0.3 * n) as f32).collect();
    let x = batch(x, rows, dim).unwrap();
    let config = MultiScaleFlow { depth: 2, hidden: 8, ..MultiScaleFlow::default() };
    let mut chain = build::<f32>(&config, shape(1, 4, 4), 0);
    chain.initialise(&x, &Context::none()).unwrap();
    let mut flow = Flow::new(Base::standard_normal(dim), Box::new(chain)).unwrap();
    let mut losses = Vec::new();
    for _ in 0..60 {
        let Loss { value: loss, gradient: mut gradients, .. } =
            forward_kl(&flow, &x, &Context::none(), Tape::recording()).unwrap();
        losses.push(loss);
        flow.visit_mut(&mut |_, role, tensor| {
            if role == Role::Fixed {
                return Ok(());
            }
            let slope = gradients.take(tensor)?;
            let stepped: Vec<f32> =
                tensor.values().iter().zip(slope).map(|(v, g)| v - 0.01 * g).collect();
            set_values(tensor, &stepped)
        })
        .unwrap();
    }
    assert!(losses[59] < losses[0] - 2.0, "{losses:?}");
}

#[test]
fn edges_are_finite_and_single_precision_is_close_to_double() {
    fn z<E: Real>(x: &[f64]) -> Vec<f64> {
        let mut chain = build::<E>(&MultiScaleFlow::default(), shape(1, 4, 4), 0);
        let mut rng = stream(3, "move");
        chain
            .visit_mut(&mut |_, role, tensor| {
                if role == Role::Fixed {
                    return Ok(());
                }
                let noise = normals::<f64>(tensor.values().len(), &mut rng);
                let values = tensor.values().into_iter().zip(noise);
                let values: Vec<E> = values.map(|(v, n)| v + E::of(0.05 * n)).collect();
                set_values(tensor, &values)
            })
            .unwrap();
        let x = batch(x.iter().map(|&v| E::of(v)).collect(), x.len() / 16, 16).unwrap();
        let (context, none) = (Context::none(), &mut Tape::none());
        let out = chain.inverse(&x, &context, none).unwrap();
        let back = chain.forward(&out.value, &context, none).unwrap().value;
        let all = [out.value.values(), out.log_det.values(), back.values()].concat();
        all.iter().map(|v| v.as_f64()).collect()
    }
    for edge in [0.0, 1.0, -1e6, 1e6, 1e20, 1e-40] {
        let x: Vec<f64> = (0..32).map(|i| if i % 3 == 0 { edge } else { 0.3 }).collect();
        assert!(z::<f32>(&x).iter().chain(&z::<f64>(&x)).all(|v| v.is_finite()), "{edge:e}");
    }
    let x: Vec<f64> = normals::<f32>(320, &mut stream(1, "x")).iter().map(|&v| v.into()).collect();
    let worst = distance_to_scale(&z::<f32>(&x), &z::<f64>(&x));
    assert!(worst < 1e-5, "{worst:e}");
}

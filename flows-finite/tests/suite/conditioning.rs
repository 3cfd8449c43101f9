//! Conditional flows: encoders trained through the context, and a density for each context.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::parameters::Parameters;
use flows_core::rowwise::{gradient_of_mean, mean};
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{assert_error, close, differences, perturb};
use flows_core::{
    Architecture, Base, Batch, Context, Error, Flow, LastLayer, Mlp, MlpKernel, Tape, Values,
    forward_kl, normals, stream,
};
use flows_finite::Scale;
use flows_finite::architecture::{
    AffineConfig, Conditioner, CouplingFlow, Perceptron, RationalQuadraticConfig, SplineConfig,
    TransformerConfig,
};

/// Raw features that the encoder reads, and features that the flow is conditioned on.
const RAW: usize = 3;
const CODE: usize = 2;
const ROWS: usize = 5;

fn flows() -> Vec<(&'static str, Flow<f64>)> {
    let perceptron = Perceptron { hidden: vec![6, 6], activation: Activation::Tanh };
    let conditioner = Conditioner::Perceptron(perceptron);
    let affine = AffineConfig { scale: Scale::Bounded { bound: 1.0 }, inverted: false };
    let real_nvp = CouplingFlow {
        layers: 3,
        conditioner: conditioner.clone(),
        transformer: affine.shared(),
        ..CouplingFlow::real_nvp()
    };
    let transformer =
        RationalQuadraticConfig(SplineConfig { bins: 4, bound: 3.0, ..SplineConfig::default() })
            .shared();
    let spline = CouplingFlow { layers: 2, conditioner, transformer, ..CouplingFlow::nsf() };
    let mut rng = stream(2, "init");
    let chains = [
        ("real-nvp", real_nvp.build::<f64>(2, CODE, &mut rng).unwrap()),
        ("nsf-coupling", spline.build::<f64>(2, CODE, &mut rng).unwrap()),
    ];
    let wrap = |(name, chain)| {
        let mut flow = Flow::new(Base::standard_normal(2), Box::new(chain)).unwrap();
        perturb(&mut flow, 0.25, &mut stream(3, "perturb")).unwrap();
        (name, flow)
    };
    chains.into_iter().map(wrap).collect()
}

fn encoder() -> Mlp<f64> {
    let kernel = MlpKernel::new(RAW, &[4], CODE, Activation::Silu).unwrap();
    Mlp::new(kernel, LastLayer::Random, &mut stream(8, "encoder")).unwrap()
}

fn matrix(seed: u64, rows: usize, columns: usize) -> Batch<f64> {
    batch(normals(rows * columns, &mut stream(seed, "matrix")), rows, columns).unwrap()
}

/// Mean negative log-likelihood without any tape.
fn loss(flow: &Flow<f64>, encoder: &Mlp<f64>, x: &Batch<f64>, raw: &Batch<f64>) -> f64 {
    let code = Context::of(encoder.forward(raw, &mut Tape::none()).unwrap());
    let log_prob = flow.log_prob(x, &code, &mut Tape::none()).unwrap().value.values();
    -log_prob.iter().sum::<f64>() / log_prob.len() as f64
}

fn arrives(what: &str, got: &[f64], expected: &[f64]) {
    assert!(got.iter().any(|g| *g != 0.0), "{what}: no gradient arrived");
    // step^2 = 1e-10 times third derivatives up to some hundreds, and rounding / step = 1e-10.
    close(what, got, expected, 1e-7);
}

#[test]
fn an_encoder_is_trained_through_the_context() {
    for (name, flow) in flows() {
        let mut encoder = encoder();
        let (x, raw) = (matrix(1, ROWS, 2), matrix(2, ROWS, RAW));
        let mut tape = Tape::recording();
        let code = encoder.forward(&raw, &mut tape).unwrap();
        let value = flow.log_prob(&x, &Context::of(code), &mut tape).unwrap().value;
        assert_eq!(-mean(&value), loss(&flow, &encoder, &x, &raw), "{name}");
        let mut gradients = gradient_of_mean(-1.0, &value, tape).unwrap();

        let of_x = gradients.take(&x).unwrap();
        let at = |v: &[f64]| loss(&flow, &encoder, &batch(v.to_vec(), ROWS, 2).unwrap(), &raw);
        arrives(&format!("{name}: data"), &of_x, &differences(&x.values(), at));
        let of_raw = gradients.take(&raw).unwrap();
        let at = |v: &[f64]| loss(&flow, &encoder, &x, &batch(v.to_vec(), ROWS, RAW).unwrap());
        arrives(&format!("{name}: raw features"), &of_raw, &differences(&raw.values(), at));
        let mut names = Vec::new();
        encoder.visit(&mut |name, _, tensor| names.push((name.to_owned(), tensor.clone())));
        for (part, tensor) in names {
            let exact = gradients.take(&tensor).unwrap();
            let numerical = differences(&tensor.values(), |values| {
                let set = |this: &mut Mlp<f64>, values: &[f64]| {
                    let result = this.visit_mut(&mut |name, _, tensor| {
                        if name == part { set_values(tensor, values) } else { Ok(()) }
                    });
                    result.unwrap();
                };
                set(&mut encoder, values);
                let loss = loss(&flow, &encoder, &x, &raw);
                set(&mut encoder, &tensor.values());
                loss
            });
            arrives(&format!("{name}: {part} of the encoder"), &exact, &numerical);
        }
    }
}

#[test]
fn a_context_without_an_encoder_gives_the_same_gradients_for_the_flow() {
    for (name, flow) in flows() {
        let encoder = encoder();
        let (x, raw) = (matrix(1, ROWS, 2), matrix(2, ROWS, RAW));
        let mut both = [true, false].map(|taped| {
            let (mut tape, none) = (Tape::recording(), &mut Tape::none());
            let code = encoder.forward(&raw, if taped { &mut tape } else { none }).unwrap();
            forward_kl(&flow, &x, &Context::of(code), tape).unwrap().gradient
        });
        flow.visit(&mut |part, _, tensor| {
            let [a, b] = &mut both;
            let (a, b) = (a.take(tensor).unwrap(), b.take(tensor).unwrap());
            assert_eq!(a, b, "{name}: {part}");
        });
    }
}

/// Box that holds all but exp(-r^2 / 2) of the mass: the image of the circle of radius r under a
/// continuous bijection bounds the image of its disk; a tenth is added for the arcs between points.
fn box_of(flow: &Flow<f64>, code: &[f64], radius: f64) -> [f64; 4] {
    let count = 400;
    let circle: Vec<f64> = (0..count)
        .flat_map(|i| {
            let angle = std::f64::consts::TAU * f64::from(i) / f64::from(count);
            [radius * angle.cos(), radius * angle.sin()]
        })
        .collect();
    let rows = circle.len() / 2;
    let context = Context::of(batch(code.repeat(rows), rows, CODE).unwrap());
    let image = flow.bijector().image(&batch(circle, rows, 2).unwrap(), &context).unwrap();
    let image = image.0.values();
    let side = |j: usize| {
        let column = || image.iter().skip(j).step_by(2).copied();
        let (low, high) =
            (column().fold(f64::INFINITY, f64::min), column().fold(f64::NEG_INFINITY, f64::max));
        let margin = 0.1 * (high - low);
        [low - margin, high + margin]
    };
    [side(0), side(1)].concat().try_into().unwrap()
}

/// Sum over cell centres of an n x n grid.
fn integral(flow: &Flow<f64>, code: &[f64], [x0, x1, y0, y1]: [f64; 4], n: usize) -> f64 {
    let (dx, dy) = ((x1 - x0) / n as f64, (y1 - y0) / n as f64);
    let centre = |i: usize| [x0 + dx * ((i % n) as f64 + 0.5), y0 + dy * ((i / n) as f64 + 0.5)];
    let points: Vec<f64> = (0..n * n).flat_map(centre).collect();
    let context = Context::of(batch(code.repeat(n * n), n * n, CODE).unwrap());
    let (log_prob, _) = flow.evaluate(&points, &context).unwrap();
    log_prob.iter().map(|l| l.exp()).sum::<f64>() * dx * dy
}

#[test]
fn a_conditional_density_integrates_to_one_for_each_context() {
    for (name, flow) in flows() {
        let mut seen = Vec::new();
        for code in [[0.0, 0.0], [1.5, -0.5], [-2.0, 2.0]] {
            let sides = box_of(&flow, &code, 5.5);
            let total = integral(&flow, &code, sides, 320);
            // exp(-5.5^2 / 2) = 3e-7 lies outside. Kinks of the density at spline knots leave an
            // error of second order: halving the grid changes it fourfold, so that the difference
            // to the coarse grid bounds it; 1e-4 covers both.
            let coarse = integral(&flow, &code, sides, 160);
            assert!((total - coarse).abs() < 3e-4, "{name} {code:?}: grid too coarse");
            assert!((total - 1.0).abs() < 1e-4, "{name} {code:?}: {total}");
            seen.push(
                flow.evaluate(&[0.3, -0.2], &Context::of(batch(code.to_vec(), 1, 2).unwrap())),
            );
        }
        let values: Vec<f64> = seen.into_iter().map(|r| r.unwrap().0[0]).collect();
        assert!(values[0] != values[1] && values[1] != values[2], "{name}: context has no effect");
    }
}

#[test]
fn a_context_that_does_not_fit_is_an_error_in_every_direction() {
    for (name, flow) in flows() {
        let x = &matrix(1, ROWS, 2);
        let wrong = [
            (Context::none(), true),
            (Context::of(matrix(2, ROWS, CODE + 1)), true),
            (Context::of(matrix(2, ROWS - 1, CODE)), false),
            (Context::of(matrix(2, ROWS + 1, CODE)), false),
            (Context::of(matrix(2, 1, CODE)), false),
        ];
        for (context, columns) in wrong {
            let (rng, tape) = (&mut stream(1, "draws"), &mut Tape::none());
            let errors = [
                flow.bijector().forward(x, &context, tape).unwrap_err(),
                flow.bijector().inverse(x, &context, tape).unwrap_err(),
                flow.log_prob(x, &context, tape).unwrap_err(),
                flow.sample(ROWS, &context, rng).unwrap_err(),
            ];
            for error in errors {
                let fits = match error {
                    Error::Dimension { expected, .. } => columns && expected == CODE,
                    Error::Rows { expected, .. } => !columns && expected == ROWS,
                    _ => false,
                };
                assert!(fits, "{name}: {error}");
            }
        }
        let few = Context::of(matrix(2, ROWS - 1, CODE));
        assert_error!(
            flow.evaluate(&x.values(), &few),
            Error::Rows { op: "context", .. },
            [],
            "{name}: too few rows of context"
        );
        let many = Context::of(matrix(2, ROWS + 1, CODE));
        assert_error!(
            flow.evaluate(&x.values(), &many),
            Error::Rows { op: "context", .. },
            [],
            "{name}: too many rows of context"
        );
        assert_error!(
            flow.evaluate(&[0.0; 3], &Context::none()),
            Error::Dimension { op: "last row of a batch", expected: 2, got: 1 },
            [],
            "{name}: half a row"
        );
    }
}

#[test]
fn an_unconditional_flow_refuses_a_context() {
    let chain = CouplingFlow::real_nvp().build::<f64>(2, 0, &mut stream(1, "init")).unwrap();
    let flow = Flow::new(Base::standard_normal(2), Box::new(chain)).unwrap();
    let (x, context) = (matrix(1, ROWS, 2), Context::of(matrix(2, ROWS, 1)));
    assert_error!(
        flow.log_prob(&x, &context, &mut Tape::none()),
        Error::Dimension { expected: 0, got: 1, .. },
        ["context"]
    );
}

/// Draws under one context a row come with the density that is evaluated at them under the same contexts, and a
/// row alone has the same bits.
#[test]
fn draws_have_the_density_of_their_own_context() {
    for (name, flow) in flows() {
        let codes = matrix(21, ROWS, CODE);
        let context = Context::of(codes.clone());
        let rng = &mut stream(22, "draws");
        let drawn = flow.sample_and_log_prob(ROWS, &context, &mut Tape::none(), rng).unwrap();
        let (values, told) = (drawn.value.values(), drawn.log_prob.values());
        let (again, _) = flow.evaluate(&values, &context).unwrap();
        // Two passes of three layers in double precision, with maps that stretch by less than e^3.
        close(name, &told, &again, 1e-9);
        for row in 0..ROWS {
            let code = codes.values()[row * CODE..(row + 1) * CODE].to_vec();
            let own = Context::of(batch(code, 1, CODE).unwrap());
            let (alone, _) = flow.evaluate(&values[row * 2..(row + 1) * 2], &own).unwrap();
            assert_eq!(alone, again[row..=row], "{name}");
        }
    }
}

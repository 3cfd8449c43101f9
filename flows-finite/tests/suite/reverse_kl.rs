//! Gradients through draws: the reverse divergence, by which flows fit a density that is known
//! up to a constant (claims C6 and C7).
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::rowwise::{gradient_of_mean, mean, negated, sum};
use flows_core::tensor::set_values;
use flows_core::testing::perturb;
use flows_core::{Architecture, Base, Context, Flow, Parameters, Role, Tape, Values, stream};
use flows_finite::architecture::{
    Conditioner, CouplingFlow, Perceptron, RationalQuadraticConfig, SplineConfig, TransformerConfig,
};

const ROWS: usize = 20;

fn flows() -> Vec<(&'static str, Flow<f64>)> {
    let perceptron = Perceptron { hidden: vec![5], activation: Activation::Tanh };
    let conditioner = Conditioner::Perceptron(perceptron);
    let real_nvp =
        CouplingFlow { layers: 2, conditioner: conditioner.clone(), ..CouplingFlow::real_nvp() };
    let transformer =
        RationalQuadraticConfig(SplineConfig { bins: 4, ..SplineConfig::default() }).shared();
    let spline = CouplingFlow { layers: 2, conditioner, transformer, ..CouplingFlow::nsf() };
    let rng = &mut stream(1, "init");
    let chains = [
        ("real-nvp", real_nvp.build::<f64>(2, 0, rng).unwrap()),
        ("nsf-coupling", spline.build::<f64>(2, 0, rng).unwrap()),
    ];
    let finished = |(name, chain)| {
        let mut flow = Flow::new(Base::standard_normal(2), Box::new(chain)).unwrap();
        perturb(&mut flow, 0.3, &mut stream(2, "perturb")).unwrap();
        (name, flow)
    };
    chains.into_iter().map(finished).collect()
}

/// N(m, diag(s)^2) with known m and s.
fn target() -> Base<f64> {
    let mut target = Base::diagonal_normal(2).unwrap();
    let result = target.visit_mut(&mut |name, _, tensor| {
        set_values(tensor, if name == "location" { &[0.7, -0.4] } else { &[0.3, -0.2] })
    });
    result.unwrap();
    target
}

/// Mean over fixed base draws of log q(x) - log p(x), in plain arithmetic.
fn divergence(flow: &Flow<f64>) -> f64 {
    let rng = &mut stream(3, "draws");
    let drawn = flow.sample_and_log_prob(ROWS, &Context::none(), &mut Tape::none(), rng).unwrap();
    let log_p = |x: &[f64]| {
        let part = |x: f64, m: f64, s: f64| {
            -0.5 * ((x - m) / s.exp()).powi(2) - s - 0.5 * (2.0 * std::f64::consts::PI).ln()
        };
        part(x[0], 0.7, 0.3) + part(x[1], -0.4, -0.2)
    };
    let points = drawn.value.values();
    let terms = drawn.log_prob.values().into_iter().zip(points.chunks(2));
    terms.map(|(q, x)| q - log_p(x)).sum::<f64>() / ROWS as f64
}

#[test]
fn gradients_of_the_reverse_divergence_agree_with_differences() {
    for (name, mut flow) in flows() {
        let (rng, mut tape) = (&mut stream(3, "draws"), Tape::recording());
        let drawn = flow.sample_and_log_prob(ROWS, &Context::none(), &mut tape, rng).unwrap();
        let log_p = target().log_prob(&drawn.value, &mut tape).unwrap();
        let minus = negated(log_p, &mut tape).unwrap();
        let terms = sum(vec![drawn.log_prob, minus], &mut tape).unwrap();
        let value = mean(&terms);
        let expected = divergence(&flow);
        assert!((value - expected).abs() < 1e-12 * (1.0 + expected.abs()), "{name}");
        let mut gradients = gradient_of_mean(1.0, &terms, tape).unwrap();
        let mut parts = Vec::new();
        flow.visit(&mut |part, role, tensor| {
            if role == Role::Learned {
                parts.push((part.to_owned(), tensor.clone()));
            }
        });
        let mut norm = 0.0_f64;
        for (part, tensor) in parts {
            let exact = gradients.take(&tensor).unwrap();
            for (i, exact) in exact.iter().enumerate() {
                let mut at = |by: f64| {
                    let mut values = tensor.values();
                    values[i] += by;
                    let set = |flow: &mut Flow<f64>, values: &[f64]| {
                        let result = flow.visit_mut(&mut |this, _, tensor| {
                            if this == part { set_values(tensor, values) } else { Ok(()) }
                        });
                        result.unwrap();
                    };
                    set(&mut flow, &values);
                    let value = divergence(&flow);
                    set(&mut flow, &tensor.values());
                    value
                };
                // Step 1e-5: 1e-10 times third derivatives up to some hundreds, and rounding of
                // values of order ten over the step, 1e-10.
                let numerical = (at(1e-5) - at(-1e-5)) / 2e-5;
                let error = (exact - numerical).abs();
                assert!(error < 1e-6 * (1.0 + numerical.abs()), "{name} {part} [{i}]: {exact}");
                norm = norm.hypot(*exact);
            }
        }
        assert!(norm > 0.1, "{name}: no gradient arrived");
    }
}

#[test]
fn both_sides_of_the_divergence_agree_draw_by_draw() {
    // C6: log q(x) - log p(x) at x = T(u) is log p_u(u) less the log-density that T^-1 gives u when
    // x comes from p, log p(T(u)) + log |det J|: the same number by two routes.
    for (name, flow) in flows() {
        let u = flow.base().sample(300, &mut stream(3, "draws")).unwrap();
        let rng = &mut stream(3, "draws");
        let (none, tape) = (Context::none(), &mut Tape::none());
        let drawn = flow.sample_and_log_prob(300, &none, tape, rng).unwrap();
        let mapped = flow.bijector().forward(&u, &none, tape).unwrap();
        assert_eq!(drawn.value.values(), mapped.value.values(), "{name}: the same draws");
        let log_p = target().log_prob(&mapped.value, tape).unwrap().values();
        let log_u = flow.base().log_prob(&u, tape).unwrap().values();
        let pulled = log_p.iter().zip(mapped.log_det.values()).map(|(p, l)| p + l);
        for (i, (pulled, u)) in pulled.zip(log_u).enumerate() {
            let (left, right) = (drawn.log_prob.values()[i] - log_p[i], u - pulled);
            assert!((left - right).abs() < 1e-12 * (1.0 + left.abs()), "{name}: {left} {right}");
        }
    }
}

//! The closed-form update of the base: mean and covariance of the data pulled back (claim C8).
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::batch;
use flows_core::testing::{assert_error, perturb};
use flows_core::{
    Architecture, Base, Batch, Context, Error, Flow, Parameters, Tape, Values, forward_kl, normals,
    stream,
};
use flows_finite::architecture::{Conditioner, CouplingFlow};

const ROWS: usize = 400;
const DIM: usize = 3;

/// A flow away from the identity, its base away from N(0, I).
fn flow(seed: u64) -> Flow<f64> {
    let config = CouplingFlow {
        layers: 4,
        conditioner: Conditioner::perceptron(vec![8]),
        ..CouplingFlow::real_nvp()
    };
    let chain = config.build(DIM, 0, &mut stream(seed, "init")).unwrap();
    let mut flow = Flow::new(Base::diagonal_normal(DIM).unwrap(), Box::new(chain)).unwrap();
    perturb(&mut flow, 0.3, &mut stream(seed, "perturb")).unwrap();
    flow
}

fn data(seed: u64) -> Batch<f64> {
    batch(normals(ROWS * DIM, &mut stream(seed, "data")), ROWS, DIM).unwrap()
}

fn nats(flow: &Flow<f64>, x: &Batch<f64>) -> f64 {
    let (log_prob, _) = flow.evaluate(&x.values(), &Context::none()).unwrap();
    -log_prob.iter().sum::<f64>() / log_prob.len() as f64
}

fn base_of(flow: &Flow<f64>) -> [Vec<f64>; 2] {
    let mut all = Vec::new();
    flow.base().visit(&mut |_, _, tensor| all.push(tensor.values()));
    all.try_into().unwrap()
}

#[test]
fn the_update_is_the_mean_and_the_standard_deviation_of_the_data_pulled_back() {
    for seed in 0..5 {
        let (mut flow, x) = (flow(seed), data(seed));
        let mapped = flow.bijector().inverse(&x, &Context::none(), &mut Tape::none()).unwrap();
        let (u, log_det) = (mapped.value.values(), mapped.log_det.values());
        flow.fit_base(&x, &Context::none()).unwrap();
        let [location, log_scale] = base_of(&flow);
        let mut entropy = 0.0;
        for j in 0..DIM {
            let column = || u.iter().skip(j).step_by(DIM);
            let mean = column().sum::<f64>() / ROWS as f64;
            let variance = column().map(|v| (v - mean).powi(2)).sum::<f64>() / ROWS as f64;
            assert!((location[j] - mean).abs() < 1e-12 * (1.0 + mean.abs()));
            assert!((log_scale[j].exp() / variance.sqrt() - 1.0).abs() < 1e-12);
            entropy += 0.5 * (2.0 * std::f64::consts::PI * std::f64::consts::E * variance).ln();
        }
        // At its own moments a normal has mean log-density minus its entropy.
        let expected = entropy - log_det.iter().sum::<f64>() / ROWS as f64;
        assert!((nats(&flow, &x) - expected).abs() < 1e-10 * (1.0 + expected.abs()));
    }
}

#[test]
fn the_update_never_increases_the_negative_log_likelihood() {
    for seed in 0..20 {
        let (mut flow, x) = (flow(seed), data(100 + seed));
        let before = nats(&flow, &x);
        flow.fit_base(&x, &Context::none()).unwrap();
        let after = nats(&flow, &x);
        assert!(after < before, "seed {seed}: {before} {after}");
        flow.fit_base(&x, &Context::none()).unwrap();
        assert!((nats(&flow, &x) - after).abs() < 1e-12 * (1.0 + after.abs()), "not idempotent");
        // Nothing near the optimum is better.
        for nudge in 0..10 {
            let [location, log_scale] = base_of(&flow);
            let mut base = flow.base().clone();
            perturb(&mut base, 1e-2, &mut stream(nudge, "nudge")).unwrap();
            let none = &mut Tape::none();
            let u = flow.bijector().inverse(&x, &Context::none(), none).unwrap().value;
            let mean = |base: &Base<f64>| -> f64 {
                base.log_prob(&u, &mut Tape::none()).unwrap().values().iter().sum::<f64>()
                    / ROWS as f64
            };
            assert!(mean(&base) < mean(flow.base()), "{location:?} {log_scale:?}");
        }
    }
}

#[test]
fn the_gradient_of_the_base_is_zero_at_the_update() {
    let (mut flow, x) = (flow(1), data(1));
    let slope = |flow: &Flow<f64>| -> Vec<f64> {
        let mut gradients =
            forward_kl(flow, &x, &Context::none(), Tape::recording()).unwrap().gradient;
        let mut all = Vec::new();
        flow.base().visit(&mut |_, _, t| all.extend(gradients.take(t).unwrap()));
        all
    };
    assert!(slope(&flow).iter().all(|g| g.abs() > 1e-3), "already at the optimum");
    flow.fit_base(&x, &Context::none()).unwrap();
    // With w = (u - m) e^-s the gradients are means of w e^-s and of 1 - w^2. A sum of n terms is off
    // by n epsilon / 2 of their sizes, and the moments that were fitted are such sums as well.
    let [location, log_scale] = base_of(&flow);
    let u = flow.bijector().inverse(&x, &Context::none(), &mut Tape::none()).unwrap().value;
    let mut size: f64 = 0.0;
    for row in u.values().chunks(DIM) {
        for (u, (m, s)) in row.iter().zip(location.iter().zip(&log_scale)) {
            let w = (u - m) * (-s).exp();
            size = size.max((1.0 + w * w) * (-s).exp().max(1.0));
        }
    }
    let bound = ROWS as f64 * f64::EPSILON * size;
    assert!(slope(&flow).iter().all(|g| g.abs() < bound), "{:?} > {bound:e}", slope(&flow));
}

#[test]
fn rows_that_have_no_normal_are_refused_and_change_nothing() {
    let (few, scale) = ("number of rows to fit a base to must be at least 2, got 1", "log scale");
    for (rows, word) in [
        (vec![1.0, 2.0, 3.0], few),
        (vec![1.0, 2.0, 3.0, 1.0, 2.0, 3.0], scale),
        (vec![1.0, 2.0, 3.0, f64::NAN, 0.0, 1.0], scale),
        (vec![1.0, 2.0, 3.0, 0.0, f64::INFINITY, 1.0], scale),
    ] {
        let mut flow = flow(2);
        let before = base_of(&flow);
        let x = batch(rows.clone(), rows.len() / DIM, DIM).unwrap();
        assert_error!(
            flow.fit_base(&x, &Context::none()),
            Error::Parameter { .. } | Error::NonFinite { .. },
            [word],
            "{rows:?}"
        );
        assert_eq!(base_of(&flow), before, "{rows:?}");
    }
}

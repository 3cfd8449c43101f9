//! The architectures as built: identities, and deep stacks that are undone in single precision.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::batch;
use flows_core::testing::{largest_difference, perturb, wide};
use flows_core::{
    Architecture, Base, Bijector, Chain, Context, Flow, Real, Tape, Values, normals, stream,
};
use flows_finite::architecture::{AutoregressiveFlow, Conditioner, CouplingFlow, Mixing};

use crate::elements::move_parameters;

/// Both architectures with `layers` couplings, with and without what stands between them.
fn presets<E: Real>(layers: usize, dim: usize) -> Vec<(String, Chain<E>)> {
    let mut all = Vec::new();
    for (linear, act_norm) in [(false, false), (true, false), (false, true), (true, true)] {
        let rng = &mut stream(1, "init");
        let conditioner = Conditioner::perceptron(vec![32, 32]);
        let mixing = if linear { Mixing::Lu } else { Mixing::None };
        let [real_nvp, nsf] = [CouplingFlow::real_nvp(), CouplingFlow::nsf()].map(|flow| {
            let conditioner = conditioner.clone();
            CouplingFlow { layers, conditioner, mixing, act_norm, ..flow }
        });
        let parts = [
            ("real-nvp", real_nvp.build(dim, 0, rng).unwrap()),
            ("nsf-coupling", nsf.build(dim, 0, rng).unwrap()),
        ];
        for (name, chain) in parts {
            let label = format!("{} {name} linear {linear} act-norm {act_norm}", E::NAME);
            all.push((label, chain));
        }
    }
    all
}

fn fresh_presets_are_the_identity<E: Real>() {
    let epsilon = E::epsilon().as_f64();
    let (rows, layers) = (300, 6);
    for dim in [1, 2, 3, 8] {
        let points: Vec<f64> =
            normals::<f64>(rows * dim, &mut stream(4, "points")).iter().map(|v| 2.0 * v).collect();
        let points: Vec<E> = points.into_iter().map(E::of).collect();
        for (label, bijector) in presets::<E>(layers, dim) {
            let input = batch(points.clone(), rows, dim).unwrap();
            let (none, tape) = (Context::none(), &mut Tape::none());
            for out in
                [bijector.forward(&input, &none, tape), bijector.inverse(&input, &none, tape)]
            {
                let out = out.unwrap();
                for (got, given) in out.value.values().iter().zip(&points) {
                    // A layer sums 16 widths and 16 heights up to the bound of 4, with half a unit
                    // of rounding each.
                    let allowed =
                        layers as f64 * 32.0 * 0.5 * epsilon * given.as_f64().abs().max(4.0);
                    assert!((*got - *given).as_f64().abs() <= allowed, "{label}: {got} {given}");
                }
                for log_det in out.log_det.values() {
                    // Slopes of one from quotients of such sums: the error over the width of a
                    // bin, 1/16 of the interval, that is 16 times as many units.
                    let allowed = (layers * dim) as f64 * 16.0 * 32.0 * epsilon;
                    assert!(log_det.as_f64().abs() <= allowed, "{label}: log-det {log_det}");
                }
            }
            let flow = Flow::new(Base::standard_normal(dim), Box::new(bijector)).unwrap();
            let (log_prob, _) = flow.evaluate(&points, &none).unwrap();
            for (row, log_prob) in points.chunks(dim).zip(log_prob) {
                let square: f64 = row.iter().map(|v| v.as_f64().powi(2)).sum();
                let expected = -0.5 * (square + dim as f64 * (2.0 * std::f64::consts::PI).ln());
                let allowed = (layers * dim) as f64 * 16.0 * 64.0 * epsilon * (1.0 + square);
                assert!((log_prob - expected).abs() <= allowed, "{label}: {log_prob} {expected}");
            }
        }
    }
}

#[test]
fn fresh_presets_are_the_identity_in_single_precision() {
    fresh_presets_are_the_identity::<f32>();
}

#[test]
fn fresh_presets_are_the_identity_in_double_precision() {
    fresh_presets_are_the_identity::<f64>();
}

/// Largest errors of values and log-dets after there and back again, over draws from N(0, I).
fn round_trip<E: Real>(bijector: &Chain<E>, rows: usize) -> [f64; 2] {
    let dim = bijector.dim();
    let z: Vec<E> = normals(rows * dim, &mut stream(5, "z"));
    let (none, tape) = (Context::none(), &mut Tape::none());
    let there = bijector.forward(&batch(z.clone(), rows, dim).unwrap(), &none, tape).unwrap();
    let back = bijector.inverse(&there.value, &none, tape).unwrap();
    let negated: Vec<f64> = wide(&back.log_det.values()).iter().map(|l| -l).collect();
    [
        largest_difference(&wide(&back.value.values()), &wide(&z)),
        largest_difference(&negated, &wide(&there.log_det.values())),
    ]
}

#[test]
fn ten_layers_are_undone_in_single_precision() {
    // Moves of 0.05: outputs of a 32-wide conditioner change by about 0.05 sqrt(32) = 0.3 for every
    // layer, so that ten log-scales of either sign add up to one or two.
    for (label, mut bijector) in presets::<f32>(10, 6) {
        move_parameters(&mut bijector, 0.05);
        let [value, _] = round_trip(&bijector, 2000);
        assert!(value <= 1e-4, "{label}: {value:e}");
    }
}

#[test]
fn rounding_and_not_the_method_limits_a_round_trip() {
    for layers in [2, 10] {
        let narrow = presets::<f32>(layers, 6);
        for ((label, mut narrow), (_, mut wide)) in
            narrow.into_iter().zip(presets::<f64>(layers, 6))
        {
            move_parameters(&mut narrow, 0.05);
            move_parameters(&mut wide, 0.05);
            let [value, log_det] = round_trip(&wide, 500);
            // Claim C3: 1e-12 for a spline; for a stack, the same condition number as in single
            // precision, and so the error of that scaled by the ratio of the two precisions, with
            // a factor of a hundred between the largest of few draws.
            let [coarse, coarse_log] = round_trip(&narrow, 500);
            let ratio = f64::EPSILON / f64::from(f32::EPSILON);
            assert!(value <= 100.0 * ratio * coarse.max(1e-6), "{label}: {value:e} {coarse:e}");
            let allowed = 100.0 * ratio * coarse_log.max(1e-5);
            assert!(log_det <= allowed, "{label}: log-det {log_det:e} {coarse_log:e}");
        }
    }
}

#[test]
fn an_affine_layer_of_a_deep_stack_stretches_by_e_at_most() {
    const DIM: usize = 2;
    let maf = AutoregressiveFlow { layers: 1, act_norm: false, ..AutoregressiveFlow::maf() };
    let real_nvp = CouplingFlow {
        layers: 1,
        act_norm: false,
        mixing: Mixing::None,
        ..CouplingFlow::real_nvp()
    };
    let built =
        [maf.build(DIM, 0, &mut stream(1, "init")), real_nvp.build(DIM, 0, &mut stream(1, "init"))];
    // Weights and rows far beyond those of training; a coupling transforms one of the features.
    let rows: Vec<f64> =
        normals::<f64>(DIM * 50, &mut stream(2, "rows")).iter().map(|v| 100.0 * v).collect();
    let x = batch(rows, 50, DIM).unwrap();
    for (chain, most) in built.into_iter().zip([2.0, 1.0]) {
        let mut chain: Chain<f64> = chain.unwrap();
        perturb(&mut chain, 1.0, &mut stream(3, "weights")).unwrap();
        let out = chain.inverse(&x, &Context::none(), &mut Tape::none()).unwrap();
        let largest = out.log_det.values().iter().fold(0.0_f64, |all, v| all.max(v.abs()));
        assert!(largest <= most && largest > 0.45 * most, "{largest} {most}");
    }
}

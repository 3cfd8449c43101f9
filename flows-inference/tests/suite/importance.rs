//! Importance weights against formulas.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_bench::targets::KnownTarget;
use flows_core::testing::{close_number, names};
use flows_core::{Base, Chain, Error, Flow, Target, stream};
use flows_inference::{LogWeights, Weighted, pareto};

/// 2,000 log-weights that any program can repeat: quantiles of Pareto distributions, a bounded tail, and a
/// tail with a lighter end. Shapes by `arviz.psislw` of ArviZ 0.23.4, in double precision.
#[test]
fn shapes_are_those_of_arviz() {
    let places = (0..2000).map(|i| (f64::from(i) + 0.5) / 2000.0);
    for (k, expected) in [
        (0.1, 0.136_361_568_885_128_4),
        (0.3, 0.317_129_242_310_127_1),
        (0.5, 0.497_873_994_640_627_26),
        (0.7, 0.678_643_997_972_150_6),
        (1.0, 0.949_803_870_286_942_1),
        (1.5, 1.401_611_583_362_182_7),
    ] {
        let log_weights: Vec<f64> = places.clone().map(|p| -k * (1.0 - p).ln()).collect();
        close_number("shape", pareto::shape(&log_weights).unwrap(), expected, 1e-10);
    }
    let cubic: Vec<f64> = places.map(|p| 4.0 * p.powi(3)).collect();
    close_number("cubic", pareto::shape(&cubic).unwrap(), -0.646_437_593_057_535_1, 1e-10);
    let sine: Vec<f64> = (0..2000).map(|i| 2.0 * f64::from(i).sin()).collect();
    close_number("sine", pareto::shape(&sine).unwrap(), -1.647_496_845_969_695_5, 1e-10);
}

#[test]
fn few_or_equal_weights_have_no_shape() {
    assert_eq!(pareto::shape(&[0.0; 1000]), None);
    assert_eq!(pareto::shape(&[0.0, 1.0, 2.0, 3.0]), None);
}

/// Weights exp(s z - s^2 / 2) of normal z have mean 1 and effective share exp(-s^2).
#[test]
fn log_normal_weights_have_their_share_and_normaliser() {
    let s = 0.5;
    let draws = flows_core::normals::<f64>(200_000, &mut stream(1, "draws"));
    let weights =
        LogWeights::new(draws.iter().map(|z| 3.0 + s * z - 0.5 * s * s).collect()).unwrap();
    assert!((weights.effective_share() - (-s * s).exp()).abs() < 0.01);
    let log_z = weights.log_normaliser();
    let error = log_z.standard_error.unwrap();
    let exact = ((s * s).exp() - 1.0).sqrt() / (200_000_f64).sqrt();
    assert!((error / exact - 1.0).abs() < 0.05, "{error}, not {exact}");
    assert!((log_z.nats - 3.0).abs() < 4.0 * exact);
    assert!((weights.normalised().iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn heavy_weights_get_no_standard_error() {
    let mut rng = stream(2, "draws");
    let draws = flows_core::normals::<f64>(10_000, &mut rng);
    // N(0, 1) for N(0, 3^2): weights without a variance, k = 1 - 1/9.
    let weights = LogWeights::new(draws.iter().map(|z| 4.0 / 9.0 * z * z).collect()).unwrap();
    assert!(weights.pareto_k().unwrap() > 0.7);
    assert_eq!(weights.log_normaliser().standard_error, None);
}

#[test]
fn a_proposal_that_is_the_target_knows_log_z() {
    let flow = Flow::<f64>::new(Base::standard_normal(2), Box::new(Chain::new(2, vec![]).unwrap()))
        .unwrap();
    let weighted = Weighted::draw(&flow, &SevenNormals, 5000, &mut stream(0, "draws")).unwrap();
    let log_z = weighted.log_weights.log_normaliser();
    close_number("log Z", log_z.nats, 7.0_f64.ln(), 1e-12);
    close_number("error", log_z.standard_error.unwrap(), 0.0, 1e-12);
    assert_eq!((weighted.draws.len(), weighted.log_proposal.len()), (10_000, 5000));
}

#[test]
fn log_z_of_a_known_target_is_within_its_error() {
    let flow = Flow::<f64>::new(
        Base::student_t(2, 3.0).unwrap(),
        Box::new(Chain::new(2, vec![]).unwrap()),
    )
    .unwrap();
    let target = KnownTarget::Cross;
    let weighted = Weighted::draw(&flow, &target, 100_000, &mut stream(3, "draws")).unwrap();
    let log_z = weighted.log_weights.log_normaliser();
    let error = log_z.standard_error.unwrap();
    assert!(log_z.nats.abs() < 4.0 * error && error < 0.05, "{log_z:?}");
}

#[test]
fn weights_that_are_none_are_named() {
    let error = LogWeights::new(vec![0.0, f64::NAN]).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 1, .. }));
    let error = LogWeights::new(vec![f64::NEG_INFINITY; 3]).unwrap_err();
    names(&error, &["all 3 weights are zero"]);
    assert_eq!(LogWeights::new(vec![0.0, f64::NEG_INFINITY]).unwrap().zeros(), 1);
}

/// 7 N(0, I).
#[derive(Debug)]
struct SevenNormals;

impl Target for SevenNormals {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.iter_mut().zip(point).for_each(|(g, x)| *g = -x);
        let square: f64 = point.iter().map(|x| x * x).sum();
        7.0_f64.ln() - 0.5 * square - std::f64::consts::TAU.ln()
    }
}

//! Importance weights against formulas.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_bench::targets::KnownTarget;
use flows_core::testing::{close_number, names};
use flows_core::{Base, Chain, Error, Flow, Target, stream};
use flows_inference::{LogWeights, Weighted, pareto};

/// The shape that its authors' formula gives for the same draws (written again in NumPy from the paper:
/// 1,000 quantiles of a Pareto distribution with this shape, whose tail of 95 the estimate sees).
#[test]
fn the_shape_of_pareto_quantiles_is_found() {
    for k in [0.1, 0.3, 0.5, 0.7, 1.0, 1.5] {
        let quantile = |i: usize| {
            let p = (i as f64 + 0.5) / 20_000.0;
            -k * (1.0 - p).ln()
        };
        let log_weights: Vec<f64> = (0..20_000).map(quantile).collect();
        let tail = 3.0 * 20_000_f64.sqrt();
        let expected = (tail * k + 10.0 * 0.5) / (tail + 10.0);
        let found = pareto::shape(&log_weights).unwrap();
        // The standard error of a shape from n exceedances is (1 + k) / sqrt(n).
        assert!((found - expected).abs() < (1.0 + k) / tail.sqrt(), "{k}: {found}, not {expected}");
    }
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

//! The exponential, the logarithm and their kin against the standard library.

use flows_core::Real;
use flows_core::elementwise::{exp, ln, map, sigmoid, softplus, tanh};

/// Largest error in units in the last place of `E` over a grid, against f64 or an exact rule.
fn worst<E: Real>(kernel: fn(E) -> E, exact: fn(f64) -> f64, low: f64, high: f64) -> f64 {
    let count = 200_001;
    let points: Vec<E> = (0..count)
        .map(|i| E::of(low + (high - low) * f64::from(i) / f64::from(count - 1)))
        .collect();
    let mut images = points.clone();
    map(&mut images, kernel);
    points
        .iter()
        .zip(&images)
        .map(|(&x, &y)| {
            let truth = exact(x.as_f64());
            let unit = truth.abs() * E::epsilon().as_f64();
            (y.as_f64() - truth).abs() / unit.max(E::min_positive_value().as_f64() * 1e-3)
        })
        .fold(0.0, |most, error| if error > most || error.is_nan() { error } else { most })
}

fn softplus_f64(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid_f64(x: f64) -> f64 {
    let small = (-x.abs()).exp();
    (if x < 0.0 { small } else { 1.0 }) / (1.0 + small)
}

#[test]
fn kernels_are_accurate_in_single_precision() {
    // Units of epsilon times the value: up to two units in the last place each.
    assert!(worst::<f32>(exp, f64::exp, -86.98, 88.7) <= 1.5);
    assert!(worst::<f32>(ln, f64::ln, 1e-30, 10.0) <= 1.5);
    assert!(worst::<f32>(ln, f64::ln, 1e-3, 1e30) <= 1.5);
    assert!(worst::<f32>(tanh, f64::tanh, -10.0, 10.0) <= 3.0);
    assert!(worst::<f32>(tanh, f64::tanh, -0.01, 0.01) <= 3.0);
    assert!(worst::<f32>(sigmoid, sigmoid_f64, -80.0, 80.0) <= 2.0);
    assert!(worst::<f32>(softplus, softplus_f64, -80.0, 80.0) <= 2.0);
}

#[test]
fn kernels_are_accurate_in_double_precision() {
    // The standard library is the yardstick here; it is good to about one unit itself.
    assert!(worst::<f64>(exp, f64::exp, -708.0, 709.0) <= 2.5);
    assert!(worst::<f64>(ln, f64::ln, 1e-300, 10.0) <= 2.5);
    assert!(worst::<f64>(tanh, f64::tanh, -10.0, 10.0) <= 4.0);
    assert!(worst::<f64>(sigmoid, sigmoid_f64, -700.0, 700.0) <= 3.0);
    assert!(worst::<f64>(softplus, softplus_f64, -700.0, 700.0) <= 3.0);
}

#[test]
fn limits_are_right_and_nan_stays_nan() {
    fn check<E: Real>() {
        let big = E::max_value();
        assert_eq!(exp(E::neg_infinity()), E::zero());
        assert_eq!(exp(E::infinity()), E::infinity());
        assert_eq!(exp(E::zero()), E::one());
        assert_eq!(ln(E::one()), E::zero());
        assert_eq!(ln(E::zero()), E::neg_infinity());
        assert_eq!(ln(E::infinity()), E::infinity());
        assert!(ln(-E::one()).is_nan());
        assert_eq!(tanh(big), E::one());
        assert_eq!(tanh(-big), -E::one());
        assert_eq!(sigmoid(-big), E::zero());
        assert_eq!(sigmoid(big), E::one());
        assert_eq!(softplus(big), big);
        assert_eq!(softplus(-big), E::zero());
        for kernel in [exp::<E>, ln, tanh, sigmoid, softplus] {
            assert!(kernel(E::nan()).is_nan());
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn an_element_does_not_depend_on_its_place() {
    let value = 0.731_f32;
    for length in [1, 3, 17, 64, 100] {
        let mut values = vec![value; length];
        map(&mut values, tanh);
        assert!(values.iter().all(|v| v.to_bits() == values[0].to_bits()));
        let mut alone = [value];
        map(&mut alone, tanh);
        assert_eq!(alone[0].to_bits(), values[length - 1].to_bits());
    }
}

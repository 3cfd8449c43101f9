//! Transforms against differences and their own inverses.

use flows_core::testing::{STEP, close, differences};
use flows_core::{normals, stream};
use nalgebra::DMatrix;

use super::{Identity, Log, Logit, Ordered, StickBreaking, Transform};

const ALL: [&dyn Transform; 5] = [&Identity, &Log, &Logit, &Ordered, &StickBreaking];

/// Central differences of values and slopes of order 10 or less: step^2 / 6 and rounding / step, each
/// below 1e-9 of 1 + the value.
const DIFFERENCES: f64 = 1e-8;

fn points(transform: &dyn Transform) -> Vec<Vec<f64>> {
    let rng = &mut stream(1, "points");
    (0..20).map(|_| normals(transform.width(), rng)).collect()
}

fn image(transform: &dyn Transform, free: &[f64]) -> (Vec<f64>, f64) {
    let mut parameters = vec![f64::NAN; free.len()];
    let log_jacobian = transform.constrain(free, &mut parameters);
    (parameters, log_jacobian)
}

#[test]
fn log_jacobians_agree_with_determinants_of_differences() {
    for transform in ALL {
        for point in points(transform) {
            let width = transform.width();
            let jacobian = DMatrix::from_fn(width, width, |i, j| {
                let at = |step: f64| {
                    let mut moved = point.clone();
                    moved[j] += step;
                    image(transform, &moved).0[i]
                };
                (at(STEP) - at(-STEP)) / (2.0 * STEP)
            });
            let numerical = jacobian.determinant().abs().ln();
            let log_jacobian = image(transform, &point).1;
            // Relative to a determinant that may be as small as 1e-2.
            close(&format!("{transform:?}"), &[log_jacobian], &[numerical], 100.0 * DIFFERENCES);
        }
    }
}

#[test]
fn pulled_back_gradients_agree_with_differences() {
    // f(t) = sum of a_i t_i^2 / 2
    for transform in ALL {
        let coefficients = [0.7, -1.3];
        for point in points(transform) {
            let whole = |free: &[f64]| {
                let (parameters, log_jacobian) = image(transform, free);
                let terms = parameters.iter().zip(coefficients);
                terms.map(|(t, a)| 0.5 * a * t * t).sum::<f64>() + log_jacobian
            };
            let (parameters, _) = image(transform, &point);
            let mut gradient: Vec<f64> =
                parameters.iter().zip(coefficients).map(|(t, a)| a * t).collect();
            transform.pull_back(&point, &parameters, &mut gradient);
            let numerical = differences(&point, whole);
            // e^(2 u) of u up to 3 has third derivatives of some thousands.
            close(&format!("{transform:?} {point:?}"), &gradient, &numerical, 100.0 * DIFFERENCES);
        }
    }
}

#[test]
fn parameters_come_back_and_lie_in_the_support() {
    for transform in ALL {
        for point in points(transform) {
            let (parameters, _) = image(transform, &point);
            let mut back = vec![f64::NAN; point.len()];
            transform.unconstrain(&parameters, &mut back);
            // Rounding of a value near 1, as large as e^3 of its distance to 1.
            close(&format!("{transform:?}"), &back, &point, 1000.0 * f64::EPSILON);
        }
    }
    for (transform, outside) in [
        (&Log as &dyn Transform, &[-1.0][..]),
        (&Logit, &[1.5]),
        (&Ordered, &[1.0, 0.5]),
        (&StickBreaking, &[0.5, 0.6]),
    ] {
        let mut free = vec![0.0; outside.len()];
        transform.unconstrain(outside, &mut free);
        assert!(free.iter().any(|u| !u.is_finite()), "{transform:?} {free:?}");
    }
    let (parameters, _) = image(&StickBreaking, &[5.0, 3.0]);
    assert!(parameters[0] + parameters[1] < 1.0);
}

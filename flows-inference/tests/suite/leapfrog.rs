//! The leapfrog integrator as a bijector: reversible, volume-preserving, of second order.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_bench::targets::KnownTarget;
use flows_core::tensor::batch;
use flows_core::testing::{assert_error, close, close_number};
use flows_core::{Bijector, Context, Error, Tape, Target, Values, normals, stream};
use flows_inference::chain::Leapfrog;
use nalgebra::DMatrix;

fn image(map: &Leapfrog, point: &[f64]) -> Vec<f64> {
    let rows = point.len() / map.dim();
    let z = batch(point.to_vec(), rows, map.dim()).unwrap();
    let mapped = map.forward(&z, &Context::none(), &mut Tape::none()).unwrap();
    assert_eq!(mapped.log_det.values(), vec![0.0; rows]);
    mapped.value.values()
}

fn preimage(map: &Leapfrog, point: &[f64]) -> Vec<f64> {
    let x = batch(point.to_vec(), point.len() / map.dim(), map.dim()).unwrap();
    map.inverse(&x, &Context::none(), &mut Tape::none()).unwrap().value.values()
}

/// Derivative of the image by coordinate `j`, from four points.
fn slope(map: &Leapfrog, point: &[f64], j: usize) -> Vec<f64> {
    let step = 1e-4;
    let at = |steps: f64| {
        let mut moved = point.to_vec();
        moved[j] += steps * step;
        image(map, &moved)
    };
    let [a, b, c, d] = [at(-2.0), at(-1.0), at(1.0), at(2.0)];
    (0..point.len()).map(|i| (a[i] - d[i] + 8.0 * (c[i] - b[i])) / (12.0 * step)).collect()
}

fn points(dim: usize, rows: usize) -> Vec<f64> {
    normals(2 * dim * rows, &mut stream(1, "points"))
}

#[test]
fn steps_are_reversible_and_keep_volume() {
    for (target, step) in [(KnownTarget::Banana, 0.1), (KnownTarget::Cross, 0.05)] {
        let map = Leapfrog::new(Arc::new(target), step, 20).unwrap();
        assert_eq!(map.dim(), 4);
        let points = points(2, 7);
        let images = image(&map, &points);
        assert!(points.iter().zip(&images).any(|(z, x)| (z - x).abs() > 0.5));
        close("round trip", &preimage(&map, &images), &points, 1e-12);

        // The inverse is the map itself between two changes of the momentum's sign.
        let turned = |rows: &[f64]| -> Vec<f64> {
            rows.chunks(4).flat_map(|r| [r[0], r[1], -r[2], -r[3]]).collect()
        };
        close("reversal", &turned(&image(&map, &turned(&images))), &points, 1e-12);

        for point in points.chunks(4) {
            let alone = image(&map, point);
            assert!(images.chunks(4).any(|row| row == alone));
            let columns: Vec<f64> = (0..4).flat_map(|j| slope(&map, point, j)).collect();
            let volume = DMatrix::from_column_slice(4, 4, &columns).determinant().abs();
            // Rounding over the step is 1e-16 / 1e-4, times a condition of up to 100. The error of the
            // differences falls with the fourth power of the step, and so is 1e-11 here: at a step of
            // 1e-3 it is 1e-8 to 1e-7 between the arms of the cross, where derivatives are large.
            close_number("volume", volume, 1.0, 1e-8);
        }
    }
}

/// One step of an oscillator with unit frequency, by hand.
#[test]
fn a_step_is_the_formula() {
    let map = Leapfrog::new(Arc::new(Oscillator), 0.5, 1).unwrap();
    let p = 2.0 - 0.25;
    let q = 1.0 + 0.5 * p;
    close("step", &image(&map, &[1.0, 2.0]), &[q, p - 0.25 * q], 1e-15);
}

/// Half the step makes the energy's error a quarter.
#[test]
fn the_energy_is_kept_to_second_order() {
    let energy = |z: &[f64]| {
        let value = KnownTarget::Banana.log_density(&z[..2], &mut [0.0; 2]);
        0.5 * (z[2] * z[2] + z[3] * z[3]) - value
    };
    let point = [1.0, -0.5, 0.7, 0.3];
    let error = |step: f64, steps| {
        let map = Leapfrog::new(Arc::new(KnownTarget::Banana), step, steps).unwrap();
        energy(&image(&map, &point)) - energy(&point)
    };
    let ratio = error(0.02, 40) / error(0.01, 80);
    // The next term of the error is smaller by the square of step times frequency, (0.02 / 0.5)^2.
    close_number("ratio", ratio, 4.0, 0.01);
}

#[test]
fn what_a_step_cannot_do_is_named() {
    let target = Arc::new(KnownTarget::Banana);
    let map = Leapfrog::new(target.clone(), 0.1, 3).unwrap();
    let z = batch(vec![0.5; 4], 1, 4).unwrap();
    let recorded = map.forward(&z, &Context::none(), &mut Tape::recording());
    assert_error!(recorded, Error::Unavailable { .. }, ["leapfrog", "second derivatives"]);
    let wide = batch(vec![0.5; 3], 1, 3).unwrap();
    let error = map.forward(&wide, &Context::none(), &mut Tape::none());
    assert_error!(error, Error::Dimension { expected: 4, got: 3, .. });
    let far = batch(vec![1e200, 0.0, 0.0, 0.0], 1, 4).unwrap();
    let error = map.forward(&far, &Context::none(), &mut Tape::none());
    assert_error!(error, Error::NonFinite { row: 0, .. }, ["gradient", "smaller steps"]);
    assert_error!(Leapfrog::new(target.clone(), 0.0, 3), Error::Parameter { .. }, ["positive"]);
    assert_error!(Leapfrog::new(target, 0.1, 0), Error::Parameter { .. }, ["at least 1"]);
}

/// N(0, 1), an oscillator of unit frequency.
#[derive(Debug)]
struct Oscillator;

impl Target for Oscillator {
    fn dim(&self) -> usize {
        1
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        gradient[0] = -point[0];
        -0.5 * point[0] * point[0]
    }
}

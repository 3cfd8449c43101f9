//! Linear maps in single precision and at the edges of the numbers.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::batch;
use flows_core::{Bijector, Chain, Context, Real, Tape, Values, normals, stream};
use flows_finite::linear::{LuLinear, qr, svd};

use super::linear::{GENERATORS, layer, moved};

#[test]
fn single_precision_is_as_good_as_its_rounding() {
    for dim in [1, 2, 5, 43] {
        let size = 0.5 / (dim as f64).sqrt();
        let rng = || stream(1, "init");
        for generator in GENERATORS {
            let wide = moved(svd::<f64>(dim, generator, &mut rng()).unwrap(), size);
            let narrow = moved(svd::<f32>(dim, generator, &mut rng()).unwrap(), size);
            compare(&wide, &narrow);
            let wide = moved(qr::<f64>(dim, generator, &mut rng()).unwrap(), size);
            let narrow = moved(qr::<f32>(dim, generator, &mut rng()).unwrap(), size);
            compare(&wide, &narrow);
        }
        let wide = moved(layer::<f64>(LuLinear::new(dim).unwrap()), size);
        compare(&wide, &moved(layer::<f32>(LuLinear::new(dim).unwrap()), size));
    }
}

/// Values within a few roundings a feature, in both directions.
fn compare(wide: &dyn Bijector<f64>, narrow: &dyn Bijector<f32>) {
    let dim = wide.dim();
    let points: Vec<f32> = normals(3 * dim, &mut stream(5, "points"));
    let double = points.iter().map(|&p| f64::from(p)).collect();
    let (a, b) = (batch(double, 3, dim).unwrap(), batch(points, 3, dim).unwrap());
    let (none, none32) = (Context::none(), Context::none());
    let a = wide.forward(&a, &none, &mut Tape::none()).unwrap();
    let b = narrow.forward(&b, &none32, &mut Tape::none()).unwrap();
    near(&a.value.values(), &b.value.values(), dim);
    near(&a.log_det.values(), &b.log_det.values(), dim);
    let rounded = a.value.values().iter().map(|&x| x as f32).collect();
    let rounded = batch(rounded, 3, dim).unwrap();
    let a = wide.inverse(&a.value, &none, &mut Tape::none()).unwrap();
    let b = narrow.inverse(&rounded, &none32, &mut Tape::none()).unwrap();
    near(&a.value.values(), &b.value.values(), dim);
}

fn near(wide: &[f64], narrow: &[f32], dim: usize) {
    let size = wide.iter().fold(1.0_f64, |size, v| size.max(v.abs()));
    for (w, n) in wide.iter().zip(narrow) {
        let error = (w - f64::from(*n)).abs() / size;
        // The parameters are rounded too, and the inverse has a condition of a few tens.
        assert!(error <= 60.0 * (dim as f64).sqrt() * f64::from(f32::EPSILON), "{dim}: {error:e}");
    }
}

#[test]
fn edges_stay_finite() {
    fn check<E: Real>(largest: f64) {
        let tiny = E::min_positive_value().as_f64() / 8.0;
        for dim in [1, 2, 64] {
            let size = 0.5 / (dim as f64).sqrt();
            let mut maps: Vec<Chain<E>> = Vec::new();
            for generator in GENERATORS {
                let rng = &mut stream(1, "init");
                maps.push(moved(qr(dim, generator, rng).unwrap(), size));
                maps.push(moved(svd(dim, generator, rng).unwrap(), size));
            }
            for map in &maps {
                for value in [0.0, tiny, 1.0, 1e6, largest] {
                    for value in [value, -value] {
                        let input = batch(vec![E::of(value); dim * 2], 2, dim).unwrap();
                        let (context, none) = (Context::none(), &mut Tape::none());
                        let forward = map.forward(&input, &context, none);
                        for out in [forward, map.inverse(&input, &context, none)] {
                            let out = out.unwrap();
                            assert!(out.value.values().iter().all(|v| v.is_finite()), "{value:e}");
                            assert!(out.log_det.values().iter().all(|v| v.is_finite()));
                        }
                    }
                }
            }
        }
    }
    check::<f32>(1e30);
    check::<f64>(1e30);
}

//! The root search of transformers finds what there is and reports what there is not.
#![allow(clippy::panic, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::operation::LANES;
use flows_core::tensor::batch;
use flows_core::{
    Bijector, Context, Error, Layer, MlpKernel, Real, Result, Tape, Values, normals, stream,
};
use flows_finite::transformer::{Inner, Outer, Transformer, invert};
use flows_finite::{Coupling, Mask};

/// y = x / (1 + |x|) times the first parameter: a range without its ends at plus and minus that.
#[derive(Debug)]
struct Bounded;

impl<E: Real> Transformer<E> for Bounded {
    fn name(&self) -> &'static str {
        "bounded"
    }

    fn arity(&self) -> usize {
        1
    }

    fn initial(&self) -> Vec<f64> {
        vec![1.0]
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        for lane in 0..LANES {
            let size = E::one() + x[lane].abs();
            y[lane] = theta[lane] * x[lane] / size;
            log_slope[lane] += (theta[lane] / size / size).ln();
        }
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        invert(self, y, theta, x, log_slope)
    }

    fn forward_gradient(&self, _: &[E], _: &[E], _: Outer<'_, E>, _: Inner<'_, E>) {}
}

/// y = tanh(x), whose value is 1 long before the end of the numbers.
#[derive(Debug)]
struct Tanh;

impl<E: Real> Transformer<E> for Tanh {
    fn name(&self) -> &'static str {
        "tanh"
    }

    fn arity(&self) -> usize {
        1
    }

    fn initial(&self) -> Vec<f64> {
        vec![0.0]
    }

    fn forward(&self, x: &[E], _: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        for lane in 0..LANES {
            y[lane] = x[lane].tanh();
            log_slope[lane] -= E::of(2.0) * x[lane].cosh().ln();
        }
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        invert(self, y, theta, x, log_slope)
    }

    fn forward_gradient(&self, _: &[E], _: &[E], _: Outer<'_, E>, _: Inner<'_, E>) {}
}

/// Inverts 300 rows of (0.3, 0.5) with `bad` in the second column of row 200.
fn outcome<E: Real>(map: impl Transformer<E> + 'static, bad: f64) -> Result<Vec<E>> {
    let kernel = |inputs, outputs| MlpKernel::new(inputs, &[3], outputs, Activation::Tanh);
    let mask = Mask::halves(2, false)?;
    let coupling = Coupling::new(&mask, 0, Arc::new(map), kernel)?;
    let layer = Layer::new(coupling, &mut stream(0, "init"))?;
    let transformed = mask.transformed()[0];
    let mut values = [0.3, 0.5].repeat(300);
    values[400 + transformed] = bad;
    let x = batch(values.into_iter().map(E::of).collect(), 300, 2)?;
    Ok(layer.inverse(&x, &Context::none(), &mut Tape::none())?.value.values())
}

fn assert_reported<E: Real>(map: impl Transformer<E> + 'static, bad: f64) {
    let name = map.name();
    match outcome::<E>(map, bad) {
        Err(Error::NotConverged { method, row, iterations, .. }) => {
            assert_eq!((method, row), (name, 200), "{bad}");
            assert!(iterations < 2_000, "{bad}: {iterations}");
        }
        other => panic!("{name} {bad}: {other:?}"),
    }
}

#[test]
fn values_outside_of_the_range_are_reported_with_their_row() {
    for bad in [2.0, -2.0, 1.001, 1e30, f64::INFINITY, f64::NAN] {
        assert_reported::<f32>(Tanh, bad);
        assert_reported::<f64>(Tanh, bad);
        assert_reported::<f32>(Bounded, bad);
        assert_reported::<f64>(Bounded, bad);
    }
}

#[test]
fn values_inside_of_the_range_are_found() {
    for good in [0.0, 0.5, -0.999, 0.999_999] {
        let x = outcome::<f64>(Tanh, good).map(|values| values[401]);
        assert!(x.is_ok_and(|x| (x.tanh() - good).abs() < 1e-15), "{good}");
        let x = outcome::<f64>(Bounded, good).map(|values| values[401]);
        assert!(x.is_ok_and(|x| (x / (1.0 + x.abs()) - good).abs() < 1e-15), "{good}");
    }
}

#[test]
fn kinks_flat_places_and_far_roots_are_found_in_few_steps() {
    /// A cubic root, a cube, a line with a kink, and a cubic root moved by 1: there the search for
    /// 1 starts where the slope is infinite, which says nothing of the distance to the root.
    #[derive(Debug)]
    struct Hard(u32);

    impl Transformer<f64> for Hard {
        fn name(&self) -> &'static str {
            "hard"
        }

        fn arity(&self) -> usize {
            0
        }

        fn initial(&self) -> Vec<f64> {
            Vec::new()
        }

        fn forward(&self, x: &[f64], _: &[f64], y: &mut [f64], log: &mut [f64]) -> Result<()> {
            for lane in 0..LANES {
                let x = x[lane];
                let (value, slope) = match self.0 {
                    0 => (x.cbrt(), 1.0 / (3.0 * x.cbrt() * x.cbrt())),
                    1 => (x * x * x, 3.0 * x * x),
                    2 if x > 0.7 => (1e3 * (x - 0.7), 1e3),
                    2 => (1e-3 * (x - 0.7), 1e-3),
                    _ => {
                        let root = (x - 1.0).cbrt();
                        (root, 1.0 / (3.0 * root * root))
                    }
                };
                y[lane] = value;
                log[lane] += slope.ln();
            }
            Ok(())
        }

        fn inverse(&self, y: &[f64], t: &[f64], x: &mut [f64], l: &mut [f64]) -> Result<u64> {
            invert(self, y, t, x, l)
        }

        fn forward_gradient(&self, _: &[f64], _: &[f64], _: Outer<'_, f64>, _: Inner<'_, f64>) {}
    }

    let mut y: Vec<f64> = normals(LANES, &mut stream(4, "y"));
    (y[0], y[1], y[2], y[3]) = (1e5, -1e5, 1e-3, 1.0);
    for kind in 0..4 {
        let roots: Vec<f64> = y
            .iter()
            .map(|&y| match kind {
                0 => y * y * y,
                1 => y.cbrt(),
                2 if y > 0.0 => 0.7 + 1e-3 * y,
                2 => 0.7 + 1e3 * y,
                _ => 1.0 + y * y * y,
            })
            .collect();
        let (mut x, mut log_slope) = (vec![0.0; LANES], vec![0.0; LANES]);
        let found = Hard(kind).inverse(&y, &[], &mut x, &mut log_slope);
        assert!(found.as_ref().is_ok_and(|&count| count <= 60), "{kind}: {found:?}");
        for (x, root) in x.iter().zip(roots) {
            assert!((x - root).abs() <= 1e-11 * (1.0 + root.abs()), "{kind}: {x} {root}");
        }
    }
}

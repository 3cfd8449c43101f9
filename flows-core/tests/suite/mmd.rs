//! Maximum mean discrepancy against the double loop of its definition.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::objective::mmd;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::assert_error;
use flows_core::{Base, Batch, Chain, Error, Flow, Parameters, Real, Values, normals, stream};

const BANDWIDTHS: [f64; 3] = [0.3, 1.0, 2.5];

fn flow_of<E: Real>(base: Base<E>) -> Flow<E> {
    let identity = Box::new(Chain::new(base.dim(), Vec::new()).unwrap());
    Flow::new(base, identity).unwrap()
}

fn rows<E: Real>(rows: usize, dim: usize, seed: u64) -> Batch<E> {
    batch(normals(rows * dim, &mut stream(seed, "data")), rows, dim).unwrap()
}

/// The definition.
fn plain(x: &[f64], y: &[f64], dim: usize) -> f64 {
    let kernel = |a: &[f64], b: &[f64]| -> f64 {
        let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
        BANDWIDTHS.iter().map(|h| (-square / (2.0 * h * h)).exp()).sum()
    };
    let among = |x: &[f64]| {
        let mut total = 0.0;
        for (i, a) in x.chunks(dim).enumerate() {
            for (j, b) in x.chunks(dim).enumerate() {
                total += if i == j { 0.0 } else { kernel(a, b) };
            }
        }
        total
    };
    let n = (x.len() / dim) as f64;
    let cross: f64 = x
        .chunks(dim)
        .flat_map(|a| y.chunks(dim).map(move |b| (a, b)))
        .map(|(a, b)| kernel(a, b))
        .sum();
    (among(x) + among(y)) / (n * (n - 1.0)) - 2.0 * cross / (n * n)
}

#[test]
fn the_value_is_that_of_the_double_loop() {
    for dim in [1, 3] {
        for count in [2, 127, 128, 300] {
            let y = rows::<f64>(count, dim, 1);
            let flow = flow_of(Base::diagonal_normal(dim).unwrap());
            let got = mmd(&flow, &y, &BANDWIDTHS, &mut stream(2, "draws")).unwrap().value;
            let x = flow.base().sample(count, &mut stream(2, "draws")).unwrap().values();
            let expected = plain(&x, &y.values(), dim);
            assert!((got - expected).abs() < 1e-13 * 10.0, "{dim} {count}: {got} {expected}");
            let single = flow_of::<f32>(Base::diagonal_normal(dim).unwrap());
            let y = rows::<f32>(count, dim, 1);
            let single = mmd(&single, &y, &BANDWIDTHS, &mut stream(2, "draws")).unwrap().value;
            // Means of kernels of at most 3, each rounded to some 1e-7.
            assert!((single - expected).abs() < 1e-5, "{dim} {count}: {single} {expected}");
        }
    }
}

#[test]
fn the_gradient_agrees_with_differences_of_the_value() {
    for (name, base) in super::bases::bases(2) {
        let (mut flow, y) = (flow_of(base), rows::<f64>(140, 2, 1));
        let value =
            |flow: &Flow<f64>| mmd(flow, &y, &BANDWIDTHS, &mut stream(2, "draws")).unwrap().value;
        let mut loss = mmd(&flow, &y, &BANDWIDTHS, &mut stream(2, "draws")).unwrap();
        let mut tensors = Vec::new();
        flow.visit(&mut |part, _, tensor| tensors.push((part.to_owned(), tensor.clone())));
        for (part, tensor) in tensors.into_iter().filter(|(part, _)| !part.ends_with("logits")) {
            let exact = loss.gradient.take(&tensor).unwrap();
            for (i, exact) in exact.iter().enumerate() {
                let mut at = |by: f64| {
                    let mut values = tensor.values();
                    values[i] += by;
                    set(&mut flow, &part, &values);
                    let value = value(&flow);
                    set(&mut flow, &part, &tensor.values());
                    value
                };
                let numerical = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((exact - numerical).abs() < 1e-8, "{name} {part} {i}: {exact} {numerical}");
            }
        }
    }
}

fn set(flow: &mut Flow<f64>, part: &str, values: &[f64]) {
    let result = flow.visit_mut(&mut |this, _, tensor| {
        if this == part { set_values(tensor, values) } else { Ok(()) }
    });
    result.unwrap();
}

/// Mean and standard error of it.
fn mean(values: &[f64]) -> [f64; 2] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    [mean, (variance / n).sqrt()]
}

#[test]
fn between_equal_distributions_its_mean_is_zero() {
    let flow = flow_of(Base::standard_normal(2));
    let once = |seed: u64| {
        let y = rows::<f64>(20, 2, seed);
        mmd(&flow, &y, &BANDWIDTHS, &mut stream(seed, "draws")).unwrap().value
    };
    let values: Vec<f64> = (0..2000).map(once).collect();
    let [mean, error] = mean(&values);
    assert!(mean.abs() < 3.0 * error, "{mean} {error}");
    assert!(values.iter().any(|v| *v < 0.0), "unbiased, so below zero at times");
}

/// The gradient for weights is the score's: in the mean that of the expected discrepancy, which
/// differences of a mean over many batches give.
#[test]
fn the_gradient_for_the_weights_of_a_mixture_is_unbiased() {
    const BATCHES: u64 = 4000;
    let [weight, other, rest] = [0.3, -0.4, 0.2];
    let base = |logit: f64| {
        let mut base = Base::mixture(1, 3, &mut stream(1, "mixture")).unwrap();
        let set = base.visit_mut(&mut |name, _, tensor| match name {
            "logits" => set_values(tensor, &[logit, other, rest]),
            "location" => set_values(tensor, &[-2.0, 0.5, 2.0]),
            _ => set_values(tensor, &[-0.5, 0.0, -0.3]),
        });
        set.unwrap();
        flow_of::<f64>(base)
    };
    let flow = base(weight);
    let slope = |seed: u64| {
        let y = rows::<f64>(16, 1, seed);
        let mut loss = mmd(&flow, &y, &BANDWIDTHS, &mut stream(seed, "draws")).unwrap();
        let mut slope = 0.0;
        flow.base().visit(&mut |name, _, tensor| {
            if name == "logits" {
                slope = loss.gradient.take(tensor).unwrap()[0];
            }
        });
        slope
    };
    let slopes: Vec<f64> = (0..BATCHES).map(slope).collect();
    let [mean, error] = mean(&slopes);
    // E k(x, y) of two normals has a closed form: h / sqrt(h^2 + s^2 + t^2) exp(-(m - m')^2 / 2(..)).
    let expected = {
        let at = |logit: f64| {
            let w = [logit, other, rest].map(f64::exp);
            let total: f64 = w.iter().sum();
            let x: Vec<[f64; 3]> = (0..3)
                .map(|k| [w[k] / total, [-2.0, 0.5, 2.0][k], [-0.5_f64, 0.0, -0.3][k].exp()])
                .collect();
            let kernel = |a: [f64; 3], b: [f64; 3]| -> f64 {
                let one = |h: &f64| {
                    let square = h * h + a[2] * a[2] + b[2] * b[2];
                    h / square.sqrt() * (-(a[1] - b[1]).powi(2) / (2.0 * square)).exp()
                };
                a[0] * b[0] * BANDWIDTHS.iter().map(one).sum::<f64>()
            };
            let pairs = x.iter().flat_map(|&a| x.iter().map(move |&b| (a, b)));
            let within: f64 = pairs.map(|(a, b)| kernel(a, b)).sum();
            within - 2.0 * x.iter().map(|&a| kernel(a, [1.0, 0.0, 1.0])).sum::<f64>()
        };
        (at(weight + 1e-5) - at(weight - 1e-5)) / 2e-5
    };
    assert!((mean - expected).abs() < 3.0 * error, "{mean} {expected} {error}");
}

#[test]
fn what_has_no_discrepancy_is_refused() {
    let flow = flow_of::<f64>(Base::standard_normal(2));
    let of = |y: &Batch<f64>, h: &[f64]| mmd(&flow, y, h, &mut stream(0, "draws"));
    assert_error!(
        of(&rows(1, 2, 0), &[1.0]),
        Error::Parameter { .. },
        ["rows of maximum mean discrepancy", "at least 2", "got 1"]
    );
    assert_error!(
        of(&rows(5, 3, 0), &[1.0]),
        Error::Dimension { op: "maximum mean discrepancy", expected: 2, got: 3 }
    );
    let (name, requirement) = ("number of bandwidths", "at least 1, got 0");
    assert_error!(of(&rows(5, 2, 0), &[]), Error::Parameter { .. }, [name, requirement]);
    let (name, requirement) = ("bandwidth", "positive and finite");
    for h in [&[0.0][..], &[1.0, -1.0], &[f64::NAN], &[f64::INFINITY]] {
        assert_error!(of(&rows(5, 2, 0), h), Error::Parameter { .. }, [name, requirement], "{h:?}");
    }
}

#[test]
fn values_and_gradients_do_not_depend_on_the_number_of_threads() {
    let (flow, y) = (flow_of::<f32>(Base::laplace(2).unwrap()), rows(700, 2, 1));
    let once = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut loss = mmd(&flow, &y, &BANDWIDTHS, &mut stream(2, "draws")).unwrap();
            let mut bits = vec![loss.value.to_bits()];
            flow.visit(&mut |_, _, tensor| {
                let slope = loss.gradient.take(tensor).unwrap();
                bits.extend(slope.iter().map(|g| u64::from(g.to_bits())));
            });
            bits
        })
    };
    assert_eq!(once(1), once(3));
}

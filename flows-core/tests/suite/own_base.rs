//! A base distribution of a user's own: Gumbel with a learned location.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::operation::{LANES, Recorded};
use flows_core::rowwise::gradient_of_mean;
use flows_core::tensor::{batch, set_values};
use flows_core::{
    Base, Batch, Distribution, HasLayout, Layout, Parameters, Real, Scratch, Stream, Tape, Values,
    stream,
};
use rand::RngExt;

/// log p(z) = sum of -u - e^-u, u = z - m.
#[derive(Debug)]
struct Gumbel {
    dim: usize,
}

impl HasLayout for Gumbel {
    fn layout(&self) -> Vec<Layout> {
        vec![Layout::given("location", 1, self.dim, vec![0.7; self.dim])]
    }
}

impl<E: Real> Distribution<E> for Gumbel {
    fn dim(&self) -> usize {
        self.dim
    }

    fn log_density(&self, z: &[E], parameters: &[&[E]], _: &mut Scratch, sums: &mut [E]) {
        for (at, &z) in z.iter().enumerate() {
            let u = z - parameters[0][at / LANES];
            sums[at % LANES] -= u + (-u).exp();
        }
    }

    fn pull_log_density(
        &self,
        at: Recorded<'_, E>,
        outer: &[E],
        d_z: &mut [E],
        d_parameters: &mut [&mut [E]],
    ) {
        for (index, &z) in at.inputs[0].iter().enumerate() {
            let (feature, lane) = (index / LANES, index % LANES);
            let slope = outer[lane] * ((at.parameters[0][feature] - z).exp() - E::one());
            d_z[index] = slope;
            d_parameters[0][feature] -= slope;
        }
    }

    fn noise(&self, rows: usize, _: &[Vec<E>], rng: &mut Stream) -> Vec<E> {
        (0..rows * self.dim).map(|_| E::of(-(-rng.random::<f64>().ln()).ln())).collect()
    }

    fn draw(&self, noise: &[E], parameters: &[&[E]], z: &mut [E]) {
        for (at, (z, &noise)) in z.iter_mut().zip(noise).enumerate() {
            *z = parameters[0][at / LANES] + noise;
        }
    }

    fn pull_draw(&self, _: &[E], _: &[&[E]], outer: &[E], d_parameters: &mut [&mut [E]]) {
        for (at, &outer) in outer.iter().enumerate() {
            d_parameters[0][at / LANES] += outer;
        }
    }
}

fn base() -> Base<f64> {
    Base::new(Gumbel { dim: 2 }, &mut stream(0, "init")).unwrap()
}

fn mean_log_prob(base: &Base<f64>, z: &Batch<f64>) -> f64 {
    let log_prob = base.log_prob(z, &mut Tape::none()).unwrap().values();
    log_prob.iter().sum::<f64>() / log_prob.len() as f64
}

#[test]
fn its_density_and_draws_are_those_of_its_formulas() {
    let base = base();
    let z = base.sample(20_000, &mut stream(1, "draws")).unwrap().values();
    // Euler's constant plus the location; the variance is pi^2 / 6.
    let (mean, deviation) = (0.7 + 0.577_215_664_9, 1.282_549_8);
    let got = z.iter().sum::<f64>() / z.len() as f64;
    assert!((got - mean).abs() < 4.0 * deviation / (z.len() as f64).sqrt(), "{got}");
    let at = batch(vec![0.2, 1.5, -1.0, 0.7], 2, 2).unwrap();
    let log_prob = base.log_prob(&at, &mut Tape::none()).unwrap().values();
    for (got, z) in log_prob.iter().zip([[0.2, 1.5], [-1.0, 0.7]]) {
        let expected: f64 = z.iter().map(|z| 0.7 - z - (0.7_f64 - z).exp()).sum();
        assert!((got - expected).abs() < 1e-14, "{got} {expected}");
    }
}

#[test]
fn its_gradients_reach_its_tensor_by_density_and_by_draws() {
    for by_draws in [false, true] {
        let fixed = base().sample(150, &mut stream(2, "points")).unwrap();
        let judge = Base::<f64>::logistic(2).unwrap();
        let value = |base: &Base<f64>, tape: &mut Tape<f64>| {
            if by_draws {
                let z = base.draw(150, tape, &mut stream(3, "draws")).unwrap();
                return judge.log_prob(&z, tape).unwrap();
            }
            base.log_prob(&fixed, tape).unwrap()
        };
        let base = base();
        let mut tape = Tape::recording();
        let log_prob = value(&base, &mut tape);
        let mut gradients = gradient_of_mean(1.0, &log_prob, tape).unwrap();
        base.visit(&mut |name, _, tensor| {
            assert_eq!(name, "location");
            let exact = gradients.take(tensor).unwrap();
            for (i, exact) in exact.iter().enumerate() {
                let at = |by: f64| {
                    let mut moved = base.clone();
                    let mut values = tensor.values();
                    values[i] += by;
                    moved.visit_mut(&mut |_, _, tensor| set_values(tensor, &values)).unwrap();
                    let all = value(&moved, &mut Tape::none()).values();
                    all.iter().sum::<f64>() / all.len() as f64
                };
                // Third derivatives of order ten times 1e-10, rounding of 1e-15 over 1e-5.
                let numerical = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((exact - numerical).abs() < 1e-8, "{by_draws}: {exact} {numerical}");
            }
        });
    }
}

#[test]
fn without_a_fit_its_tensors_stay() {
    let mut base = base();
    let z = base.sample(10, &mut stream(4, "rows")).unwrap();
    let before = mean_log_prob(&base, &z);
    base.fit(&z).unwrap();
    assert_eq!(mean_log_prob(&base, &z).to_bits(), before.to_bits());
}

//! A row's result depends on nothing but the row: not on its batch, not on the threads.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::{
    Architecture, Base, Batch, Context, Flow, Loss, Mapped, Parameters, Real, Tape, Values,
    forward_kl, normals, stream,
};
use flows_finite::architecture::{
    Conditioner, CouplingFlow, Perceptron, RationalQuadraticConfig, SplineConfig, TransformerConfig,
};

use crate::elements::move_parameters;

const DIM: usize = 5;
const CODE: usize = 2;
const ROWS: usize = 300;

fn flows<E: Real>() -> Vec<Flow<E>> {
    let hidden = vec![19, 33];
    let relu = Conditioner::perceptron(hidden.clone());
    let real_nvp = CouplingFlow { layers: 3, conditioner: relu, ..CouplingFlow::real_nvp() };
    let silu = Perceptron { hidden, activation: Activation::Silu };
    let conditioner = Conditioner::Perceptron(silu);
    let transformer =
        RationalQuadraticConfig(SplineConfig { bins: 6, ..SplineConfig::default() }).shared();
    let nsf = CouplingFlow { layers: 2, conditioner, transformer, ..CouplingFlow::nsf() };
    let rng = &mut stream(1, "init");
    let chains = [real_nvp.build(DIM, CODE, rng).unwrap(), nsf.build(DIM, CODE, rng).unwrap()];
    let finished = |chain| {
        let base = Base::diagonal_normal(DIM).unwrap();
        let mut flow = Flow::new(base, Box::new(chain)).unwrap();
        move_parameters(&mut flow, 0.15);
        flow
    };
    chains.into_iter().map(finished).collect()
}

/// Rows of data and of context, side by side.
struct Table<E> {
    x: Vec<E>,
    code: Vec<E>,
}

impl<E: Real> Table<E> {
    fn new() -> Self {
        let mut rng = stream(3, "table");
        Self { x: normals(ROWS * DIM, &mut rng), code: normals(ROWS * CODE, &mut rng) }
    }

    fn rows(&self, which: &[usize]) -> (Batch<E>, Context<E>) {
        let pick = |values: &[E], dim: usize| {
            let rows = which.iter().flat_map(|&r| values[r * dim..(r + 1) * dim].to_vec());
            batch(rows.collect(), which.len(), dim).unwrap()
        };
        (pick(&self.x, DIM), Context::of(pick(&self.code, CODE)))
    }
}

fn bits<E: Real>(values: &[E]) -> Vec<u64> {
    values.iter().map(|v| v.as_f64().to_bits()).collect()
}

fn bits_of_row<E: Real>(mapped: &Mapped<E>, row: usize) -> Vec<u64> {
    let mut all = bits(&mapped.value.values()[row * DIM..(row + 1) * DIM]);
    all.push(mapped.log_det.values()[row].as_f64().to_bits());
    all
}

fn both<E: Real>(flow: &Flow<E>, (x, code): (Batch<E>, Context<E>)) -> [Mapped<E>; 2] {
    let tape = &mut Tape::none();
    let forward = flow.bijector().forward(&x, &code, tape).unwrap();
    [forward, flow.bijector().inverse(&x, &code, tape).unwrap()]
}

/// Gradient of the mean negative log-likelihood for the data, row by row, times the rows.
fn slope_of_rows<E: Real>(flow: &Flow<E>, x: &Batch<E>, code: &Context<E>) -> Vec<E> {
    let mut gradients = forward_kl(flow, x, code, Tape::recording()).unwrap().gradient;
    gradients.take(x).unwrap()
}

fn independent_of_mates<E: Real>() {
    let table = Table::<E>::new();
    for flow in flows::<E>() {
        let whole: Vec<usize> = (0..ROWS).collect();
        let reference = both(&flow, table.rows(&whole));
        let mut shuffled = whole.clone();
        shuffled.reverse();
        shuffled.swap(17, 200);
        for size in [1, 2, 127, 128, 129, 255, 257, ROWS] {
            for order in [&whole, &shuffled] {
                for which in order.chunks(size).take(4) {
                    let part = both(&flow, table.rows(which));
                    for (part, reference) in part.iter().zip(&reference) {
                        for (place, &row) in which.iter().enumerate() {
                            let (a, b) = (bits_of_row(part, place), bits_of_row(reference, row));
                            assert_eq!(a, b, "{}: row {row} among {size}", E::NAME);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn values_do_not_depend_on_batch_mates_or_batch_size() {
    independent_of_mates::<f32>();
    independent_of_mates::<f64>();
}

#[test]
fn gradients_of_a_row_do_not_depend_on_batch_mates() {
    fn check<E: Real>() {
        let table = Table::<E>::new();
        for flow in flows::<E>() {
            // The same number of rows throughout: the mean divides by it.
            let first: Vec<usize> = (0..200).collect();
            let mut second: Vec<usize> = (100..300).rev().collect();
            second.swap(3, 150);
            let slopes = [&first, &second].map(|which| {
                let (x, code) = table.rows(which);
                slope_of_rows(&flow, &x, &code)
            });
            let row_of = |slopes: &[E], place: usize| bits(&slopes[place * DIM..(place + 1) * DIM]);
            let mut common = 0;
            for (here, row) in first.iter().enumerate() {
                if let Some(there) = second.iter().position(|other| other == row) {
                    common += 1;
                    assert_eq!(row_of(&slopes[0], here), row_of(&slopes[1], there), "row {row}");
                }
            }
            assert_eq!(common, 100);
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn values_and_gradients_do_not_depend_on_the_number_of_threads() {
    fn check<E: Real>() {
        let table = Table::<E>::new();
        for flow in flows::<E>() {
            let whole: Vec<usize> = (0..ROWS).chain(0..ROWS).collect();
            let all = || {
                let (x, code) = table.rows(&whole);
                let [forward, inverse] = both(&flow, (x.clone(), code.clone()));
                let mut all = vec![bits(&forward.value.values()), bits(&forward.log_det.values())];
                all.extend([bits(&inverse.value.values()), bits(&inverse.log_det.values())]);
                let (draws, _) = flow.sample(600, &code, &mut stream(1, "draws")).unwrap();
                all.push(bits(&draws.values()));
                let Loss { value: loss, gradient: mut gradients, .. } =
                    forward_kl(&flow, &x, &code, Tape::recording()).unwrap();
                all.push(vec![loss.to_bits()]);
                all.push(bits(gradients.of(&x).unwrap()));
                flow.visit(&mut |_, _, tensor| all.push(bits(gradients.of(tensor).unwrap())));
                all
            };
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(all)
            };
            let one = on(1);
            for threads in [2, 3, 7] {
                assert_eq!(on(threads), one, "{} on {threads} threads", E::NAME);
            }
            assert_eq!(all(), one, "outside of a pool");
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn a_row_that_is_not_a_number_leaves_the_others_as_they_were() {
    fn check<E: Real>() {
        for flow in flows::<E>() {
            let table = Table::<E>::new();
            let whole: Vec<usize> = (0..ROWS).collect();
            let clean = both(&flow, table.rows(&whole));
            let (x, code) = table.rows(&whole);
            let slope = slope_of_rows(&flow, &x, &code);
            for (bad, in_context) in [(0, false), (130, false), (ROWS - 1, false), (64, true)] {
                for odd in [E::nan(), E::infinity(), E::neg_infinity()] {
                    let mut table = Table::<E>::new();
                    if in_context {
                        table.code[bad * CODE] = odd;
                    } else {
                        table.x[bad * DIM + 1] = odd;
                    }
                    let (x, code) = table.rows(&whole);
                    let spoiled_slope = slope_of_rows(&flow, &x, &code);
                    let spoiled = both(&flow, (x, code));
                    for row in whole.iter().copied().filter(|&row| row != bad) {
                        for (spoiled, clean) in spoiled.iter().zip(&clean) {
                            let (a, b) = (bits_of_row(spoiled, row), bits_of_row(clean, row));
                            assert_eq!(a, b, "{}: row {row} beside {bad}", E::NAME);
                        }
                        let lanes = row * DIM..(row + 1) * DIM;
                        assert_eq!(bits(&spoiled_slope[lanes.clone()]), bits(&slope[lanes]));
                    }
                    if odd.is_nan() {
                        for spoiled in &spoiled {
                            assert!(
                                !spoiled.log_det.values()[bad].is_finite()
                                    || spoiled.value.values()[bad * DIM..(bad + 1) * DIM]
                                        .iter()
                                        .any(|v| v.is_nan()),
                                "NaN vanished"
                            );
                        }
                    }
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

//! Act-norm starts from the first batch, once (claim C50).
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::batch;
use flows_core::train::Checkpoint;
use flows_core::{
    Architecture, Batch, Bijector, Context, Inverse, Layer, Parameters, Real, Tape, Values,
    normals, stream,
};
use flows_finite::ActNorm;
use flows_finite::architecture::{Conditioner, CouplingFlow};

const DIM: usize = 3;

/// Columns of means 5, -2, 100 and standard deviations about 1, 30, 0.01.
fn data<E: Real>(seed: u64, rows: usize) -> Batch<E> {
    let draws: Vec<f64> = normals(rows * DIM, &mut stream(seed, "data"));
    let scaled =
        |(i, v): (usize, &f64)| E::of([5.0, -2.0, 100.0][i % DIM] + [1.0, 30.0, 0.01][i % DIM] * v);
    batch(draws.iter().enumerate().map(scaled).collect(), rows, DIM).unwrap()
}

fn act_norm<E: Real>() -> Layer<E> {
    Layer::new(ActNorm::new(DIM), &mut stream(1, "init")).unwrap()
}

fn moments<E: Real>(z: &Batch<E>) -> Vec<[f64; 2]> {
    let (values, rows) = (z.values(), z.rows() as f64);
    let column = |j: usize| values.iter().skip(j).step_by(DIM).map(|v| v.as_f64());
    (0..DIM)
        .map(|j| {
            let mean = column(j).sum::<f64>() / rows;
            [mean, (column(j).map(|v| (v - mean).powi(2)).sum::<f64>() / rows).sqrt()]
        })
        .collect()
}

fn bits<E: Real>(model: &impl Parameters<E>) -> Vec<Vec<u64>> {
    let mut all = Vec::new();
    model.visit(&mut |_, _, t| all.push(t.values().iter().map(|v| v.as_f64().to_bits()).collect()));
    all
}

fn standardises_once<E: Real>(tolerance: f64) {
    let none = Context::none();
    let mut layer = act_norm::<E>();
    let z = layer.initialise(&data(1, 500), &none).unwrap();
    for [mean, deviation] in moments(&z) {
        assert!(mean.abs() < tolerance && (deviation - 1.0).abs() < tolerance, "{mean}");
    }
    // What is returned is the batch in base space, and the log-det that of the scales.
    let out = layer.inverse(&data(1, 500), &none, &mut Tape::none()).unwrap();
    assert_eq!(out.value.values(), z.values());
    let product: f64 = moments(&data::<E>(1, 500)).iter().map(|m| m[1].ln()).sum();
    assert!(out.log_det.values().iter().all(|l| (l.as_f64() + product).abs() < 1e-5));
    let before = bits(&layer);
    layer.initialise(&data(2, 500), &none).unwrap();
    assert_eq!(bits(&layer), before, "a second batch changed what the first one set");
}

#[test]
fn the_first_batch_has_mean_zero_and_deviation_one() {
    standardises_once::<f64>(1e-10);
    // The third column is 100 +- 0.01: single precision holds it to 4e-6, that is 4e-4 deviations
    // in each row, and the shift as well, which moves the mean.
    standardises_once::<f32>(1e-3);
}

#[test]
fn a_layer_from_a_file_is_not_initialised_again() {
    let mut first = act_norm::<f64>();
    first.initialise(&data(1, 500), &Context::none()).unwrap();
    let mut file = Checkpoint::new();
    file.add_model("layer", &first);
    let mut second = act_norm::<f64>();
    file.restore_model("layer", &mut second).unwrap();
    second.initialise(&data(2, 500), &Context::none()).unwrap();
    assert_eq!(bits(&second), bits(&first));
}

#[test]
fn constant_columns_and_single_rows_keep_their_scale() {
    let mut layer = act_norm::<f64>();
    let row = vec![3.0, -1.0, 7.0];
    let z = layer.initialise(&batch(row, 1, DIM).unwrap(), &Context::none()).unwrap();
    assert_eq!(z.values(), [0.0; DIM]);
    let out = layer.forward(&z, &Context::none(), &mut Tape::none()).unwrap();
    assert_eq!((out.value.values(), out.log_det.values()), (vec![3.0, -1.0, 7.0], vec![0.0]));
}

#[test]
fn a_feature_that_hardly_varies_is_scaled_up_a_thousand_times_at_most() {
    // Deviations of 1, of 1e-9, and of a rounding of 0.1.
    let sign = |row: usize| if row.is_multiple_of(2) { 1.0 } else { -1.0 };
    let rows: Vec<f64> = (0..64)
        .flat_map(|row| [sign(row), 1e-9 * sign(row), 0.1 * (1.0 + f64::EPSILON * sign(row))])
        .collect();
    let mut layer = act_norm::<f64>();
    layer.initialise(&batch(rows, 64, DIM).unwrap(), &Context::none()).unwrap();
    // A row that differs in each by 1000 deviations of standardised data.
    let far = batch(vec![1e3, 1e3, 1e3], 1, DIM).unwrap();
    let out = layer.inverse(&far, &Context::none(), &mut Tape::none()).unwrap();
    for (z, expected) in out.value.values().into_iter().zip([1e3, 1e6, 1e6 - 100.0]) {
        assert!((z / expected - 1.0).abs() < 1e-12, "{z} {expected}");
    }
    assert!((out.log_det.values()[0] - 2.0 * 1e3_f64.ln()).abs() < 1e-12);
}

#[test]
fn data_that_are_not_numbers_are_refused_and_change_nothing() {
    for odd in [f64::NAN, f64::INFINITY] {
        let mut layer = act_norm::<f64>();
        let before = bits(&layer);
        let mut values = data::<f64>(1, 10).values();
        values[7] = odd;
        let error = layer.initialise(&batch(values, 10, DIM).unwrap(), &Context::none());
        let sentence = error.unwrap_err().to_string();
        assert!(sentence.contains("row 2"), "{sentence}");
        assert_eq!(bits(&layer), before);
    }
}

#[test]
fn a_chain_ends_standardised_whatever_comes_first() {
    let config = CouplingFlow {
        layers: 2,
        conditioner: Conditioner::perceptron(vec![8]),
        ..CouplingFlow::nsf()
    };
    let mut chain = config.build::<f64>(DIM, 0, &mut stream(1, "init")).unwrap();
    // Behind act-norm stand identities, so that its batch is the batch of the base.
    let z = chain.initialise(&data(1, 400), &Context::none()).unwrap();
    for [mean, deviation] in moments(&z) {
        assert!(mean.abs() < 1e-9 && (deviation - 1.0).abs() < 1e-9, "{mean} {deviation}");
    }
}

#[test]
fn an_exchanged_layer_passes_its_batch_on_as_its_inverse_does() {
    let mut layer = Inverse::new(Box::new(act_norm::<f64>()));
    let z = layer.initialise(&data(1, 50), &Context::none()).unwrap();
    let again = layer.inverse(&data(1, 50), &Context::none(), &mut Tape::none()).unwrap();
    assert_eq!(z.values(), again.value.values());
}

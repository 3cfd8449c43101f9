//! Squeezing, masks of images, parts and pixelwise maps.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_core::Shape;
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::testing::{
    Tolerance, assert_error, check_bijector, distance_to_scale, normal_point, perturb,
};
use flows_core::{
    Batch, Bijector, Chain, Context, Error, Layer, Map, Mapped, MlpKernel, Parameters, Part,
    Pixelwise, Purpose, Real, Result, Stream, Tape, Values, normals, stream,
};
use flows_finite::{ActNorm, Affine, BatchNorm, Coupling, LuLinear, Mask, Permutation, Scale};

fn shape(channels: usize, height: usize, width: usize) -> Shape {
    Shape { channels, height, width }
}

fn layer<E: Real>(map: impl Map<E> + 'static) -> Layer<E> {
    Layer::new(map, &mut stream(1, "init")).unwrap()
}

fn coupling<E: Real>(dim: usize, context: usize, rng: &mut Stream) -> Layer<E> {
    let mask = Mask::halves(dim, false).unwrap();
    let kernel = |inputs, outputs| MlpKernel::new(inputs, &[4], outputs, Activation::Tanh);
    let affine = Arc::new(Affine::new(Scale::Bounded { bound: 1.5 }).unwrap());
    Layer::new(Coupling::new(&mask, context, affine, kernel).unwrap(), rng).unwrap()
}

fn inverse(bijector: &dyn Bijector<f64>, x: &Batch<f64>) -> Result<Mapped<f64>> {
    bijector.inverse(x, &Context::none(), &mut Tape::none())
}

fn forward(bijector: &dyn Bijector<f64>, z: &Batch<f64>) -> Result<Mapped<f64>> {
    bijector.forward(z, &Context::none(), &mut Tape::none())
}

fn check(mut bijector: impl Bijector<f64>) {
    perturb(&mut bijector, 0.4, &mut stream(3, "perturb")).unwrap();
    check_bijector(&mut bijector, normal_point(1.0), Tolerance::default());
}

/// A linear map, one with context, and one whose parameters come from data.
fn samples<E: Real>(dim: usize) -> Vec<Box<dyn Bijector<E>>> {
    let mut rng = stream(5, "init");
    vec![
        Box::new(layer(LuLinear::new(dim).unwrap())),
        Box::new(coupling(dim, 2, &mut rng)),
        Box::new(layer(ActNorm::new(dim))),
    ]
}

fn ramp(count: usize) -> Vec<f64> {
    (0..count).map(|i| i as f64).collect()
}

#[test]
fn squeezing_cuts_squares_into_channels() {
    let squeeze = |shape| layer::<f64>(Permutation::squeeze(shape).unwrap());
    let map = squeeze(shape(1, 4, 4));
    let x = batch(ramp(16), 1, 16).unwrap();
    let z = inverse(&map, &x).unwrap();
    let expected = [0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15].map(f64::from);
    assert_eq!((z.value.values(), z.log_det.values()), (expected.to_vec(), vec![0.0]));
    assert_eq!(forward(&map, &z.value).unwrap().value.values(), x.values());

    // Each channel on its own, by the formula of the documentation.
    let (c, h, w) = (3, 2, 6);
    let x = batch(ramp(c * h * w), 1, c * h * w).unwrap();
    let z = inverse(&squeeze(shape(c, h, w)), &x).unwrap().value.values();
    for (feature, &value) in z.iter().enumerate() {
        let (channel, y, x) = (feature / 3, feature / 3 % (h / 2), feature % 3);
        let source = channel / 4 * 12 + (2 * y + channel % 4 / 2) * 6 + 2 * x + channel % 2;
        assert_eq!(value, source as f64, "feature {feature}");
    }
    assert_eq!(shape(c, h, w).squeezed().unwrap(), shape(12, 1, 3));
    check(squeeze(shape(1, 4, 4)));
    check(squeeze(shape(2, 2, 2)));
}

#[test]
fn odd_sizes_cannot_be_squeezed() {
    for (height, width) in [(3, 4), (4, 3), (1, 1), (0, 2), (2, 0)] {
        let error = Permutation::squeeze(shape(1, height, width)).unwrap_err().to_string();
        assert!(error.contains("even"), "{error}");
    }
}

#[test]
fn masks_of_images_follow_pixels_and_channels() {
    let bits = |mask: Mask| mask.transformed();
    assert_eq!(bits(Mask::checkerboard(shape(2, 2, 3), false).unwrap()), [1, 3, 5, 7, 9, 11]);
    assert_eq!(bits(Mask::checkerboard(shape(1, 2, 2), false).unwrap()), [1, 2]);
    assert_eq!(bits(Mask::checkerboard(shape(1, 2, 2), true).unwrap()), [0, 3]);
    assert_eq!(bits(Mask::channels(shape(3, 1, 2), false).unwrap()), [2, 3, 4, 5]);
    assert_eq!(bits(Mask::channels(shape(3, 1, 2), true).unwrap()), [0, 1]);
    for shape in [shape(2, 2, 2), shape(4, 3, 5), shape(2, 1, 4)] {
        for mask in [Mask::checkerboard, Mask::channels] {
            let [plain, flipped] = [false, true].map(|flipped| mask(shape, flipped).unwrap());
            assert_eq!(plain.kept(), flipped.transformed(), "{shape:?}");
        }
    }
    for flipped in [false, true] {
        assert_eq!(bits(Mask::checkerboard(shape(2, 1, 1), flipped).unwrap()), [0, 1]);
        assert_eq!(bits(Mask::channels(shape(1, 2, 1), flipped).unwrap()), [0, 1]);
        let nothing = "number of transformed features of a mask must be at least 1";
        for empty in [shape(0, 2, 2), shape(2, 0, 2), shape(2, 2, 0)] {
            assert_error!(Mask::checkerboard(empty, flipped), Error::Parameter { .. }, [nothing]);
            assert_error!(Mask::channels(empty, flipped), Error::Parameter { .. }, [nothing]);
        }
    }
}

#[test]
fn parts_are_bijective() {
    for (dim, indices) in [(1, vec![0]), (4, vec![3, 0, 1]), (5, vec![2, 4]), (2, vec![1])] {
        for inner in samples(indices.len()) {
            check(Part::new(inner, dim, indices.clone()).unwrap());
        }
    }
    let empty = Chain::<f64>::new(0, Vec::new()).unwrap();
    check(Part::new(Box::new(empty), 2, Vec::new()).unwrap());
}

#[test]
fn a_part_is_its_bijector_on_the_chosen_features() {
    let (rows, indices) = (200, [3, 1]);
    let mut inner = layer::<f64>(LuLinear::new(2).unwrap());
    perturb(&mut inner, 0.4, &mut stream(1, "perturb")).unwrap();
    let z: Vec<f64> = normals(rows * 4, &mut stream(2, "z"));
    let chosen = z.chunks(4).flat_map(|row| indices.map(|i| row[i])).collect();
    let alone = forward(&inner, &batch(chosen, rows, 2).unwrap()).unwrap();
    let part = Part::new(Box::new(inner), 4, indices.to_vec()).unwrap();
    let whole = forward(&part, &batch(z.clone(), rows, 4).unwrap()).unwrap();
    let mut expected = z.clone();
    for (row, image) in expected.chunks_mut(4).zip(alone.value.values().chunks(2)) {
        (row[3], row[1]) = (image[0], image[1]);
    }
    assert_eq!(whole.value.values(), expected);
    assert_eq!(whole.log_det.values(), alone.log_det.values());
    let (value, _) = part.image(&batch(z, rows, 4).unwrap(), &Context::none()).unwrap();
    assert_eq!(value.values(), expected);
}

#[test]
fn wrong_parts_and_pixels_are_errors() {
    let inner = || Box::new(layer::<f64>(ActNorm::new(2)));
    for indices in [vec![0], vec![0, 1, 2]] {
        let count = indices.len();
        assert_error!(
            Part::new(inner(), 3, indices),
            Error::Dimension { op: "features of a part", expected: 2, got } if *got == count
        );
    }
    for (indices, at_fault) in [(vec![1, 1], 1), (vec![0, 3], 3), (vec![0, usize::MAX], usize::MAX)]
    {
        assert_error!(
            Part::new(inner(), 3, indices),
            Error::Parameter { value, .. } if *value == at_fault as f64,
            ["index of a part", "below the dimension and used once"]
        );
    }
    let part = Part::new(inner(), 3, vec![0, 2]).unwrap();
    let narrow = forward(&part, &batch(vec![0.0; 4], 2, 2).unwrap());
    assert_error!(narrow, Error::Dimension { op: "part", expected: 3, got: 2 });
    for empty in [shape(2, 0, 1), shape(2, 1, 0)] {
        assert_error!(
            Pixelwise::new(inner(), empty.pixels()),
            Error::Parameter { .. },
            ["pixels of an image", "at least 1"],
            "{empty:?}"
        );
    }
    for wrong in [shape(1, 2, 2), shape(3, 1, 1)] {
        let pixels = Pixelwise::new(inner(), wrong.pixels()).unwrap();
        let row = batch(vec![0.0; wrong.dim()], 1, wrong.dim()).unwrap();
        let (got, expected) = (wrong.dim(), 2 * wrong.pixels());
        let named = format!("expected {expected} columns, got {got}");
        assert_error!(inverse(&pixels, &row), Error::Dimension { op: "pixels", .. }, [&named]);
    }
    let pixels = Pixelwise::new(inner(), 2).unwrap();
    assert_error!(
        inverse(&pixels, &batch(vec![0.0; 6], 2, 3).unwrap()),
        Error::Dimension { op: "pixels", expected: 4, got: 3 }
    );
    // Context for another number of rows, counted in pixels, of which an image has two, or of
    // another width.
    let conditional = coupling(2, 2, &mut stream(1, "init"));
    let pixels = Pixelwise::new(Box::new(conditional), 2).unwrap();
    let z = batch(vec![0.0; 8], 2, 4).unwrap();
    for (rows, width, message) in [
        (1, 2, "coupling: expected 4 rows, got 2"),
        (3, 2, "coupling: expected 4 rows, got 6"),
        (2, 1, "coupling: expected 2 columns, got 1"),
        (2, 0, "coupling: expected 2 columns, got 0"),
    ] {
        let code = Context::of(batch(vec![0.0; rows * width], rows, width).unwrap());
        assert_error!(
            pixels.forward(&z, &code, &mut Tape::none()),
            Error::Rows { .. } | Error::Dimension { .. },
            [message]
        );
    }
}

#[test]
fn pixelwise_maps_are_bijective() {
    for shape in [shape(1, 1, 1), shape(1, 4, 4), shape(2, 2, 2), shape(3, 1, 2)] {
        for inner in samples(shape.channels) {
            check(Pixelwise::new(inner, shape.pixels()).unwrap());
        }
    }
}

#[test]
fn a_pixelwise_map_is_its_bijector_at_each_pixel() {
    let (rows, pixels) = (70, 3);
    let mut inner = layer::<f64>(LuLinear::new(2).unwrap());
    perturb(&mut inner, 0.4, &mut stream(1, "perturb")).unwrap();
    let x: Vec<f64> = normals(rows * 6, &mut stream(2, "x"));
    let (mut expected, mut log_dets) = (x.clone(), vec![0.0; rows]);
    for (row, log_det) in log_dets.iter_mut().enumerate() {
        for pixel in 0..pixels {
            let places = [0, 1].map(|c| row * 6 + c * pixels + pixel);
            let point = batch(places.map(|p| x[p]).to_vec(), 1, 2).unwrap();
            let image = inverse(&inner, &point).unwrap();
            for (place, value) in places.into_iter().zip(image.value.values()) {
                expected[place] = value;
            }
            *log_det += image.log_det.values()[0];
        }
    }
    let layer = Pixelwise::new(Box::new(inner), pixels).unwrap();
    let out = inverse(&layer, &batch(x, rows, 6).unwrap()).unwrap();
    assert_eq!((out.value.values(), out.log_det.values()), (expected, log_dets));
    let (value, _) = layer.image(&out.value, &Context::none()).unwrap();
    assert_eq!(value.values(), forward(&layer, &out.value).unwrap().value.values());
}

/// Rows whose features have mean 3 and deviation 0.1 or 20, by channel.
fn two_channels(rows: usize, pixels: usize) -> Batch<f64> {
    let draws: Vec<f64> = normals(rows * 2 * pixels, &mut stream(8, "x"));
    let scaled = |(i, v): (usize, f64)| 3.0 + [0.1, 20.0][i / pixels % 2] * v;
    batch(draws.into_iter().enumerate().map(scaled).collect(), rows, 2 * pixels).unwrap()
}

#[test]
fn channelwise_layers_start_from_all_pixels() {
    let (rows, pixels) = (50, 6);
    let mut layer = Pixelwise::new(Box::new(layer(ActNorm::new(2))), pixels).unwrap();
    assert_eq!(layer.count(), 4);
    let z = layer.initialise(&two_channels(rows, pixels), &Context::none()).unwrap().values();
    for channel in 0..2 {
        let values: Vec<f64> =
            z.chunks(pixels).skip(channel).step_by(2).flatten().copied().collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 1e-12 && (square - 1.0).abs() < 1e-12, "{mean} {square}");
    }
}

#[test]
fn purposes_steps_and_first_batches_reach_the_inside() {
    let x = two_channels(40, 1);
    let norm = || Box::new(BatchNorm::<f64>::new(2).unwrap());
    let moves = |outer: &mut dyn Bijector<f64>| {
        let before = inverse(outer, &x).unwrap().value.values();
        outer.set_purpose(Purpose::Training).unwrap();
        let mut tape = Tape::recording();
        let training = outer.inverse(&x, &Context::none(), &mut tape).unwrap().value.values();
        assert_ne!(before, training, "the purpose did not arrive");
        outer.set_purpose(Purpose::Reporting).unwrap();
        outer.end_step(&mut tape.backward(|_| Ok(())).unwrap()).unwrap();
        let after = inverse(outer, &x).unwrap().value.values();
        assert_ne!(before, after, "the end of the step did not arrive");
    };
    moves(&mut Part::new(norm(), 2, vec![1, 0]).unwrap());
    moves(&mut Pixelwise::new(norm(), 1).unwrap());
    let mut part = Part::new(Box::new(layer(ActNorm::new(1))), 2, vec![1]).unwrap();
    let z = part.initialise(&x, &Context::none()).unwrap();
    assert_eq!(z.values(), inverse(&part, &x).unwrap().value.values());
    let square = z.values().chunks(2).map(|row| row[1] * row[1]).sum::<f64>() / 40.0;
    assert!((square - 1.0).abs() < 1e-12, "{square}");
}

#[test]
fn values_are_finite_at_the_edges_and_single_precision_is_close_to_double() {
    fn values<E: Real>(z: &[f64]) -> Vec<f64> {
        let size = shape(2, 2, 2);
        let mut rng = stream(4, "init");
        let part = Part::new(Box::new(coupling(3, 0, &mut rng)), 8, vec![7, 0, 3]).unwrap();
        let mixing = layer(LuLinear::new(2).unwrap());
        let parts: Vec<Box<dyn Bijector<E>>> = vec![
            Box::new(part),
            Box::new(Pixelwise::new(Box::new(mixing), size.pixels()).unwrap()),
            Box::new(layer(Permutation::squeeze(size).unwrap())),
        ];
        let chain = Chain::<E>::new(8, parts).unwrap();
        let z = batch(z.iter().map(|&v| E::of(v)).collect(), z.len() / 8, 8).unwrap();
        let (context, none) = (Context::none(), &mut Tape::none());
        let x = chain.forward(&z, &context, none).unwrap();
        let back = chain.inverse(&x.value, &context, none).unwrap();
        let all = [x.value.values(), x.log_det.values(), back.value.values()].concat();
        all.iter().map(|v| v.as_f64()).collect()
    }
    for edge in [0.0, 1.0, -1e6, 1e6, 1e30, 1e-40, 1e-310] {
        let z: Vec<f64> = (0..16).map(|i| if i % 3 == 0 { edge } else { 0.3 }).collect();
        assert!(values::<f32>(&z).iter().chain(&values::<f64>(&z)).all(|v| v.is_finite()));
    }
    let z: Vec<f64> = normals::<f32>(160, &mut stream(1, "z")).iter().map(|&v| v.into()).collect();
    let worst = distance_to_scale(&values::<f32>(&z), &values::<f64>(&z));
    assert!(worst < 1e-6, "{worst:e}");
}

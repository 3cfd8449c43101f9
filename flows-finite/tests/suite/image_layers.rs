//! Squeezing, masks of images, parts and pixelwise maps.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb};
use flows_core::{
    Batch, Bijector, BoxBijector, Chain, Context, MlpKernel, Parameters, Purpose, Real, Stream,
    Values, normals, stream,
};
use flows_finite::Shape;
use flows_finite::{
    ActNorm, Affine, BatchNorm, Coupling, LuLinear, Mask, Part, Permutation, Pixelwise, Scale,
};

fn shape(channels: usize, height: usize, width: usize) -> Shape {
    Shape { channels, height, width }
}

fn coupling<E: Real>(dim: usize, context: usize, rng: &mut Stream) -> BoxBijector<E> {
    let mask = Mask::halves(dim, false).unwrap();
    let kernel = |inputs, outputs| MlpKernel::new(inputs, &[4], outputs, Activation::Tanh);
    let affine = Affine::new(Scale::Bounded(1.5)).unwrap();
    BoxBijector::new(Coupling::new(&mask, context, affine, kernel, rng).unwrap())
}

fn check(mut bijector: impl Bijector<f64>, context: usize) {
    perturb(&mut bijector, 0.4, &mut stream(3, "perturb")).unwrap();
    check_bijector(&mut bijector, context, normal_point(1.0), Tolerance::default());
}

/// A linear map, one with context, and one whose parameters come from data.
fn samples<E: Real>(dim: usize) -> Vec<(usize, BoxBijector<E>)> {
    let mut rng = stream(5, "init");
    vec![
        (0, BoxBijector::new(LuLinear::new(dim).unwrap())),
        (2, coupling(dim, 2, &mut rng)),
        (0, BoxBijector::new(ActNorm::new(dim).unwrap())),
    ]
}

fn ramp(count: usize) -> Vec<f64> {
    (0..count).map(|i| i as f64).collect()
}

#[test]
fn squeezing_cuts_squares_into_channels() {
    let none = Context::none();
    let layer = Permutation::<f64>::squeeze(shape(1, 4, 4)).unwrap();
    let x = batch(ramp(16), 1, 16).unwrap();
    let z = layer.inverse(x.clone(), &none).unwrap();
    let expected = [0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15].map(f64::from);
    assert_eq!((z.value.values(), z.log_det.values()), (expected.to_vec(), vec![0.0]));
    assert_eq!(layer.forward(z.value, &none).unwrap().value.values(), x.values());

    // Each channel on its own, by the formula of the documentation.
    let (c, h, w) = (3, 2, 6);
    let layer = Permutation::<f64>::squeeze(shape(c, h, w)).unwrap();
    let x = batch(ramp(c * h * w), 1, c * h * w).unwrap();
    let z = layer.inverse(x, &none).unwrap().value.values();
    for (feature, &value) in z.iter().enumerate() {
        let (channel, y, x) = (feature / 3, feature / 3 % (h / 2), feature % 3);
        let source = channel / 4 * 12 + (2 * y + channel % 4 / 2) * 6 + 2 * x + channel % 2;
        assert_eq!(value, source as f64, "feature {feature}");
    }
    assert_eq!(shape(c, h, w).squeezed().unwrap(), shape(12, 1, 3));
    check(Permutation::squeeze(shape(1, 4, 4)).unwrap(), 0);
    check(Permutation::squeeze(shape(2, 2, 2)).unwrap(), 0);
}

#[test]
fn odd_sizes_cannot_be_squeezed() {
    for (height, width) in [(3, 4), (4, 3), (1, 1), (0, 2), (2, 0)] {
        let error = Permutation::<f32>::squeeze(shape(1, height, width)).unwrap_err().to_string();
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
        for empty in [shape(0, 2, 2), shape(2, 0, 2), shape(2, 2, 0)] {
            assert!(Mask::checkerboard(empty, flipped).is_err());
            assert!(Mask::channels(empty, flipped).is_err());
        }
    }
}

#[test]
fn parts_are_bijective() {
    for (dim, indices) in [(1, vec![0]), (4, vec![3, 0, 1]), (5, vec![2, 4]), (2, vec![1])] {
        for (context, inner) in samples(indices.len()) {
            check(Part::new(inner, dim, indices.clone()).unwrap(), context);
        }
    }
    let empty = Chain::<f64>::new(0, Vec::new()).unwrap();
    check(Part::new(empty, 2, Vec::new()).unwrap(), 0);
}

#[test]
fn a_part_is_its_bijector_on_the_chosen_features() {
    let (rows, indices) = (200, [3, 1]);
    let mut inner = LuLinear::<f64>::new(2).unwrap();
    perturb(&mut inner, 0.4, &mut stream(1, "perturb")).unwrap();
    let z: Vec<f64> = normals(rows * 4, &mut stream(2, "z"));
    let chosen = z.chunks(4).flat_map(|row| indices.map(|i| row[i])).collect();
    let alone = inner.forward(batch(chosen, rows, 2).unwrap(), &Context::none()).unwrap();
    let part = Part::new(inner, 4, indices.to_vec()).unwrap();
    let whole = part.forward(batch(z.clone(), rows, 4).unwrap(), &Context::none()).unwrap();
    let mut expected = z.clone();
    for (row, image) in expected.chunks_mut(4).zip(alone.value.values().chunks(2)) {
        (row[3], row[1]) = (image[0], image[1]);
    }
    assert_eq!(whole.value.values(), expected);
    assert_eq!(whole.log_det.values(), alone.log_det.values());
    let (value, _) = part.forward_value(batch(z, rows, 4).unwrap(), &Context::none()).unwrap();
    assert_eq!(value.values(), expected);
}

#[test]
fn wrong_parts_and_pixels_are_errors() {
    let inner = || ActNorm::<f64>::new(2).unwrap();
    for indices in [vec![0], vec![0, 1, 2], vec![1, 1], vec![0, 3], vec![0, usize::MAX]] {
        assert!(Part::new(inner(), 3, indices.clone()).is_err(), "{indices:?}");
    }
    let part = Part::new(inner(), 3, vec![0, 2]).unwrap();
    assert!(part.forward(batch(vec![0.0; 4], 2, 2).unwrap(), &Context::none()).is_err());
    for wrong in [shape(1, 2, 2), shape(3, 1, 1), shape(2, 0, 1), shape(2, 1, 0)] {
        assert!(Pixelwise::new(inner(), wrong).is_err(), "{wrong:?}");
    }
    let pixels = Pixelwise::new(inner(), shape(2, 1, 2)).unwrap();
    assert!(pixels.inverse(batch(vec![0.0; 6], 2, 3).unwrap(), &Context::none()).is_err());
    // Context for another number of rows, or of another width.
    let pixels = Pixelwise::new(coupling(2, 2, &mut stream(1, "init")), shape(2, 1, 2)).unwrap();
    for (rows, width) in [(1, 2), (3, 2), (2, 1), (2, 0)] {
        let code = Context::of(batch(vec![0.0; rows * width], rows, width).unwrap());
        assert!(pixels.forward(batch(vec![0.0; 8], 2, 4).unwrap(), &code).is_err());
    }
}

#[test]
fn pixelwise_maps_are_bijective() {
    for shape in [shape(1, 1, 1), shape(1, 4, 4), shape(2, 2, 2), shape(3, 1, 2)] {
        for (context, inner) in samples(shape.channels) {
            check(Pixelwise::new(inner, shape).unwrap(), context);
        }
    }
}

#[test]
fn a_pixelwise_map_is_its_bijector_at_each_pixel() {
    let (rows, shape, pixels) = (70, shape(2, 3, 1), 3);
    let mut inner = LuLinear::<f64>::new(2).unwrap();
    perturb(&mut inner, 0.4, &mut stream(1, "perturb")).unwrap();
    let x: Vec<f64> = normals(rows * 6, &mut stream(2, "x"));
    let (mut expected, mut log_dets) = (x.clone(), vec![0.0; rows]);
    for (row, log_det) in log_dets.iter_mut().enumerate() {
        for pixel in 0..pixels {
            let places = [0, 1].map(|c| row * 6 + c * pixels + pixel);
            let point = batch(places.map(|p| x[p]).to_vec(), 1, 2).unwrap();
            let image = inner.inverse(point, &Context::none()).unwrap();
            for (place, value) in places.into_iter().zip(image.value.values()) {
                expected[place] = value;
            }
            *log_det += image.log_det.values()[0];
        }
    }
    let layer = Pixelwise::new(inner, shape).unwrap();
    let out = layer.inverse(batch(x, rows, 6).unwrap(), &Context::none()).unwrap();
    assert_eq!((out.value.values(), out.log_det.values()), (expected, log_dets));
    let forward = layer.forward(out.value.clone(), &Context::none()).unwrap().value;
    let (value, _) = layer.forward_value(out.value, &Context::none()).unwrap();
    assert_eq!(value.values(), forward.values());
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
    let act_norm = ActNorm::<f64>::new(2).unwrap();
    let mut layer = Pixelwise::new(act_norm, shape(2, 2, 3)).unwrap();
    assert_eq!(layer.count(), 4);
    let z = layer.initialise(two_channels(rows, pixels), &Context::none()).unwrap().values();
    for channel in 0..2 {
        let values: Vec<f64> =
            z.chunks(pixels).skip(channel).step_by(2).flatten().copied().collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 1e-12 && (square - 1.0).abs() < 1e-12, "{mean} {square}");
    }
}

#[test]
fn purposes_probes_and_first_batches_reach_the_inside() {
    let x = two_channels(40, 1);
    let norm = || BatchNorm::<f64>::new(2).unwrap();
    let moves = |mut outer: BoxBijector<f64>| {
        let before = outer.inverse(x.clone(), &Context::none()).unwrap().value.values();
        outer.set_purpose(Purpose::Training);
        let training = outer.inverse(x.clone(), &Context::none()).unwrap().value.values();
        assert_ne!(before, training, "the purpose did not arrive");
        outer.set_purpose(Purpose::Reporting);
        outer.resample_probes(&mut stream(1, "probes"));
        let after = outer.inverse(x.clone(), &Context::none()).unwrap().value.values();
        assert_ne!(before, after, "the probes did not arrive");
    };
    moves(BoxBijector::new(Part::new(norm(), 2, vec![1, 0]).unwrap()));
    moves(BoxBijector::new(Pixelwise::new(norm(), shape(2, 1, 1)).unwrap()));
    let mut part = Part::new(ActNorm::<f64>::new(1).unwrap(), 2, vec![1]).unwrap();
    let z = part.initialise(x.clone(), &Context::none()).unwrap();
    assert_eq!(z.values(), part.inverse(x, &Context::none()).unwrap().value.values());
    let square = z.values().chunks(2).map(|row| row[1] * row[1]).sum::<f64>() / 40.0;
    assert!((square - 1.0).abs() < 1e-12, "{square}");
}

#[test]
fn values_are_finite_at_the_edges_and_single_precision_is_close_to_double() {
    fn values<E: Real>(z: &[f64]) -> Vec<f64> {
        let size = shape(2, 2, 2);
        let mut rng = stream(4, "init");
        let part = Part::new(coupling::<E>(3, 0, &mut rng), 8, vec![7, 0, 3]).unwrap();
        let parts = vec![
            BoxBijector::new(part),
            BoxBijector::new(Pixelwise::new(LuLinear::new(2).unwrap(), size).unwrap()),
            BoxBijector::new(Permutation::squeeze(size).unwrap()),
        ];
        let chain = Chain::<E>::new(8, parts).unwrap();
        let z = batch(z.iter().map(|&v| E::of(v)).collect(), z.len() / 8, 8).unwrap();
        let x = chain.forward(z, &Context::none()).unwrap();
        let back = chain.inverse(x.value.clone(), &Context::none()).unwrap();
        let all = [x.value.values(), x.log_det.values(), back.value.values()].concat();
        all.iter().map(|v| v.as_f64()).collect()
    }
    for edge in [0.0, 1.0, -1e6, 1e6, 1e30, 1e-40, 1e-310] {
        let z: Vec<f64> = (0..16).map(|i| if i % 3 == 0 { edge } else { 0.3 }).collect();
        assert!(values::<f32>(&z).iter().chain(&values::<f64>(&z)).all(|v| v.is_finite()));
    }
    let z: Vec<f64> = normals::<f32>(160, &mut stream(1, "z")).iter().map(|&v| v.into()).collect();
    let worst = super::slopes::distance(&values::<f32>(&z), &values::<f64>(&z));
    assert!(worst < 1e-6, "{worst:e}");
}

//! Parts of the features and maps at every pixel, in chains and alone, against the map itself.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::{batch, columns};
use flows_core::testing::{Tolerance, assert_error, check_bijector, normal_point};
use flows_core::{
    Batch, Bijector, Chain, Context, Direction, Error, Gradients, Inverse, Mapped, Part, Pixelwise,
    Tape, Values,
};

use super::maps::{
    Boxed, CONTEXT, DIRECTIONS, Flip, bend, chain, context, points, run, scale, shear, sinh,
};
use super::outcome::{StopReason, one_by_one, outcome, weight};
use super::pass::{ROWS, maps};

/// The outcome of a chain that has to be computed block by block as a whole.
pub(super) fn outer_and_parts(
    chain: &Chain<f64>,
    direction: Direction,
    x: &Batch<f64>,
    context: &Context<f64>,
) -> StopReason {
    assert!(chain.pass(direction, x.rows()).unwrap().is_some(), "a chain of maps is a map");
    outcome(chain, direction, x, context)
}

/// Some columns of a batch.
fn chosen(x: &Batch<f64>, features: &[usize]) -> Batch<f64> {
    let dim = columns(x);
    let rows = x.values();
    let values = rows.chunks(dim).flat_map(|row| features.iter().map(|&i| row[i])).collect();
    batch(values, x.rows(), features.len()).unwrap()
}

/// What is wanted of a bijector on a rearranged batch: value and gradients for given weights.
pub(super) struct Rearranged {
    pub(super) mapped: Mapped<f64>,
    pub(super) gradients: Gradients<f64>,
}

pub(super) fn rearranged(
    inner: &dyn Bijector<f64>,
    direction: Direction,
    (x, context): (&Batch<f64>, &Context<f64>),
    (of_value, of_log_det): (&[f64], &[f64]),
) -> Rearranged {
    let mut tape = Tape::recording();
    let mapped = run(inner, direction, x, context, &mut tape).unwrap();
    let start = |gradients: &mut Gradients<f64>| {
        gradients.add(&mapped.value, of_value)?;
        gradients.add(&mapped.log_det, of_log_det)
    };
    let gradients = tape.backward(start).unwrap();
    Rearranged { mapped, gradients }
}

pub(super) fn tensor_gradients(
    model: &dyn Bijector<f64>,
    gradients: &mut Gradients<f64>,
) -> Vec<Vec<f64>> {
    let mut all = Vec::new();
    model.visit(&mut |_, _, tensor| all.push(gradients.take(tensor).unwrap()));
    all
}

#[test]
fn a_part_is_the_chain_on_its_features() {
    const DIM: usize = 4;
    let features = [3, 1];
    let part = || Box::new(Part::new(Box::new(chain(2, maps())), DIM, features.to_vec()).unwrap());
    for rows in ROWS {
        for direction in DIRECTIONS {
            let (x, context) = (points(rows, DIM), context(rows));
            // By hand.
            let inner = chain(2, maps());
            let weights: Vec<f64> = (0..rows * DIM).map(|i| weight(i)[0]).collect();
            let own: Vec<f64> =
                weights.chunks(DIM).flat_map(|row| features.map(|i| row[i])).collect();
            let of_log_det: Vec<f64> = (0..rows).map(|i| weight(i)[1]).collect();
            let few = chosen(&x, &features);
            let Rearranged { mapped, mut gradients } =
                rearranged(&inner, direction, (&few, &context), (&own, &of_log_det));
            let put_back = |all: &[f64], own: &[f64]| -> Vec<f64> {
                let mut all = all.to_vec();
                for (row, own) in all.chunks_mut(DIM).zip(own.chunks(2)) {
                    (row[3], row[1]) = (own[0], own[1]);
                }
                all
            };
            let expected = StopReason {
                value: put_back(&x.values(), &mapped.value.values()),
                log_det: mapped.log_det.values(),
                penalty: None,
                work: mapped.work,
                d_input: put_back(&weights, &gradients.take(&few).unwrap()),
                d_context: gradients.take(context.features().unwrap()).unwrap(),
                d_tensors: tensor_gradients(&inner, &mut gradients),
            };
            assert_eq!(outcome(&*part(), direction, &x, &context), expected, "alone");
            let chain = chain(DIM, vec![part()]);
            assert_eq!(outer_and_parts(&chain, direction, &x, &context), expected, "in a chain");
        }
    }
    // Of no features it is the identity.
    let nothing = || Box::new(Part::new(Box::new(chain(0, Vec::new())), 2, Vec::new()).unwrap());
    for direction in DIRECTIONS {
        let (x, none) = (points(5, 2), Context::none());
        let expected = outcome(&chain(2, Vec::new()), direction, &x, &none);
        assert_eq!(outcome(&*nothing(), direction, &x, &none), expected);
        assert_eq!(outcome(&chain(2, vec![nothing()]), direction, &x, &none), expected);
    }
    let part = |features| Part::new(Box::new(chain(2, maps())), DIM, features);
    for (features, at_fault) in [(vec![0, 0], 0.0), (vec![0, 4], 4.0)] {
        assert_error!(
            part(features),
            Error::Parameter { value, .. } if *value == at_fault,
            ["index of a part", "below the dimension and used once"]
        );
    }
    for features in [vec![0], vec![0, 1, 2]] {
        let count = features.len();
        assert_error!(
            part(features),
            Error::Dimension { op: "features of a part", expected: 2, got } if *got == count
        );
    }
}

#[test]
fn a_pixelwise_chain_is_the_chain_at_every_pixel() {
    const PIXELS: usize = 3;
    const DIM: usize = 2 * PIXELS;
    // Pixel p of channel c is feature c * PIXELS + p.
    let split = |images: &[f64]| -> Vec<f64> {
        let pixels = |image: &[f64]| {
            (0..PIXELS).flat_map(|p| [image[p], image[PIXELS + p]]).collect::<Vec<_>>()
        };
        images.chunks(DIM).flat_map(pixels).collect()
    };
    let merge = |points: &[f64]| -> Vec<f64> {
        let image = |points: &[f64]| {
            (0..DIM).map(|i| points[i % PIXELS * 2 + i / PIXELS]).collect::<Vec<_>>()
        };
        points.chunks(DIM).flat_map(image).collect()
    };
    let repeat = |rows: &[f64], width: usize| -> Vec<f64> {
        rows.chunks(width).flat_map(|row| row.repeat(PIXELS)).collect()
    };
    let total = |points: &[f64], width: usize| -> Vec<f64> {
        let of_image = |points: &[f64]| {
            (0..width).map(|k| points.iter().skip(k).step_by(width).sum()).collect::<Vec<f64>>()
        };
        points.chunks(PIXELS * width).flat_map(of_image).collect()
    };
    let pixelwise = || Box::new(Pixelwise::new(Box::new(chain(2, maps())), PIXELS).unwrap());
    for rows in ROWS {
        for direction in DIRECTIONS {
            let (x, context) = (points(rows, DIM), context(rows));
            // By hand.
            let inner = chain(2, maps());
            let weights: Vec<f64> = (0..rows * DIM).map(|i| weight(i)[0]).collect();
            let of_log_det: Vec<f64> = (0..rows).map(|i| weight(i)[1]).collect();
            let each = batch(split(&x.values()), rows * PIXELS, 2).unwrap();
            let features = repeat(&context.features().unwrap().values(), CONTEXT);
            let features = batch(features, rows * PIXELS, CONTEXT).unwrap();
            let outer = (&*split(&weights), &*repeat(&of_log_det, 1));
            let at = (&each, &Context::of(features.clone()));
            let Rearranged { mapped, mut gradients } = rearranged(&inner, direction, at, outer);
            let expected = StopReason {
                value: merge(&mapped.value.values()),
                log_det: total(&mapped.log_det.values(), 1),
                penalty: None,
                work: mapped.work,
                d_input: merge(&gradients.take(&each).unwrap()),
                d_context: total(&gradients.take(&features).unwrap(), CONTEXT),
                d_tensors: tensor_gradients(&inner, &mut gradients),
            };
            outcome(&*pixelwise(), direction, &x, &context).assert_close(&expected, "alone");
            let chain = chain(DIM, vec![pixelwise()]);
            let got = outer_and_parts(&chain, direction, &x, &context);
            got.assert_close(&expected, "in a chain");
        }
    }
    assert_error!(
        Pixelwise::new(sinh(2), 0),
        Error::Parameter { .. },
        ["pixels of an image", "at least 1", "got 0"]
    );
}

/// Parts, inverses and pixels among maps, all of them computed block by block.
pub(super) fn composite() -> Chain<f64> {
    let part = Part::new(Box::new(chain(2, maps())), 4, vec![2, 0]).unwrap();
    let pixelwise = Pixelwise::new(shear(true), 2).unwrap();
    let [shrink, asinh] = [scale(4), sinh(4)].map(|map| Box::new(Inverse::new(map)));
    chain(4, vec![Box::new(part), shrink, asinh, Box::new(pixelwise), scale(4)])
}

#[test]
fn a_chain_of_composites_is_its_parts_one_by_one() {
    for rows in ROWS {
        for direction in DIRECTIONS {
            let (chain, x, context) = (composite(), points(rows, 4), context(rows));
            let expected = one_by_one(&chain.parts(), direction, &x, &context);
            let got = outer_and_parts(&chain, direction, &x, &context);
            got.assert_close(&expected, &format!("{rows} rows, {direction:?}"));
        }
    }
}

#[test]
fn chains_and_composites_pass_the_check() {
    let wide = |parts| Box::new(chain(4, parts)) as Boxed;
    let part = || Box::new(Part::new(Box::new(chain(2, maps())), 4, vec![2, 0]).unwrap());
    let all: [Boxed; 6] = [
        Box::new(chain(2, maps())),
        Box::new(Inverse::new(Box::new(chain(2, maps())))),
        Box::new(composite()),
        Box::new(Pixelwise::new(Box::new(chain(2, vec![bend(), shear(true)])), 3).unwrap()),
        part(),
        wide(vec![part(), Box::new(Flip { dim: 4 }), scale(4), Box::new(Flip { dim: 4 })]),
    ];
    for mut bijector in all {
        check_bijector(&mut *bijector, normal_point(0.5), Tolerance::default());
    }
}

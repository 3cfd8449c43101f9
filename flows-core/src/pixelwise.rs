//! A bijector over the channels, applied at every pixel of an image.

use std::sync::Arc;

use crate::bijector::{Bijector, Exactness, Mapped};
use crate::operation::LANES;
use crate::parameters::{Parameters, Visitor, VisitorMut};
use crate::part::{Chosen, gather, scatter};
use crate::pass::{Direction, Pass, Rows, RowsBack};
use crate::tape::{Gradients, Tape};
use crate::tensor::{Batch, PerRow, Values, check_columns, columns, per_row};
use crate::{Context, Error, Real, Result, Scratch, Space, Work, custom_gradient};

/// Applies a bijector of C features to the C channels of each pixel; the log-det is the sum over
/// pixels. Features are channel-major: pixel p of channel c is feature `c * pixels + p`.
///
/// With an LU linear layer it is the invertible 1 x 1 convolution of Glow, with act-norm or batch
/// normalisation the layer with one scale a channel, whose statistics then run over rows and pixels.
/// The context of a pixel is that of its row.
///
/// # Reference
/// Kingma, Dhariwal, *Glow: Generative flow with invertible 1x1 convolutions*, NeurIPS 2018, section
/// 3.2. <https://arxiv.org/abs/1807.03039>
#[derive(Debug)]
pub struct Pixelwise<E: Real> {
    inner: Box<dyn Bijector<E>>,
    pixels: usize,
}

impl<E: Real> Pixelwise<E> {
    /// Applies `inner`, a bijector over the channels, at each of `pixels` pixels.
    ///
    /// # Errors
    /// [`Error::Parameter`] for 0 pixels.
    pub fn new(inner: Box<dyn Bijector<E>>, pixels: usize) -> Result<Self> {
        if pixels == 0 {
            let (name, requirement) = ("pixels of an image", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        Ok(Self { inner, pixels })
    }

    /// `(rows, C pixels)` as `(rows pixels, C)`.
    fn split(&self, images: &Batch<E>, tape: &mut Tape<E>) -> Result<Batch<E>> {
        check_columns("pixels", images, self.dim())?;
        let (channels, pixels) = (self.inner.dim(), self.pixels);
        let values = transposed(&images.values(), channels, pixels);
        let back = move |gradient: &[E]| vec![transposed(gradient, pixels, channels)];
        custom_gradient(&[images], (values, images.rows() * pixels, channels), back, tape)
    }

    /// `(rows pixels, C)` as `(rows, C pixels)`.
    fn merge(&self, points: &Batch<E>, tape: &mut Tape<E>) -> Result<Batch<E>> {
        let (channels, pixels) = (self.inner.dim(), self.pixels);
        let values = transposed(&points.values(), pixels, channels);
        let back = move |gradient: &[E]| vec![transposed(gradient, channels, pixels)];
        custom_gradient(&[points], (values, points.rows() / pixels, self.dim()), back, tape)
    }

    /// The context of its row for every pixel.
    fn repeat(&self, context: &Context<E>, tape: &mut Tape<E>) -> Result<Context<E>> {
        let Some(features) = context.features() else {
            return Ok(Context::none());
        };
        let (pixels, width) = (self.pixels, columns(features));
        let rows = features.values();
        let repeated: Vec<E> = rows.chunks(width.max(1)).flat_map(|r| r.repeat(pixels)).collect();
        let back = move |gradient: &[E]| {
            let images = gradient.chunks_exact((pixels * width).max(1));
            vec![images.flat_map(|image| sum_of_rows(image, width)).collect()]
        };
        let size = (repeated, features.rows() * pixels, width);
        Ok(Context::of(custom_gradient(&[features], size, back, tape)?))
    }

    /// Makes errors name images, not pixels.
    fn by_image<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.in_row_of(|pixel| pixel / self.pixels))
    }

    /// For a bijector that needs the whole batch at once: each pixel is a row of its own.
    fn whole(
        &self,
        direction: Direction,
        input: &Batch<E>,
        context: &Context<E>,
        tape: &mut Tape<E>,
    ) -> Result<Mapped<E>> {
        let (points, repeated) = (self.split(input, tape)?, self.repeat(context, tape)?);
        let mapped = match direction {
            Direction::Forward => self.inner.forward(&points, &repeated, tape),
            Direction::Inverse => self.inner.inverse(&points, &repeated, tape),
        };
        let Mapped { value, log_det, penalty, work } = self.by_image(mapped)?;
        let value = self.merge(&value, tape)?;
        let log_det = sum_of_pixels(log_det, self.pixels, tape)?;
        let penalty = penalty.map(|p| sum_of_pixels(p, self.pixels, tape)).transpose()?;
        Ok(Mapped { value, log_det, penalty, work })
    }
}

/// The transpose of each `(rows, columns)` matrix of `values`.
fn transposed<E: Real>(values: &[E], rows: usize, columns: usize) -> Vec<E> {
    let mut out = Vec::with_capacity(values.len());
    for matrix in values.chunks_exact((rows * columns).max(1)) {
        for column in 0..columns {
            out.extend(matrix.iter().skip(column).step_by(columns));
        }
    }
    out
}

fn sum_of_rows<E: Real>(matrix: &[E], width: usize) -> Vec<E> {
    let mut total = vec![E::zero(); width];
    matrix.chunks_exact(width).for_each(|row| crate::lanes::add(&mut total, row));
    total
}

/// The sum of each `pixels` values in a row, on the tape.
fn sum_of_pixels<E: Real>(
    terms: PerRow<E>,
    pixels: usize,
    tape: &mut Tape<E>,
) -> Result<PerRow<E>> {
    let values = terms.values();
    let total = per_row(values.chunks_exact(pixels).map(|t| t.iter().copied().sum()).collect())?;
    let result = total.clone();
    tape.record(move |gradients| {
        let incoming = gradients.take(&result)?;
        let each: Vec<E> =
            incoming.iter().flat_map(|&outer| std::iter::repeat_n(outer, pixels)).collect();
        gradients.add(&terms, &each)
    });
    Ok(total)
}

impl<E: Real> Parameters<E> for Pixelwise<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.inner.visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.inner.visit_mut(f)
    }
}

impl<E: Real> Bijector<E> for Pixelwise<E> {
    fn dim(&self) -> usize {
        self.inner.dim() * self.pixels
    }

    /// A place has features p, p + places, ..; all places are mapped alike.
    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        let mut all = from;
        for place in 0..self.pixels {
            let own = all.iter().skip(place).step_by(self.pixels).copied().collect();
            let whole = |channel: usize| channel * self.pixels + place;
            let images = self.inner.image_space(own).map_err(|e| e.of_feature(whole))?;
            all.iter_mut().skip(place).step_by(self.pixels).zip(images).for_each(|(a, b)| *a = b);
        }
        Ok(all)
    }

    fn forward(&self, z: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.whole(Direction::Forward, z, context, tape)
    }

    fn inverse(&self, x: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.whole(Direction::Inverse, x, context, tape)
    }

    fn parts(&self) -> Vec<&dyn Bijector<E>> {
        vec![&*self.inner]
    }

    fn parts_mut(&mut self) -> Vec<&mut dyn Bijector<E>> {
        vec![&mut *self.inner]
    }

    fn pass(&self, direction: Direction, rows: usize) -> Result<Option<Arc<dyn Pass<E>>>> {
        // Estimates draw new random numbers for every pixel.
        if self.inner.exactness() == Exactness::Estimated {
            return Ok(None);
        }
        let Some(inner) = self.inner.pass(direction, rows)? else { return Ok(None) };
        Ok(Some(Arc::new(PixelPass { inner, places: self.pixels })))
    }

    fn image(&self, z: &Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        let none = &mut Tape::none();
        let (points, repeated) = (self.split(z, none)?, self.repeat(context, none)?);
        let (value, work) = self.by_image(self.inner.image(&points, &repeated))?;
        Ok((self.merge(&value, none)?, work))
    }

    fn initialise(&mut self, x: &Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        let none = &mut Tape::none();
        let (points, repeated) = (self.split(x, none)?, self.repeat(context, none)?);
        let points = self.inner.initialise(&points, &repeated);
        let points = self.by_image(points)?;
        self.merge(&points, none)
    }
}

/// A pass at each place in turn; the features of place p are `p`, `p + places`, ..
struct PixelPass<E: Real> {
    inner: Arc<dyn Pass<E>>,
    places: usize,
}

impl<E: Real> PixelPass<E> {
    fn features(&self, place: usize) -> Vec<usize> {
        (0..self.inner.dim()).map(|feature| feature * self.places + place).collect()
    }
}

impl<E: Real> Pass<E> for PixelPass<E> {
    fn dim(&self) -> usize {
        self.inner.dim() * self.places
    }

    fn sum_lengths(&self) -> Vec<usize> {
        self.inner.sum_lengths()
    }

    fn forward(&self, rows: Rows<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let Rows { first, input: whole, context, value: target, log_det } = rows;
        let all: &mut Vec<Chosen<E>> = scratch.or_default();
        all.resize_with(self.places, Chosen::default);
        let mut work = Work::default();
        for (place, Chosen { input, value, scratch }) in all.iter_mut().enumerate() {
            let features = self.features(place);
            gather(whole, &features, input);
            value.resize(input.len(), E::zero());
            let log_det = &mut *log_det;
            let inner = Rows { first, input, context, value: &mut *value, log_det };
            work = work.largest(self.inner.forward(inner, scratch)?);
            scatter(value, &features, target);
        }
        Ok(work)
    }

    fn backward(&self, rows: RowsBack<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let all: &mut Vec<Chosen<E>> = scratch.left();
        let (mut d_value, mut d_input) = (Vec::new(), vec![E::zero(); self.inner.dim() * LANES]);
        for (place, Chosen { input, value, scratch }) in all.iter_mut().enumerate() {
            let features = self.features(place);
            gather(rows.d_value, &features, &mut d_value);
            let inner = RowsBack {
                first: rows.first,
                input,
                value,
                context: rows.context,
                d_value: &d_value,
                d_log_det: rows.d_log_det,
                d_input: &mut d_input,
                d_context: &mut *rows.d_context,
                sums: &mut *rows.sums,
            };
            self.inner.backward(inner, scratch)?;
            scatter(&d_input, &features, rows.d_input);
        }
        Ok(())
    }

    fn deliver(&self, sums: &mut [Vec<E>], gradients: &mut Gradients<E>) -> Result<()> {
        self.inner.deliver(sums, gradients)
    }
}

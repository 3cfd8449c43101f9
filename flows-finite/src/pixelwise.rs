//! One bijector over the channels, at every pixel of an image.

use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{check_columns, columns, per_row};
use flows_core::{
    Batch, Bijector, Context, Costs, Error, LogDet, Mapped, Mode, NoneTape, Parameters, PerRow,
    Purpose, PutTape, Real, Result, SplitTape, Stream, Values, Work, derive,
};

use crate::image::Shape;

/// Applies a bijector of C features to the C channels of each pixel; the log-det is the sum over
/// pixels.
///
/// With [`LuLinear`](crate::LuLinear) it is the invertible 1 x 1 convolution of Glow, with
/// [`ActNorm`](crate::ActNorm) or batch normalisation the layer with one scale a channel, whose
/// statistics then run over rows and pixels. Inside, each pixel is a row of its own; context is
/// repeated for every pixel of a row.
///
/// # Reference
/// Kingma, Dhariwal, *Glow: Generative flow with invertible 1x1 convolutions*, NeurIPS 2018, section
/// 3.2. <https://arxiv.org/abs/1807.03039>
#[derive(Debug)]
pub struct Pixelwise<B> {
    inner: B,
    shape: Shape,
}

impl<B> Pixelwise<B> {
    /// `inner` at every pixel of images of the given size.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless `inner` has as many features as there are channels;
    /// [`Error::Parameter`] without pixels.
    pub fn new<E: Real>(inner: B, shape: Shape) -> Result<Self>
    where
        B: Bijector<E>,
    {
        let (expected, got) = (shape.channels, inner.dim());
        if expected != got {
            return Err(Error::Dimension { op: "bijector of a pixel", expected, got });
        }
        if shape.pixels() == 0 {
            let (name, requirement) = ("pixels of an image", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        Ok(Self { inner, shape })
    }

    /// `(rows, C H W)` as `(rows H W, C)`.
    fn split<E: Real, T: Mode<E>>(&self, images: &Batch<E>, tape: &mut T) -> Result<Batch<E>> {
        check_columns("pixels", images, self.shape.dim())?;
        let Shape { channels, .. } = self.shape;
        let pixels = self.shape.pixels();
        let values = transposed(&images.values(), channels, pixels);
        let back = move |gradient: &[E]| vec![transposed(gradient, pixels, channels)];
        derive(&[images], (values, images.rows() * pixels, channels), back, tape)
    }

    /// `(rows H W, C)` as `(rows, C H W)`.
    fn merge<E: Real, T: Mode<E>>(&self, points: &Batch<E>, tape: &mut T) -> Result<Batch<E>> {
        let Shape { channels, .. } = self.shape;
        let pixels = self.shape.pixels();
        let values = transposed(&points.values(), pixels, channels);
        let back = move |gradient: &[E]| vec![transposed(gradient, channels, pixels)];
        derive(&[points], (values, points.rows() / pixels, self.shape.dim()), back, tape)
    }

    /// The context of every pixel: that of its row.
    fn repeat<E: Real, T: Mode<E>>(
        &self,
        context: &Context<E>,
        tape: &mut T,
    ) -> Result<Context<E>> {
        let Some(features) = context.features() else {
            return Ok(Context::none());
        };
        let (pixels, width) = (self.shape.pixels(), columns(features));
        let rows = features.values();
        let repeated: Vec<E> = rows.chunks(width.max(1)).flat_map(|r| r.repeat(pixels)).collect();
        let back = move |gradient: &[E]| {
            let images = gradient.chunks_exact((pixels * width).max(1));
            vec![images.flat_map(|image| sum_of_rows(image, width)).collect()]
        };
        let size = (repeated, features.rows() * pixels, width);
        Ok(Context::of(derive(&[features], size, back, tape)?))
    }

    fn map<E: Real, T: Mode<E>>(
        &self,
        input: Batch<E, T>,
        context: &Context<E>,
        inner: impl FnOnce(Batch<E, T>, &Context<E>) -> Result<Mapped<E, T>>,
    ) -> Result<Mapped<E, T>> {
        let (input, mut tape) = input.split_tape();
        let points = self.split(&input, &mut tape)?;
        let repeated = self.repeat(context, &mut tape)?;
        let inner = inner(points.put_tape(tape), &repeated)?;
        let Mapped { value, log_det, penalty, mut tape, work } = inner;
        let value = self.merge(&value, &mut tape)?;
        let log_det = sum_of_pixels(log_det, self.shape.pixels(), &mut tape)?;
        let pixels = self.shape.pixels();
        let penalty = penalty.map(|p| sum_of_pixels(p, pixels, &mut tape)).transpose()?;
        Ok(Mapped { value, log_det, penalty, tape, work })
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
    for row in matrix.chunks_exact(width) {
        for (total, &value) in total.iter_mut().zip(row) {
            *total += value;
        }
    }
    total
}

/// The sum of each `pixels` values in a row, on the tape.
fn sum_of_pixels<E: Real, T: Mode<E>>(
    terms: PerRow<E>,
    pixels: usize,
    tape: &mut T,
) -> Result<PerRow<E>> {
    let values = terms.values();
    let total = per_row(values.chunks_exact(pixels).map(|t| t.iter().copied().sum()).collect())?;
    if T::OWNS_TAPE {
        let result = total.clone();
        tape.add_backward_op(move |gradients| {
            let incoming = std::mem::take(&mut **gradients.get_or_alloc_mut(&result)?);
            let inner = gradients.get_or_alloc_mut(&terms)?;
            for (inner, &outer) in inner.chunks_exact_mut(pixels).zip(&incoming) {
                for gradient in inner {
                    *gradient += outer;
                }
            }
            Ok(())
        });
    }
    Ok(total)
}

impl<E: Real, B: Bijector<E>> Parameters<E> for Pixelwise<B> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.inner.visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.inner.visit_mut(f)
    }
}

impl<E: Real, B: Bijector<E>> Bijector<E> for Pixelwise<B> {
    fn dim(&self) -> usize {
        self.shape.dim()
    }

    fn costs(&self) -> Costs {
        self.inner.costs()
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.map(z, context, |z, context| self.inner.forward(z, context))
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.map(x, context, |x, context| self.inner.inverse(x, context))
    }

    fn forward_value(&self, z: Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        let (points, repeated) =
            (self.split(&z, &mut NoneTape)?, self.repeat(context, &mut NoneTape)?);
        let (value, work) = self.inner.forward_value(points, &repeated)?;
        Ok((self.merge(&value, &mut NoneTape)?, work))
    }

    fn log_det(&self) -> LogDet {
        self.inner.log_det()
    }

    fn set_purpose(&mut self, purpose: Purpose) {
        self.inner.set_purpose(purpose);
    }

    fn resample_probes(&mut self, rng: &mut Stream) {
        self.inner.resample_probes(rng);
    }

    fn initialise(&mut self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        let (points, repeated) =
            (self.split(&x, &mut NoneTape)?, self.repeat(context, &mut NoneTape)?);
        let points = self.inner.initialise(points, &repeated)?;
        self.merge(&points, &mut NoneTape)
    }
}

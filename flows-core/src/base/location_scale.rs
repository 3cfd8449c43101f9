//! What bases of independent features share: z = m + e^s u with u from a standard density of one
//! dimension, differentiable as a log-density and as a draw.

use crate::elementwise::vectorised;
use crate::operation::{LANES, Operation, Recorded, apply};
use crate::parameters::{Role, Visitor, VisitorMut};
use crate::tape::Tape;
use crate::tensor::{Batch, Values, batch, columns, set_values};
use crate::{Error, Real, Result, Scratch, Stream};

/// A density of one dimension, log f(u) = -cost(u) - constant.
pub(super) trait Standard: Clone + Send + Sync + 'static {
    /// Name for error messages.
    const NAME: &'static str;

    /// Minus the log-density up to the constant.
    fn cost<E: Real>(&self, u: E) -> E;

    /// The derivative of [`cost`](Self::cost).
    fn slope<E: Real>(&self, u: E) -> E;

    /// Log of the integral of exp(-cost).
    fn constant(&self) -> f64;

    /// An independent draw.
    fn draw(&self, rng: &mut Stream) -> f64;
}

/// Location and log-scale of every feature.
#[derive(Clone, Debug)]
pub(super) struct Moments<E: Real> {
    /// `(1, dim)`
    location: Batch<E>,
    /// `(1, dim)`
    log_scale: Batch<E>,
}

impl<E: Real> Moments<E> {
    /// Location 0, scale 1.
    pub(super) fn new(dim: usize) -> Result<Self> {
        let zeros = || batch(vec![E::zero(); dim], 1, dim);
        Ok(Self { location: zeros()?, log_scale: zeros()? })
    }

    pub(super) fn dim(&self) -> usize {
        columns(&self.location)
    }

    /// Log-density of each row of `z`, `(rows, 1)`.
    pub(super) fn log_density<S: Standard>(
        &self,
        standard: S,
        z: &Batch<E>,
        tape: &mut Tape<E>,
    ) -> Result<Batch<E>> {
        Ok(apply(LogDensity(standard), &[z], &self.tensors(), tape)?.remove(0))
    }

    /// Draws that are differentiable in location and log-scale.
    pub(super) fn draw<S: Standard>(
        &self,
        standard: &S,
        rows: usize,
        tape: &mut Tape<E>,
        rng: &mut Stream,
    ) -> Result<Batch<E>> {
        let dim = self.dim();
        let noise = (0..rows * dim).map(|_| E::of(standard.draw(rng))).collect();
        let noise = batch(noise, rows, dim)?;
        Ok(apply(Draw { dim }, &[&noise], &self.tensors(), tape)?.remove(0))
    }

    /// Sets location and log-scale of each feature to what `estimate` makes of its column.
    pub(super) fn fit(
        &mut self,
        z: &Batch<E>,
        estimate: impl Fn(&[f64]) -> [f64; 2],
    ) -> Result<()> {
        let (dim, values) = (self.dim(), z.values());
        let (mut location, mut log_scale) = (Vec::with_capacity(dim), Vec::with_capacity(dim));
        for j in 0..dim {
            let column: Vec<f64> = values.iter().skip(j).step_by(dim).map(|v| v.as_f64()).collect();
            let [m, s] = estimate(&column);
            if !(m.is_finite() && s.is_finite()) {
                let row = column.iter().position(|v| !v.is_finite()).unwrap_or(0);
                let advice = "remove constant columns and rows that are not finite";
                return Err(Error::NonFinite { quantity: "log scale of the base", row, advice });
            }
            location.push(E::of(m));
            log_scale.push(E::of(s));
        }
        set_values(&mut self.location, &location)?;
        set_values(&mut self.log_scale, &log_scale)
    }

    pub(super) fn visit(&self, f: &mut Visitor<'_, E>) {
        f("location", Role::Learned, &self.location);
        f("log_scale", Role::Learned, &self.log_scale);
    }

    pub(super) fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        f("location", Role::Learned, &mut self.location)?;
        f("log_scale", Role::Learned, &mut self.log_scale)
    }

    fn tensors(&self) -> [Batch<E>; 2] {
        [self.location.clone(), self.log_scale.clone()]
    }
}

/// Median of a sorted column; anything between the two middle values serves a column of even length.
fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { 0.5 * (sorted[half - 1] + sorted[half]) }
}

/// Median and mean absolute deviation from it.
pub(super) fn median_and_deviation(column: &[f64]) -> [f64; 2] {
    let mut sorted = column.to_vec();
    sorted.sort_by(f64::total_cmp);
    let centre = median(&sorted);
    let deviation = column.iter().map(|x| (x - centre).abs()).sum::<f64>() / column.len() as f64;
    [centre, deviation]
}

/// Sum over features of log f(u) - s, u = e^-s (z - m); m = s = 0 without parameters.
///
/// With c = cost'(u): d/dz = -c e^-s, d/dm = c e^-s, d/ds = c u - 1.
pub(super) struct LogDensity<S>(pub(super) S);

/// Location and log-scale of feature `i`.
fn moments<E: Real>(parameters: &[&[E]], i: usize) -> (E, E) {
    match parameters {
        [location, log_scale] => (location[i], log_scale[i]),
        _ => (E::zero(), E::zero()),
    }
}

impl<E: Real, S: Standard> Operation<E> for LogDensity<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let sums = &mut *outputs[0];
        for (i, z) in inputs[0].chunks_exact(LANES).enumerate() {
            let (location, log_scale) = moments(parameters, i);
            let inverse = (-log_scale).exp();
            let constant = log_scale + E::of(self.0.constant());
            vectorised(
                #[inline(always)]
                || {
                    for (sum, &z) in sums.iter_mut().zip(z) {
                        *sum -= self.0.cost((z - location) * inverse) + constant;
                    }
                },
            );
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()> {
        let outer = output_gradients[0];
        for (i, z) in block.inputs[0].chunks_exact(LANES).enumerate() {
            let (location, log_scale) = moments(block.parameters, i);
            let inverse = (-log_scale).exp();
            let inner = &mut input_gradients[0][i * LANES..(i + 1) * LANES];
            let (mut d_location, mut d_log_scale) = (E::zero(), E::zero());
            vectorised(
                #[inline(always)]
                || {
                    for ((gradient, &z), &outer) in inner.iter_mut().zip(z).zip(outer) {
                        let u = (z - location) * inverse;
                        let slope = self.0.slope(u);
                        *gradient = -(slope * inverse * outer);
                        d_location += slope * inverse * outer;
                        d_log_scale += (slope * u - E::one()) * outer;
                    }
                },
            );
            if let [locations, log_scales] = parameter_gradients {
                locations[i] += d_location;
                log_scales[i] += d_log_scale;
            }
        }
        Ok(())
    }
}

/// z = m + e^s u for fixed u: d/dm = 1, d/ds = z - m.
struct Draw {
    dim: usize,
}

impl<E: Real> Operation<E> for Draw {
    fn name(&self) -> &'static str {
        "draws of a base"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let blocks = inputs[0].chunks_exact(LANES).zip(outputs[0].chunks_exact_mut(LANES));
        for (i, (noise, z)) in blocks.enumerate() {
            let (location, scale) = (parameters[0][i], parameters[1][i].exp());
            for (z, &noise) in z.iter_mut().zip(noise) {
                *z = noise * scale + location;
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        _: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()> {
        let noise = block.inputs[0].chunks_exact(LANES);
        for (i, (noise, outer)) in noise.zip(output_gradients[0].chunks_exact(LANES)).enumerate() {
            let scale = block.parameters[1][i].exp();
            for (&noise, &outer) in noise.iter().zip(outer) {
                parameter_gradients[0][i] += outer;
                parameter_gradients[1][i] += outer * noise * scale;
            }
        }
        Ok(())
    }
}

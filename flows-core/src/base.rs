//! Base distributions: standard normal, diagonal normal, uniform box (review, Section 2.1).

use rand::RngExt;

use crate::operation::{LANES, Operation, Recorded, apply, column};
use crate::parameters::{Parameters, Role, Visitor, VisitorMut};
use crate::tensor::{
    Batch, Mode, PerRow, SplitTape, Values, batch, check_columns, columns, set_values,
};
use crate::{Error, Real, Result, Stream, normals};

/// ln(2 pi) / 2
const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_8;

/// Log-density of N(0, I) at a point, in double precision.
pub(crate) fn standard_normal_log_density<E: Real>(point: &[E]) -> f64 {
    point.iter().map(|v| -0.5 * v.as_f64().powi(2) - HALF_LN_TWO_PI).sum()
}

/// The distribution that a flow transforms.
#[derive(Clone, Debug)]
pub enum Base<E: Real> {
    /// N(0, I)
    StandardNormal(StandardNormal),
    /// N(location, diag(scale)^2), both learned.
    DiagonalNormal(DiagonalNormal<E>),
    /// Uniform on a box.
    UniformBox(UniformBox),
}

/// N(0, I) in `dim` dimensions.
#[derive(Clone, Debug)]
pub struct StandardNormal {
    dim: usize,
}

/// Independent normals with learned location and scale = exp(log_scale).
#[derive(Clone, Debug)]
pub struct DiagonalNormal<E: Real> {
    /// `(1, dim)`
    location: Batch<E>,
    /// `(1, dim)`
    log_scale: Batch<E>,
}

/// Uniform between `low` and `high` in every dimension; log-density minus infinity outside.
#[derive(Clone, Debug)]
pub struct UniformBox {
    low: Vec<f64>,
    high: Vec<f64>,
}

impl<E: Real> Base<E> {
    /// N(0, I).
    #[must_use]
    pub fn standard_normal(dim: usize) -> Self {
        Self::StandardNormal(StandardNormal { dim })
    }

    /// A diagonal normal that starts as N(0, I).
    ///
    /// # Errors
    /// Never in practice; [`Error::Tensor`] is the tensor library's.
    pub fn diagonal_normal(dim: usize) -> Result<Self> {
        let zeros = || batch(vec![E::zero(); dim], 1, dim);
        Ok(Self::DiagonalNormal(DiagonalNormal { location: zeros()?, log_scale: zeros()? }))
    }

    /// Uniform on the box between `low` and `high`.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless there are as many ends of either kind; [`Error::Parameter`]
    /// unless every low end is below its high end and both are finite.
    pub fn uniform_box(low: Vec<f64>, high: Vec<f64>) -> Result<Self> {
        if low.len() != high.len() {
            let op = "uniform box";
            return Err(Error::Dimension { op, expected: low.len(), got: high.len() });
        }
        for (&low, &high) in low.iter().zip(&high) {
            if !(low < high && (high - low).is_finite()) {
                let requirement = "above its low end, both finite";
                return Err(Error::Parameter {
                    name: "high end of a box",
                    requirement,
                    value: high,
                });
            }
        }
        Ok(Self::UniformBox(UniformBox { low, high }))
    }

    /// Number of features.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::StandardNormal(base) => base.dim,
            Self::DiagonalNormal(base) => columns(&base.location),
            Self::UniformBox(base) => base.low.len(),
        }
    }

    /// Log-density in nats, a value a row.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless `z` has as many columns as the base.
    pub fn log_prob<T: Mode<E>>(&self, z: Batch<E, T>) -> Result<(PerRow<E>, T)> {
        check_columns("base distribution", &z, self.dim())?;
        let (z, mut tape) = z.split_tape();
        let mut outputs = match self {
            Self::StandardNormal(_) => apply(NormalLogDensity, &[&z], &[], &mut tape)?,
            Self::DiagonalNormal(base) => {
                let parameters = [base.location.clone(), base.log_scale.clone()];
                apply(NormalLogDensity, &[&z], &parameters, &mut tape)?
            }
            Self::UniformBox(base) => apply(BoxLogDensity::of(base), &[&z], &[], &mut tape)?,
        };
        let log_prob = column(outputs.remove(0), &mut tape)?;
        Ok((log_prob, tape))
    }

    /// Independent draws, `(rows, dim)`.
    ///
    /// # Errors
    /// Never in practice; [`Error::Tensor`] is the tensor library's.
    pub fn sample(&self, rows: usize, rng: &mut Stream) -> Result<Batch<E>> {
        let dim = self.dim();
        let values = match self {
            Self::StandardNormal(_) => normals(rows * dim, rng),
            Self::DiagonalNormal(base) => {
                let (location, log_scale) = (base.location.values(), base.log_scale.values());
                let draws: Vec<E> = normals(rows * dim, rng);
                let scaled =
                    |(i, &z): (usize, &E)| z * log_scale[i % dim].exp() + location[i % dim];
                draws.iter().enumerate().map(scaled).collect()
            }
            Self::UniformBox(base) => (0..rows * dim)
                .map(|i| E::of(rng.random_range(base.low[i % dim]..base.high[i % dim])))
                // Rounded like the ends, a draw stays between them.
                .collect(),
        };
        batch(values, rows, dim)
    }

    /// Sets learnable parameters to their maximum-likelihood values for the rows `z` (review,
    /// Section 2.3.1); bases without parameters stay as they are.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless the columns fit; [`Error::Parameter`] with fewer than 2 rows;
    /// [`Error::NonFinite`] if a column is constant or not finite.
    pub fn fit(&mut self, z: &Batch<E>) -> Result<()> {
        check_columns("base distribution", z, self.dim())?;
        match self {
            Self::DiagonalNormal(base) => base.fit(z),
            Self::StandardNormal(_) | Self::UniformBox(_) => Ok(()),
        }
    }
}

impl<E: Real> DiagonalNormal<E> {
    fn fit(&mut self, z: &Batch<E>) -> Result<()> {
        let (rows, dim, values) = (z.rows(), columns(z), z.values());
        if rows < 2 {
            let (name, requirement) = ("number of rows to fit a normal to", "at least 2");
            return Err(Error::Parameter { name, requirement, value: rows as f64 });
        }
        let column = |j: usize| values.iter().skip(j).step_by(dim).map(|v| v.as_f64());
        let mut location = Vec::with_capacity(dim);
        let mut log_scale = Vec::with_capacity(dim);
        for j in 0..dim {
            let mean = column(j).sum::<f64>() / rows as f64;
            let variance = column(j).map(|v| (v - mean).powi(2)).sum::<f64>() / rows as f64;
            let log_sd = 0.5 * variance.ln();
            if !log_sd.is_finite() {
                let row = column(j).position(|v| !v.is_finite()).unwrap_or(0);
                let advice = "remove constant columns and rows that are not finite";
                return Err(Error::NonFinite { quantity: "log scale of the base", row, advice });
            }
            location.push(E::of(mean));
            log_scale.push(E::of(log_sd));
        }
        set_values(&mut self.location, &location)?;
        set_values(&mut self.log_scale, &log_scale)
    }
}

impl<E: Real> Parameters<E> for Base<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        if let Self::DiagonalNormal(base) = self {
            f("location", Role::Learned, &base.location);
            f("log_scale", Role::Learned, &base.log_scale);
        }
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        if let Self::DiagonalNormal(base) = self {
            f("location", Role::Learned, &mut base.location)?;
            f("log_scale", Role::Learned, &mut base.log_scale)?;
        }
        Ok(())
    }
}

/// log N(z; m, e^s) = -sum of (e^-s (z - m))^2 / 2 + s + ln(2 pi) / 2; m = s = 0 without parameters.
struct NormalLogDensity;

/// Location and log-scale of feature `i`.
fn moments<E: Real>(parameters: &[&[E]], i: usize) -> (E, E) {
    match parameters {
        [location, log_scale] => (location[i], log_scale[i]),
        _ => (E::zero(), E::zero()),
    }
}

impl<E: Real> Operation<E> for NormalLogDensity {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "normal log-density"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        for (i, z) in inputs[0].chunks_exact(LANES).enumerate() {
            let (location, log_scale) = moments(parameters, i);
            let inverse = (-log_scale).exp();
            let constant = log_scale + E::of(HALF_LN_TWO_PI);
            for (sum, &z) in outputs[0].iter_mut().zip(z) {
                let standard = (z - location) * inverse;
                *sum -= E::of(0.5) * standard * standard + constant;
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let outer = output_gradients[0];
        for (i, z) in block.inputs[0].chunks_exact(LANES).enumerate() {
            let (location, log_scale) = moments(block.parameters, i);
            let inverse = (-log_scale).exp();
            let inner = &mut input_gradients[0][i * LANES..(i + 1) * LANES];
            for ((gradient, &z), &outer) in inner.iter_mut().zip(z).zip(outer) {
                let standard = (z - location) * inverse;
                *gradient = -(standard * inverse * outer);
                if let [d_location, d_log_scale] = parameter_gradients {
                    d_location[i] += standard * inverse * outer;
                    d_log_scale[i] += (standard * standard - E::one()) * outer;
                }
            }
        }
    }
}

/// Constant inside, minus infinity outside; its gradient is zero.
struct BoxLogDensity {
    low: Vec<f64>,
    high: Vec<f64>,
}

impl BoxLogDensity {
    fn of(base: &UniformBox) -> Self {
        Self { low: base.low.clone(), high: base.high.clone() }
    }
}

impl<E: Real> Operation<E> for BoxLogDensity {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "uniform log-density"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        _: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        for ((&low, &high), z) in self.low.iter().zip(&self.high).zip(inputs[0].chunks(LANES)) {
            let inside = E::of(-(high - low).ln());
            for (sum, &z) in outputs[0].iter_mut().zip(z) {
                *sum +=
                    if z >= E::of(low) && z <= E::of(high) { inside } else { E::neg_infinity() };
            }
        }
        Ok(())
    }

    fn backward(&self, _: Recorded<'_, E, ()>, _: &[&[E]], _: &mut [&mut [E]], _: &mut [&mut [E]]) {
    }
}

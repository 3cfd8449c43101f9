//! Batch normalisation as a flow layer (review, Section 3.4).

use std::sync::{Mutex, PoisonError};

use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns, columns, set_values};
use flows_core::{
    Batch, Bijector, Context, Costs, Error, Mapped, Mode, Parameters, Purpose, Real, Result, Role,
    SplitTape, Stream, Values, Work, derive,
};

/// Added to variances, as in the original paper's successors and MAF.
const EPSILON: f64 = 1e-5;
/// Share of the latest batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// Normalises each feature of the data by statistics m, v of a batch or, outside of training, by
/// running ones.
///
/// ```text
/// z = (x - m) exp(gamma) / sqrt(v + eps) + beta           data to base
/// x = (z - beta) exp(-gamma) sqrt(v + eps) + m            base to data
/// log |dz/dx| = sum of gamma_i - ln(v_i + eps) / 2
/// ```
/// with eps = 1e-5. For [`Purpose::Training`] the data-to-base direction takes mean and (biased)
/// variance from the batch, with gradients through both: *rows then depend on their batch mates, by
/// design*, and the log-det is that of the map with the statistics held fixed. In every other case,
/// before any purpose is set, in base-to-data direction and for [`Purpose::Reporting`], the running
/// statistics are used and the layer is an elementwise affine map.
///
/// # Running statistics
/// They are saved with the model. A training pass leaves those of its batch (the variance unbiased,
/// or untouched by a single row), and the next change of parameters or probes moves the running ones
/// a tenth of the way, the first time all of it; batches that are not finite are left out.
/// [`Bijector::initialise`] sets them from the first batch.
///
/// # Reference
/// Ioffe, Szegedy, *Batch normalization*, ICML 2015, <https://arxiv.org/abs/1502.03167>; as a flow:
/// Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, ICLR 2017, section 3.7,
/// <https://arxiv.org/abs/1605.08803>; Papamakarios, Pavlakou, Murray, *Masked autoregressive flow*,
/// NeurIPS 2017, appendix B, <https://arxiv.org/abs/1705.07057>.
#[derive(Debug)]
pub struct BatchNorm<E: Real> {
    /// gamma, `(1, dim)`
    log_scale: Batch<E>,
    /// beta, `(1, dim)`
    shift: Batch<E>,
    /// `(1, dim)`
    running_mean: Batch<E>,
    /// `(1, dim)`
    running_variance: Batch<E>,
    /// `(1, 1)`: 1 once the running statistics have been set from data.
    initialised: Batch<E>,
    purpose: Purpose,
    /// What the latest training pass saw and the running statistics do not contain yet.
    latest: Mutex<Option<Moments>>,
}

/// Mean and variance (divided by the number of rows) of each feature.
#[derive(Clone, Debug)]
struct Moments {
    rows: usize,
    mean: Vec<f64>,
    variance: Vec<f64>,
}

impl Moments {
    fn of<E: Real>(x: &Batch<E>) -> Self {
        let (rows, dim, values) = (x.rows(), columns(x), x.values());
        let share = 1.0 / rows.max(1) as f64;
        let mut mean = vec![0.0; dim];
        for (index, value) in values.iter().enumerate() {
            mean[index % dim] += value.as_f64() * share;
        }
        let mut variance = vec![0.0; dim];
        for (index, value) in values.iter().enumerate() {
            variance[index % dim] += (value.as_f64() - mean[index % dim]).powi(2) * share;
        }
        Self { rows, mean, variance }
    }
}

impl<E: Real> BatchNorm<E> {
    /// The identity but for eps, to be initialised from the first batch.
    ///
    /// # Errors
    /// Never in practice; [`Error::Tensor`] is the tensor library's.
    pub fn new(dim: usize) -> Result<Self> {
        let row = |value: E, dim| batch(vec![value; dim], 1, dim);
        Ok(Self {
            log_scale: row(E::zero(), dim)?,
            shift: row(E::zero(), dim)?,
            running_mean: row(E::zero(), dim)?,
            running_variance: row(E::one(), dim)?,
            initialised: row(E::zero(), 1)?,
            purpose: Purpose::Reporting,
            latest: Mutex::new(None),
        })
    }

    fn map<T: Mode<E>, const INVERSE: bool>(&self, input: Batch<E, T>) -> Result<Mapped<E, T>> {
        let dim = columns(&self.shift);
        check_columns("batch norm", &input, dim)?;
        let (input, mut tape) = input.split_tape();
        let [mean, deviation] = if INVERSE && self.purpose == Purpose::Training {
            self.batch_statistics(&input, &mut tape)?
        } else {
            let variances = self.running_variance.values();
            let deviations = variances.iter().map(|v| deviation(v.as_f64())).collect();
            [self.running_mean.clone(), batch(deviations, 1, dim)?]
        };
        let parameters = [mean, deviation, self.log_scale.clone(), self.shift.clone()];
        let operation = Normalisation::<INVERSE> { dim };
        let mut outputs = apply(operation, &[&input], &parameters, &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        Ok(Mapped::new(outputs.remove(0), log_det, tape, Work::default()))
    }

    /// Mean and deviation sqrt(v + eps) of a batch, which are left for the running ones.
    ///
    /// ```text
    /// dm/dx_r = 1 / n,   d sqrt(v + eps) / dx_r = (x_r - m) / (n sqrt(v + eps))
    /// ```
    fn batch_statistics<T: Mode<E>>(&self, x: &Batch<E>, tape: &mut T) -> Result<[Batch<E>; 2]> {
        let moments = Moments::of(x);
        let (rows, dim) = (x.rows(), columns(x));
        let means: Vec<E> = moments.mean.iter().map(|&m| E::of(m)).collect();
        let deviations: Vec<E> = moments.variance.iter().map(|&v| deviation(v)).collect();
        let share = E::of(1.0 / rows.max(1) as f64);
        let along_mean = move |gradient: &[E]| {
            let each: Vec<E> = gradient.iter().map(|&g| g * share).collect();
            vec![each.repeat(rows)]
        };
        let mean = derive(&[x], (means.clone(), 1, dim), along_mean, tape)?;
        let (values, spread) = (x.clone(), deviations.clone());
        let along_deviation = move |gradient: &[E]| {
            let slope = |(i, &x): (usize, &E)| (x - means[i % dim]) / spread[i % dim] * share;
            let slopes = values.values().iter().enumerate().map(slope).collect::<Vec<E>>();
            vec![slopes.iter().zip(gradient.iter().cycle()).map(|(&s, &g)| s * g).collect()]
        };
        let deviation = derive(&[x], (deviations, 1, dim), along_deviation, tape)?;
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(moments);
        Ok([mean, deviation])
    }

    /// Moves the running statistics towards what the latest training pass saw.
    fn settle(&mut self) -> Result<()> {
        let latest = self.latest.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Moments { rows, mean, variance }) = latest else {
            return Ok(());
        };
        let fresh = self.initialised.values() == [E::zero()];
        let share = if fresh { 1.0 } else { MOMENTUM };
        let moved = |running: &Batch<E>, latest: &[f64], share: f64| -> Vec<E> {
            let pairs = running.values().into_iter().zip(latest);
            pairs.map(|(old, new)| E::of(old.as_f64() + share * (new - old.as_f64()))).collect()
        };
        let unbiased = rows as f64 / rows.saturating_sub(1).max(1) as f64;
        let variance: Vec<f64> = variance.iter().map(|v| v * unbiased).collect();
        let means = moved(&self.running_mean, &mean, share);
        let informed = if rows > 1 { share } else { 0.0 };
        let variances = moved(&self.running_variance, &variance, informed);
        if rows == 0 || means.iter().chain(&variances).any(|v| !v.is_finite()) {
            return Ok(());
        }
        set_values(&mut self.running_mean, &means)?;
        set_values(&mut self.running_variance, &variances)?;
        set_values(&mut self.initialised, &[E::one()])
    }
}

/// sqrt(v + eps); a model file may hold anything.
fn deviation<E: Real>(variance: f64) -> E {
    E::of((variance.max(0.0) + EPSILON).sqrt())
}

impl<E: Real> Parameters<E> for BatchNorm<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        f("log_scale", Role::Learned, &self.log_scale);
        f("shift", Role::Learned, &self.shift);
        f("running_mean", Role::Fixed, &self.running_mean);
        f("running_variance", Role::Fixed, &self.running_variance);
        f("initialised", Role::Fixed, &self.initialised);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        // An optimiser's step ends here, so that what is saved after it lacks nothing.
        self.settle()?;
        f("log_scale", Role::Learned, &mut self.log_scale)?;
        f("shift", Role::Learned, &mut self.shift)?;
        f("running_mean", Role::Fixed, &mut self.running_mean)?;
        f("running_variance", Role::Fixed, &mut self.running_variance)?;
        f("initialised", Role::Fixed, &mut self.initialised)
    }
}

impl<E: Real> Bijector<E> for BatchNorm<E> {
    fn dim(&self) -> usize {
        columns(&self.shift)
    }

    fn costs(&self) -> Costs {
        Costs::CLOSED_FORM
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, false>(z)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, true>(x)
    }

    fn set_purpose(&mut self, purpose: Purpose) {
        self.purpose = purpose;
    }

    fn resample_probes(&mut self, _: &mut Stream) {
        // Cannot fail: the statistics have the sizes of the tensors.
        let _ = self.settle();
    }

    fn initialise(&mut self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        check_columns("batch norm", &x, self.dim())?;
        let rows = x.values();
        if let Some(index) = rows.iter().position(|v| !v.is_finite()) {
            let (quantity, advice) = ("input of batch norm", "check the data and earlier layers");
            return Err(Error::NonFinite { quantity, row: index / self.dim().max(1), advice });
        }
        if self.initialised.values() == [E::zero()] {
            *self.latest.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(Moments::of(&x));
            self.settle()?;
        }
        Ok(self.inverse(x, context)?.value)
    }
}

/// The affine map with parameters m, sqrt(v + eps), gamma, beta.
struct Normalisation<const INVERSE: bool> {
    dim: usize,
}

impl<const INVERSE: bool> Normalisation<INVERSE> {
    /// Factor, and what is subtracted before and added after it, of feature i.
    fn coefficients<E: Real>(parameters: &[&[E]], i: usize) -> (E, E, E) {
        let [mean, deviation, log_scale, shift] = [0, 1, 2, 3].map(|p: usize| parameters[p][i]);
        if INVERSE {
            (log_scale.exp() / deviation, mean, shift)
        } else {
            ((-log_scale).exp() * deviation, shift, mean)
        }
    }
}

impl<E: Real, const INVERSE: bool> Operation<E> for Normalisation<INVERSE> {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "batch norm"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim, 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let terms = parameters[1].iter().zip(parameters[2]);
        let total: E = terms.map(|(&deviation, &log_scale)| log_scale - deviation.ln()).sum();
        outputs[1].fill(if INVERSE { total } else { -total });
        let features = inputs[0].chunks_exact(LANES).zip(outputs[0].chunks_exact_mut(LANES));
        for (i, (input, output)) in features.enumerate() {
            let (factor, before, after) = Self::coefficients(parameters, i);
            for (output, &input) in output.iter_mut().zip(input) {
                *output = (input - before) * factor + after;
            }
        }
        Ok(())
    }

    /// With y = (x - a) k + b, where ln k = +-(gamma - ln s) is also the term of the log-det:
    /// ```text
    /// dx = k dy,   da = -k sum dy,   db = sum dy,   d ln k = sum (x - a) k dy + d log-det
    /// ```
    fn backward(
        &self,
        block: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let [d_mean, d_deviation, d_log_scale, d_shift] = parameter_gradients else {
            return;
        };
        let sign = if INVERSE { E::one() } else { -E::one() };
        let total: E = output_gradients[1].iter().copied().sum();
        for i in 0..self.dim {
            let (factor, before, _) = Self::coefficients(block.parameters, i);
            let lanes = i * LANES..(i + 1) * LANES;
            let outer = &output_gradients[0][lanes.clone()];
            let (mut along, mut sum) = (total, E::zero());
            for (&input, &outer) in block.inputs[0][lanes.clone()].iter().zip(outer) {
                along += (input - before) * factor * outer;
                sum += outer;
            }
            let (d_before, d_after) = if INVERSE {
                (&mut d_mean[i], &mut d_shift[i])
            } else {
                (&mut d_shift[i], &mut d_mean[i])
            };
            *d_before -= factor * sum;
            *d_after += sum;
            d_log_scale[i] += sign * along;
            d_deviation[i] -= sign * along / block.parameters[1][i];
            for (inner, &outer) in input_gradients[0][lanes].iter_mut().zip(outer) {
                *inner = outer * factor;
            }
        }
    }
}

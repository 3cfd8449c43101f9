//! Batch normalisation as a flow layer (review, Section 3.4).

use flows_core::lanes::{lanes, lanes_mut, named, named_mut};
use flows_core::operation::{Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns, columns, set_values};
use flows_core::{
    Batch, Bijector, Context, Direction, Error, Gradients, Mapped, Parameters, Purpose, Real,
    Result, Role, Scratch, Tape, Values, Work, custom_gradient,
};

/// Added to variances, as in MAF and later work.
const EPSILON: f64 = 1e-5;
/// Weight of the latest batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// Batch normalisation: normalises each feature by mean m and variance v of the batch or, outside
/// of training, by running statistics.
///
/// ```text
/// z = (x - m) exp(gamma) / sqrt(v + eps) + beta           data to base
/// x = (z - beta) exp(-gamma) sqrt(v + eps) + m            base to data
/// log |dz/dx| = sum of gamma_i - ln(v_i + eps) / 2
/// ```
/// with eps = 1e-5. For [`Purpose::Training`] the data-to-base direction takes mean and (biased)
/// variance from the batch, with gradients through both: *rows then depend on their batch, by
/// design*, and the log-det is that of the map with fixed statistics. A batch of one row is refused
/// there: its variance is 0, so that every row would become beta and its density exceed all bounds.
/// Otherwise (base to data, for
/// [`Purpose::Reporting`], before a purpose is set) the running statistics are used, and the layer
/// is an elementwise affine map.
///
/// # Running statistics
/// They are saved with the model. [`Bijector::end_step`] moves them a tenth of the way to those of
/// the step's batch (with unbiased variance), the first time all of it; batches that are not finite are left out. The backward pass of a training pass leaves mean,
/// variance and number of rows of the batch in the [`Gradients`], as the otherwise unused gradients
/// of the fixed tensors `running_mean`, `running_variance` and `initialised`. The last of several
/// passes on a tape counts. [`Bijector::initialise`] sets the statistics from the first batch.
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
}

/// # Errors
/// [`Error::Parameter`] for a training batch of one row, whose variance is 0: every row would become
/// beta, with a log-det of -ln(eps) / 2 a feature.
fn check_rows(rows: usize) -> Result<()> {
    if rows != 1 {
        return Ok(());
    }
    let name = "number of rows of a training batch with batch norm";
    let requirement =
        "at least 2, because one row has no variance (raise batch_rows, or use act-norm)";
    Err(Error::Parameter { name, requirement, value: 1.0 })
}

/// Mean and variance (divided by the number of rows) of each feature.
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

    /// Stores the moments as the gradients of the running statistics, unless a later pass did: the
    /// tape runs backwards.
    fn leave<E: Real>(
        &self,
        [mean, variance, rows]: &[Batch<E>; 3],
        gradients: &mut Gradients<E>,
    ) -> Result<()> {
        if gradients.of(rows)?.iter().any(|&rows| rows > E::zero()) {
            return Ok(());
        }
        gradients.add(rows, &[E::of(self.rows as f64)])?;
        let cast = |values: &[f64]| values.iter().map(|&v| E::of(v)).collect::<Vec<E>>();
        gradients.add(mean, &cast(&self.mean))?;
        gradients.add(variance, &cast(&self.variance))
    }

    /// The moments that [`leave`](Self::leave) stored, with 0 rows if there was no training pass.
    fn left<E: Real>(
        [mean, variance, rows]: [&Batch<E>; 3],
        gradients: &mut Gradients<E>,
    ) -> Result<Self> {
        let mut wide = |tensor| -> Result<Vec<f64>> {
            Ok(gradients.take(tensor)?.iter().map(|v: &E| v.as_f64()).collect())
        };
        let rows = wide(rows)?.iter().sum::<f64>() as usize;
        Ok(Self { rows, mean: wide(mean)?, variance: wide(variance)? })
    }
}

impl<E: Real> BatchNorm<E> {
    /// The identity up to eps, to be initialised from the first batch.
    ///
    /// # Errors
    /// [`Error::Tensor`] if memory runs out.
    pub fn new(dim: usize) -> Result<Self> {
        let row = |value: E, dim| batch(vec![value; dim], 1, dim);
        Ok(Self {
            log_scale: row(E::zero(), dim)?,
            shift: row(E::zero(), dim)?,
            running_mean: row(E::zero(), dim)?,
            running_variance: row(E::one(), dim)?,
            initialised: row(E::zero(), 1)?,
            purpose: Purpose::Reporting,
        })
    }

    fn map(
        &self,
        direction: Direction,
        input: &Batch<E>,
        context: &Context<E>,
        tape: &mut Tape<E>,
    ) -> Result<Mapped<E>> {
        let dim = self.dim();
        check_columns("batch norm", input, dim)?;
        context.check("batch norm", 0, input.rows())?;
        let [mean, deviation] = if direction == Direction::Inverse && self.depends_on_batch() {
            check_rows(input.rows())?;
            self.batch_statistics(input, tape)?
        } else {
            let variances = self.running_variance.values();
            let deviations = variances.iter().map(|v| deviation(v.as_f64())).collect();
            // Copies, whose gradients are not read.
            [batch(self.running_mean.values(), 1, dim)?, batch(deviations, 1, dim)?]
        };
        let parameters = [mean, deviation, self.log_scale.clone(), self.shift.clone()];
        let mut outputs = apply(Normalisation { dim, direction }, &[input], &parameters, tape)?;
        let log_det = column(outputs.remove(1), tape)?;
        Ok(Mapped::new(outputs.remove(0), log_det, Work::default()))
    }

    /// Mean and deviation sqrt(v + eps) of a batch; the backward pass leaves its moments for
    /// [`Bijector::end_step`].
    ///
    /// ```text
    /// dm/dx_r = 1 / n,   d sqrt(v + eps) / dx_r = (x_r - m) / (n sqrt(v + eps))
    /// ```
    fn batch_statistics(&self, x: &Batch<E>, tape: &mut Tape<E>) -> Result<[Batch<E>; 2]> {
        let moments = Moments::of(x);
        let (rows, dim) = (x.rows(), columns(x));
        let means: Vec<E> = moments.mean.iter().map(|&m| E::of(m)).collect();
        let deviations: Vec<E> = moments.variance.iter().map(|&v| deviation(v)).collect();
        let share = E::of(1.0 / rows.max(1) as f64);
        let along_mean = move |gradient: &[E]| {
            let each: Vec<E> = gradient.iter().map(|&g| g * share).collect();
            vec![each.repeat(rows)]
        };
        let mean = custom_gradient(&[x], (means.clone(), 1, dim), along_mean, tape)?;
        let (values, spread) = (x.clone(), deviations.clone());
        let along_deviation = move |gradient: &[E]| {
            let slope = |(i, &x): (usize, &E)| (x - means[i % dim]) / spread[i % dim] * share;
            let slopes = values.values().iter().enumerate().map(slope).collect::<Vec<E>>();
            vec![slopes.iter().zip(gradient.iter().cycle()).map(|(&s, &g)| s * g).collect()]
        };
        let deviation = custom_gradient(&[x], (deviations, 1, dim), along_deviation, tape)?;
        let targets = self.statistics().map(Clone::clone);
        tape.record(move |gradients| moments.leave(&targets, gradients));
        Ok([mean, deviation])
    }

    fn statistics(&self) -> [&Batch<E>; 3] {
        [&self.running_mean, &self.running_variance, &self.initialised]
    }

    /// Moves the running statistics towards those of a batch.
    fn follow(&mut self, Moments { rows, mean, variance }: &Moments) -> Result<()> {
        let fresh = self.initialised.values() == [E::zero()];
        let share = if fresh { 1.0 } else { MOMENTUM };
        let moved = |running: &Batch<E>, latest: &[f64], share: f64| -> Vec<E> {
            let pairs = running.values().into_iter().zip(latest);
            pairs.map(|(old, new)| E::of(old.as_f64() + share * (new - old.as_f64()))).collect()
        };
        let unbiased = *rows as f64 / rows.saturating_sub(1).max(1) as f64;
        let variance: Vec<f64> = variance.iter().map(|v| v * unbiased).collect();
        let means = moved(&self.running_mean, mean, share);
        let informed = if *rows > 1 { share } else { 0.0 };
        let variances = moved(&self.running_variance, &variance, informed);
        if *rows == 0 || means.iter().chain(&variances).any(|v| !v.is_finite()) {
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

    fn forward(&self, z: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.map(Direction::Forward, z, context, tape)
    }

    fn inverse(&self, x: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.map(Direction::Inverse, x, context, tape)
    }

    fn depends_on_batch(&self) -> bool {
        self.purpose == Purpose::Training
    }

    fn set_purpose(&mut self, purpose: Purpose) -> Result<()> {
        self.purpose = purpose;
        Ok(())
    }

    fn end_step(&mut self, gradients: &mut Gradients<E>) -> Result<()> {
        let latest = Moments::left(self.statistics(), gradients)?;
        self.follow(&latest)
    }

    fn initialise(&mut self, x: &Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        check_columns("batch norm", x, self.dim())?;
        let rows = x.values();
        if let Some(index) = rows.iter().position(|v| !v.is_finite()) {
            let (quantity, advice) = ("input of batch norm", "check the data and earlier layers");
            return Err(Error::NonFinite { quantity, row: index / self.dim().max(1), advice });
        }
        if self.initialised.values() == [E::zero()] {
            self.follow(&Moments::of(x))?;
        }
        Ok(self.inverse(x, context, &mut Tape::none())?.value)
    }
}

/// The affine map with parameters m, sqrt(v + eps), gamma, beta.
struct Normalisation {
    dim: usize,
    direction: Direction,
}

impl Normalisation {
    /// +1 if the log-det is that of the data-to-base direction, else -1.
    fn sign<E: Real>(&self) -> E {
        match self.direction {
            Direction::Forward => -E::one(),
            Direction::Inverse => E::one(),
        }
    }

    /// Factor of feature i, and the shifts before and after it.
    fn coefficients<E: Real>(&self, parameters: &[&[E]], i: usize) -> (E, E, E) {
        let [mean, deviation, log_scale, shift] = named(parameters).map(|p: &[E]| p[i]);
        match self.direction {
            Direction::Forward => ((-log_scale).exp() * deviation, shift, mean),
            Direction::Inverse => (log_scale.exp() / deviation, mean, shift),
        }
    }
}

impl<E: Real> Operation<E> for Normalisation {
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
        _: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [value, log_det] = named_mut(outputs);
        let terms = parameters[1].iter().zip(parameters[2]);
        let total: E = terms.map(|(&deviation, &log_scale)| log_scale - deviation.ln()).sum();
        log_det.fill(self.sign::<E>() * total);
        for i in 0..self.dim {
            let (factor, before, after) = self.coefficients(parameters, i);
            for (value, &input) in lanes_mut(value, i).iter_mut().zip(lanes(inputs[0], i)) {
                *value = (input - before) * factor + after;
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
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()> {
        let [d_value, d_log_det] = named(output_gradients);
        let [d_mean, d_deviation, d_log_scale, d_shift] = named_mut(parameter_gradients);
        let (d_before, d_after) = match self.direction {
            Direction::Forward => (d_shift, d_mean),
            Direction::Inverse => (d_mean, d_shift),
        };
        let sign = self.sign::<E>();
        let total: E = d_log_det.iter().copied().sum();
        for i in 0..self.dim {
            let (factor, before, _) = self.coefficients(block.parameters, i);
            let outer = lanes(d_value, i);
            let (mut along, mut sum) = (total, E::zero());
            for (&input, &outer) in lanes(block.inputs[0], i).iter().zip(outer) {
                along += (input - before) * factor * outer;
                sum += outer;
            }
            d_before[i] -= factor * sum;
            d_after[i] += sum;
            d_log_scale[i] += sign * along;
            d_deviation[i] -= sign * along / block.parameters[1][i];
            let inner = lanes_mut(input_gradients[0], i).iter_mut();
            inner.zip(outer).for_each(|(inner, &outer)| *inner = outer * factor);
        }
        Ok(())
    }
}

//! Elementwise affine map with data-dependent initialisation (review, Section 3.4).

use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns, columns, set_values};
use flows_core::{
    Batch, Bijector, Context, Costs, Error, Mapped, Mode, Parameters, Real, Result, Role,
    SplitTape, Values, Work,
};

/// x = exp(s) z + t with one s and one t for each feature.
///
/// [`Bijector::initialise`] sets s and t once, so that the first batch has mean 0 and standard
/// deviation 1 in every feature of base space; afterwards they are trained like any parameter.
///
/// # Reference
/// Kingma, Dhariwal, *Glow*, NeurIPS 2018, section 3.1. <https://arxiv.org/abs/1807.03039>
#[derive(Debug)]
pub struct ActNorm<E: Real> {
    /// `(1, dim)`
    log_scale: Batch<E>,
    /// `(1, dim)`
    shift: Batch<E>,
    /// `(1, 1)`: 1 once initialised, so that resuming a run does not do it again.
    initialised: Batch<E>,
}

impl<E: Real> ActNorm<E> {
    /// The identity, to be initialised from the first batch.
    ///
    /// # Errors
    /// Never in practice; [`Error::Tensor`] is the tensor library's.
    pub fn new(dim: usize) -> Result<Self> {
        let zeros = |dim| batch(vec![E::zero(); dim], 1, dim);
        Ok(Self { log_scale: zeros(dim)?, shift: zeros(dim)?, initialised: zeros(1)? })
    }

    fn map<T: Mode<E>, const INVERSE: bool>(&self, input: Batch<E, T>) -> Result<Mapped<E, T>> {
        check_columns("act-norm", &input, columns(&self.shift))?;
        let (input, mut tape) = input.split_tape();
        let parameters = [self.log_scale.clone(), self.shift.clone()];
        let operation = ActNormOperation::<INVERSE> { dim: columns(&self.shift) };
        let mut outputs = apply(operation, &[&input], &parameters, &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        Ok(Mapped::new(outputs.remove(0), log_det, tape, Work::default()))
    }

    fn initialise_from(&mut self, x: &Batch<E>) -> Result<()> {
        let (rows, dim, values) = (x.rows(), columns(x), x.values());
        let mut shift = Vec::with_capacity(dim);
        let mut log_scale = Vec::with_capacity(dim);
        for j in 0..dim {
            let column = || values.iter().skip(j).step_by(dim).map(|v| v.as_f64());
            let mean = column().sum::<f64>() / rows as f64;
            let variance = column().map(|v| (v - mean).powi(2)).sum::<f64>() / rows as f64;
            if !mean.is_finite() {
                let row = column().position(|v| !v.is_finite()).unwrap_or(0);
                let (quantity, advice) = ("input of act-norm", "check the data and earlier layers");
                return Err(Error::NonFinite { quantity, row, advice });
            }
            shift.push(E::of(mean));
            // A constant feature (one row, say) keeps scale 1.
            log_scale.push(E::of(if variance > 0.0 { 0.5 * variance.ln() } else { 0.0 }));
        }
        set_values(&mut self.shift, &shift)?;
        set_values(&mut self.log_scale, &log_scale)?;
        set_values(&mut self.initialised, &[E::one()])
    }
}

impl<E: Real> Parameters<E> for ActNorm<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        f("log_scale", Role::Learned, &self.log_scale);
        f("shift", Role::Learned, &self.shift);
        f("initialised", Role::Fixed, &self.initialised);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        f("log_scale", Role::Learned, &mut self.log_scale)?;
        f("shift", Role::Learned, &mut self.shift)?;
        f("initialised", Role::Fixed, &mut self.initialised)
    }
}

impl<E: Real> Bijector<E> for ActNorm<E> {
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

    fn initialise(&mut self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        check_columns("act-norm", &x, columns(&self.shift))?;
        if self.initialised.values() == [E::zero()] && x.rows() > 0 {
            self.initialise_from(&x)?;
        }
        Ok(self.inverse(x, context)?.value)
    }
}

struct ActNormOperation<const INVERSE: bool> {
    dim: usize,
}

impl<E: Real, const INVERSE: bool> Operation<E> for ActNormOperation<INVERSE> {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "act-norm"
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
        let (log_scale, shift) = (parameters[0], parameters[1]);
        let total: E = log_scale.iter().copied().sum();
        outputs[1].fill(if INVERSE { -total } else { total });
        let rows = inputs[0].chunks_exact(LANES).zip(outputs[0].chunks_exact_mut(LANES));
        for ((input, output), (&s, &t)) in rows.zip(log_scale.iter().zip(shift)) {
            let scale = if INVERSE { (-s).exp() } else { s.exp() };
            for (output, &input) in output.iter_mut().zip(input) {
                *output = if INVERSE { (input - t) * scale } else { input * scale + t };
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
        let [d_log_scale, d_shift] = parameter_gradients else {
            return;
        };
        let total: E = output_gradients[1].iter().copied().sum();
        for i in 0..self.dim {
            let (s, t) = (block.parameters[0][i], block.parameters[1][i]);
            let lanes = i * LANES..(i + 1) * LANES;
            let input = &block.inputs[0][lanes.clone()];
            let outer = &output_gradients[0][lanes.clone()];
            let scale = if INVERSE { (-s).exp() } else { s.exp() };
            let (mut along, mut sum) = (E::zero(), E::zero());
            for (&input, &outer) in input.iter().zip(outer) {
                // The derivative of the output for s is +- (output less what does not scale).
                along += if INVERSE { -(input - t) * scale * outer } else { input * scale * outer };
                sum += outer;
            }
            d_log_scale[i] += along + if INVERSE { -total } else { total };
            d_shift[i] += if INVERSE { -sum * scale } else { sum };
            for (inner, &outer) in input_gradients[0][lanes].iter_mut().zip(outer) {
                *inner = outer * scale;
            }
        }
    }
}

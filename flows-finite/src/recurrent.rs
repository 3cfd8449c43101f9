//! Autoregressive flows whose conditioner is a recurrent network (review, Section 3.1.2).

mod gru;

use std::ops::Range;

use flows_core::operation::{LANES, Operation, Recorded, apply_with, column};
use flows_core::parameters::{Visitor, VisitorMut, visit_part, visit_part_mut};
use flows_core::tensor::check_columns;
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Error, LastLayer, Mapped, Mode, Network, Parameters,
    Real, Result, SplitTape, Stream, Tally, Values, Work,
};

use crate::transformer::{Inner, Outer, Transformer};
use gru::{Gru, RECORDED};

/// An autoregressive layer with transformer `T` whose parameters come from a gated recurrent unit
/// that reads the features one after another; all features share its weights.
///
/// ```text
/// z_i = tau(x_i; theta_i),   theta_i = W_out h_i + b_out,   h_(i+1) = GRU([x_i, context], h_i)
/// ```
/// with h_1 = GRU([0, context], h_0) and h_0 learned. It conditions on the data side: z_i depends on
/// the features of x up to i, and x_i on those of z up to i, so the Jacobian is lower triangular:
///
/// ```text
/// log |det dz/dx| = sum over i of log tau'(x_i; theta_i)
/// ```
/// Either direction is D small steps, O(D n^2) for n units, one after another; the review (Section
/// 3.1.2) gives this as the reason why such conditioners are rare. Parameters grow with n, not D.
/// It starts as the identity, or as near to it as the transformer allows: W_out is zero and b_out the
/// parameters of the transformer's identity.
///
/// # Reference
/// Oliva et al., *Transformation Autoregressive Networks*, ICML 2018 (RAM with a GRU),
/// <https://arxiv.org/abs/1801.09819>; Kingma et al., *Improved Variational Inference with Inverse
/// Autoregressive Flow*, NeurIPS 2016 (the LSTM of Appendix C), <https://arxiv.org/abs/1606.04934>.
#[derive(Debug)]
pub struct Recurrent<E: Real, T: Transformer<E>> {
    wiring: Wiring,
    conditioner: Network<E, Gru>,
    transformer: T,
}

#[derive(Clone, Copy, Debug)]
struct Wiring {
    dim: usize,
    context: usize,
}

impl<E: Real, T: Transformer<E>> Recurrent<E, T> {
    /// For `dim` features, with `units` units in the state.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features or units.
    pub fn new(
        dim: usize,
        context_dim: usize,
        units: usize,
        transformer: T,
        rng: &mut Stream,
    ) -> Result<Self> {
        if dim == 0 || units == 0 {
            let name = "features and units of a recurrent layer";
            return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
        }
        let gru = Gru { inputs: context_dim + 1, units, outputs: transformer.arity() };
        let mut conditioner = Network::new(gru, LastLayer::Zero, rng)?;
        conditioner.offset_last_bias(&transformer.identity())?;
        let wiring = Wiring { dim, context: context_dim };
        Ok(Self { wiring, conditioner, transformer })
    }

    fn map<M: Mode<E>, const INVERSE: bool>(
        &self,
        input: Batch<E, M>,
        context: &Context<E>,
    ) -> Result<Mapped<E, M>> {
        check_columns("recurrent layer", &input, self.wiring.dim)?;
        context.check("context of a recurrent layer", self.wiring.context, input.rows())?;
        let (input, mut tape) = input.split_tape();
        let mut inputs = vec![&input];
        inputs.extend(context.features());
        let iterations = Tally::default();
        let operation = RecurrentOperation::<T, INVERSE> {
            dim: self.wiring.dim,
            gru: self.conditioner.kernel().clone(),
            transformer: self.transformer.clone(),
            iterations: iterations.clone(),
        };
        let tensors = self.conditioner.tensors();
        let mut outputs =
            apply_with(operation, &inputs, tensors, self.conditioner.values(), &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        let work = Work { iterations: iterations.largest(), ..Work::passes(1) };
        Ok(Mapped::new(outputs.remove(0), log_det, tape, work))
    }
}

impl<E: Real, T: Transformer<E>> Parameters<E> for Recurrent<E, T> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        visit_part(&self.conditioner, "conditioner", f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        visit_part_mut(&mut self.conditioner, "conditioner", f)
    }
}

impl<E: Real, T: Transformer<E>> Bijector<E> for Recurrent<E, T> {
    fn dim(&self) -> usize {
        self.wiring.dim
    }

    fn costs(&self) -> Costs {
        let closed = self.transformer.closed_inverse();
        let forward = if closed { Cost::Sequential } else { Cost::Iterative };
        Costs { forward, inverse: Cost::Sequential }
    }

    fn forward<M: Mode<E>>(&self, z: Batch<E, M>, context: &Context<E>) -> Result<Mapped<E, M>> {
        self.map::<M, false>(z, context)
    }

    fn inverse<M: Mode<E>>(&self, x: Batch<E, M>, context: &Context<E>) -> Result<Mapped<E, M>> {
        self.map::<M, true>(x, context)
    }
}

/// x to z by the transformer if `INVERSE`, z to x by the transformer's inverse if not.
struct RecurrentOperation<T, const INVERSE: bool> {
    dim: usize,
    gru: Gru,
    transformer: T,
    iterations: Tally,
}

/// What a block leaves: x, the states h_0 to h_D, what the steps recorded, and theta_1 to theta_D.
#[derive(Debug, Default)]
struct History<E> {
    x: Vec<E>,
    states: Vec<E>,
    records: Vec<E>,
    theta: Vec<E>,
}

/// Lanes of item `index`, each of so many rows.
fn lanes(index: usize, rows: usize) -> Range<usize> {
    index * rows * LANES..(index + 1) * rows * LANES
}

impl<T, const INVERSE: bool> RecurrentOperation<T, INVERSE> {
    /// The input of step i, `[x_(i-1), context]` with x_(-1) = 0; steps count from 0 here.
    fn input<E: Real>(&self, i: usize, x: &[E], context: &[E], input: &mut Vec<E>) {
        input.clear();
        match i.checked_sub(1) {
            None => input.resize(LANES, E::zero()),
            Some(before) => input.extend_from_slice(&x[lanes(before, 1)]),
        }
        input.extend_from_slice(context);
    }

    fn open<E: Real>(&self, parameters: &[&[E]], history: &mut History<E>) {
        let Gru { units, outputs, .. } = self.gru;
        history.x.resize(self.dim * LANES, E::zero());
        history.states.resize((self.dim + 1) * units * LANES, E::zero());
        history.records.resize(self.dim * RECORDED * units * LANES, E::zero());
        history.theta.resize(self.dim * outputs * LANES, E::zero());
        self.gru.initial(parameters, &mut history.states);
    }
}

impl<E: Real, T: Transformer<E>, const INVERSE: bool> Operation<E>
    for RecurrentOperation<T, INVERSE>
{
    type Workspace = History<E>;

    fn name(&self) -> &'static str {
        "recurrent layer"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim, 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        history: &mut History<E>,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [value, log_det] = outputs else {
            return Ok(());
        };
        let Gru { units, outputs: arity, .. } = self.gru;
        let context = inputs.get(1).copied().unwrap_or_default();
        self.open(parameters, history);
        let (mut input, mut iterations) = (Vec::new(), 0);
        for i in 0..self.dim {
            self.input(i, &history.x, context, &mut input);
            let (earlier, later) = history.states.split_at_mut((i + 1) * units * LANES);
            let state = &mut later[..units * LANES];
            let record = &mut history.records[lanes(i, RECORDED * units)];
            self.gru.step(parameters, &input, &earlier[lanes(i, units)], record, state);
            let theta = &mut history.theta[lanes(i, arity)];
            self.gru.output(parameters, state, theta);
            let (source, target) = (&inputs[0][lanes(i, 1)], &mut value[lanes(i, 1)]);
            if INVERSE {
                self.transformer.forward(source, theta, target, log_det)?;
                history.x[lanes(i, 1)].copy_from_slice(source);
            } else {
                iterations += self.transformer.inverse(source, theta, target, log_det)?;
                history.x[lanes(i, 1)].copy_from_slice(target);
            }
        }
        self.iterations.note(iterations);
        Ok(())
    }

    /// Back through time: when feature i has its turn, the later steps have left the gradient of its
    /// state, and of its x as their input. Data to base, that is added to what the transformer gives;
    /// base to data, to what comes in, before the transformer's inverse passes it on.
    fn backward(
        &self,
        block: Recorded<'_, E, History<E>>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let [d_value, log_slope] = output_gradients else {
            return;
        };
        let Gru { units, outputs: arity, .. } = self.gru;
        let (history, parameters) = (&*block.workspace, block.parameters);
        let context = block.inputs.get(1).copied().unwrap_or_default();
        let (mut input, mut back) = (Vec::new(), self.gru.backward());
        let mut d_theta = vec![E::zero(); arity * LANES];
        for i in (0..self.dim).rev() {
            let (x, theta) = (&history.x[lanes(i, 1)], &history.theta[lanes(i, arity)]);
            let target = &mut input_gradients[0][lanes(i, 1)];
            let inner = Inner { value: &mut *target, theta: &mut d_theta };
            if INVERSE {
                let outer = Outer { value: &d_value[lanes(i, 1)], log_slope };
                self.transformer.forward_gradient(x, theta, outer, inner);
                add(target, &back.input[..LANES]);
            } else {
                add(&mut back.input[..LANES], &d_value[lanes(i, 1)]);
                let outer = Outer { value: &back.input[..LANES], log_slope };
                self.transformer.inverse_gradient(x, theta, outer, inner);
            }
            let state = &history.states[lanes(i + 1, units)];
            self.gru.pull_output(parameters, state, &d_theta, &mut back, parameter_gradients);
            self.input(i, &history.x, context, &mut input);
            let record = &history.records[lanes(i, RECORDED * units)];
            let step = (input.as_slice(), &history.states[lanes(i, units)], record);
            self.gru.pull_step(parameters, step, &mut back, parameter_gradients);
            if let Some(d_context) = input_gradients.get_mut(1) {
                add(d_context, &back.input[LANES..]);
            }
        }
        Gru::pull_initial(&back, parameter_gradients);
    }
}

fn add<E: Real>(sum: &mut [E], terms: &[E]) {
    for (sum, &term) in sum.iter_mut().zip(terms) {
        *sum += term;
    }
}

//! Autoregressive flows with a recurrent conditioner (review, Section 3.1.2).

mod gru;

use std::ops::Range;
use std::sync::Arc;

use flows_core::lanes::add;
use flows_core::map::{Block, Pull};
use flows_core::operation::LANES;
use flows_core::{
    Cost, Costs, Direction, Error, HasLayout, Layout, Map, Real, Result, Scratch, Space, Stream,
    Work, constant_start, image_spaces,
};

use crate::transformer::{Inner, Outer, Transformer};
use gru::{Backward, Gru, RECORDED};

/// A recurrent autoregressive layer: a gated recurrent unit reads the features one after another
/// and outputs the parameters of the transformer; all features share its weights.
///
/// ```text
/// z_i = tau(x_i; theta_i),   theta_i = W_out h_i + b_out,   h_(i+1) = GRU([x_i, context], h_i)
/// ```
/// with h_1 = GRU([0, context], h_0) and h_0 learned. It conditions on the data side: z_i depends
/// on x up to i, and x_i on z up to i, so the Jacobian is lower triangular:
///
/// ```text
/// log |det dz/dx| = sum over i of log tau'(x_i; theta_i)
/// ```
/// Either direction takes D sequential steps, O(D n^2) for n units, which is why such conditioners
/// are rare (review, Section 3.1.2). The number of parameters grows with n, not D. It starts at the
/// transformer's [`initial`](Transformer::initial) parameters, the identity or near it: W_out is
/// zero and b_out these.
///
/// # Reference
/// Oliva et al., *Transformation Autoregressive Networks*, ICML 2018 (RAM with a GRU),
/// <https://arxiv.org/abs/1801.09819>; Kingma et al., *Improved Variational Inference with Inverse
/// Autoregressive Flow*, NeurIPS 2016 (the LSTM of Appendix C), <https://arxiv.org/abs/1606.04934>.
#[derive(Clone, Debug)]
pub struct Recurrent<E: Real> {
    dim: usize,
    gru: Gru,
    transformer: Arc<dyn Transformer<E>>,
}

/// States h_0 to h_D, records of the steps, and theta_1 to theta_D.
#[derive(Debug, Default)]
struct History<E> {
    states: Vec<E>,
    records: Vec<E>,
    theta: Vec<E>,
    /// Buffers: the input of a step, and those of the backward pass.
    input: Vec<E>,
    back: Backward<E>,
    d_theta: Vec<E>,
}

/// Range of the lanes of item `index` of `rows` rows each.
fn lanes(index: usize, rows: usize) -> Range<usize> {
    index * rows * LANES..(index + 1) * rows * LANES
}

impl<E: Real> Recurrent<E> {
    /// A layer of `dim` features with `units` units in the state.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features or units.
    pub fn new(
        dim: usize,
        context_dim: usize,
        units: usize,
        transformer: Arc<dyn Transformer<E>>,
    ) -> Result<Self> {
        if dim == 0 || units == 0 {
            let name = "features and units of a recurrent layer";
            return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
        }
        let gru = Gru { inputs: context_dim + 1, units, outputs: transformer.arity() };
        Ok(Self { dim, gru, transformer })
    }

    /// The input of step i, `[x_(i-1), context]` with x_(-1) = 0, i from 0.
    fn input(i: usize, x: &[E], context: &[E], input: &mut Vec<E>) {
        input.clear();
        match i.checked_sub(1) {
            None => input.resize(LANES, E::zero()),
            Some(before) => input.extend_from_slice(&x[lanes(before, 1)]),
        }
        input.extend_from_slice(context);
    }

    /// Maps x to z by the transformer, z to x by its inverse.
    fn run(&self, direction: Direction, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let Gru { units, outputs: arity, .. } = self.gru;
        let History { states, records, theta, input, .. } = scratch.or_default();
        states.resize((self.dim + 1) * units * LANES, E::zero());
        records.resize(self.dim * RECORDED * units * LANES, E::zero());
        theta.resize(self.dim * arity * LANES, E::zero());
        self.gru.initial(at.parameters, &mut states[lanes(0, units)]);
        let mut iterations = 0;
        for i in 0..self.dim {
            let x = if direction == Direction::Inverse { at.input } else { &*at.value };
            Self::input(i, x, at.context, input);
            let (earlier, later) = states.split_at_mut((i + 1) * units * LANES);
            let state = &mut later[..units * LANES];
            let record = &mut records[lanes(i, RECORDED * units)];
            self.gru.step(at.parameters, input, &earlier[lanes(i, units)], record, state);
            let theta = &mut theta[lanes(i, arity)];
            self.gru.output(at.parameters, state, theta);
            let (source, target) = (&at.input[lanes(i, 1)], &mut at.value[lanes(i, 1)]);
            if direction == Direction::Inverse {
                self.transformer.forward(source, theta, target, at.log_det)?;
            } else {
                iterations += self.transformer.inverse(source, theta, target, at.log_det)?;
            }
        }
        Ok(Work { iterations, ..Work::passes(1) })
    }

    /// Backpropagation through time: at feature i, the later steps have left the gradients of its
    /// state and of its x as their input. Data to base, the latter is added to what the transformer
    /// gives; base to data, to the incoming gradient, before the transformer's inverse gradient.
    fn pull(&self, direction: Direction, at: Pull<'_, '_, E>, scratch: &mut Scratch) {
        let Gru { units, outputs: arity, .. } = self.gru;
        let History { states, records, theta, input, back, d_theta } = scratch.left();
        self.gru.start_backward(back);
        d_theta.resize(arity * LANES, E::zero());
        let log_slope = at.d_log_det;
        let x = if direction == Direction::Inverse { at.input } else { at.value };
        for i in (0..self.dim).rev() {
            let (x_i, theta) = (&x[lanes(i, 1)], &theta[lanes(i, arity)]);
            let target = &mut at.d_input[lanes(i, 1)];
            let inner = Inner { value: &mut *target, theta: d_theta };
            if direction == Direction::Inverse {
                let outer = Outer { value: &at.d_value[lanes(i, 1)], log_slope };
                self.transformer.forward_gradient(x_i, theta, outer, inner);
                add(target, &back.input[..LANES]);
            } else {
                add(&mut back.input[..LANES], &at.d_value[lanes(i, 1)]);
                let outer = Outer { value: &back.input[..LANES], log_slope };
                self.transformer.inverse_gradient(x_i, theta, outer, inner);
            }
            let state = &states[lanes(i + 1, units)];
            self.gru.pull_output(at.parameters, state, d_theta, back, at.gradients);
            Self::input(i, x, at.context, input);
            let record = &records[lanes(i, RECORDED * units)];
            let step = (input.as_slice(), &states[lanes(i, units)], record);
            self.gru.pull_step(at.parameters, step, back, at.gradients);
            add(at.d_context, &back.input[LANES..]);
        }
        Gru::pull_initial(back, at.gradients);
    }
}

impl<E: Real> HasLayout for Recurrent<E> {
    fn layout(&self) -> Vec<Layout> {
        self.gru.layout().into_iter().map(|tensor| tensor.within("conditioner")).collect()
    }
}

impl<E: Real> Map<E> for Recurrent<E> {
    fn name(&self) -> &'static str {
        "recurrent layer"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn context_dim(&self) -> usize {
        self.gru.inputs - 1
    }

    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        let image = |space| self.transformer.image_space(space);
        image_spaces(self.transformer.name(), from, 0..self.dim, image)
    }

    fn costs(&self) -> Costs {
        let closed = self.transformer.closed_inverse();
        let forward = if closed { Cost::Sequential } else { Cost::Iterative };
        Costs { forward, inverse: Cost::Sequential }
    }

    fn start(&self, rng: &mut Stream) -> Result<Vec<Vec<f64>>> {
        constant_start(&self.layout(), &self.transformer.initial(), rng)
    }

    fn forward(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        self.run(Direction::Forward, at, scratch)
    }

    fn inverse(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        self.run(Direction::Inverse, at, scratch)
    }

    fn forward_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        self.pull(Direction::Forward, at, scratch);
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        self.pull(Direction::Inverse, at, scratch);
        Ok(())
    }
}

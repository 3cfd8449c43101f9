//! Vector fields dz/dt = f(t, z; context): perceptrons that know the time.

use std::borrow::Cow;
use std::fmt::Debug;

use flows_core::activation::Activation;
use flows_core::elementwise::sigmoid;
use flows_core::operation::{LANES, Recorded};
use flows_core::{Layout, Layouts, MlpKernel, MlpWorkspace, NetworkKernel, Real, Result};
use serde::{Deserialize, Serialize};

/// A vector field over one block of [`LANES`] rows, with Jacobian-vector products.
///
/// A row of a state or velocity block is `[value | tangent 1 | .. | tangent P]`, LANES wide each:
/// the velocity's tangents are J times the state's.
pub trait FieldKernel<E: Real>: Layouts {
    /// What an evaluation leaves for its backward pass.
    type Workspace: Default + Send + Debug;

    /// Number of features of the state.
    fn dim(&self) -> usize;

    /// Number of conditioning features.
    fn context_dim(&self) -> usize;

    /// Writes the velocity, `(dim, (1 + tangents) LANES)`, of a state of that shape.
    fn forward(
        &self,
        at: Instant<'_, E>,
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        velocity: &mut [E],
    );

    /// Given the gradient of the velocity (used as scratch space), writes that of the state and
    /// adds to those of the context and of the parameters.
    fn backward(
        &self,
        at: Instant<'_, E>,
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        gradients: FieldGradients<'_, '_, E>,
    );
}

/// Where a field is evaluated.
#[derive(Clone, Copy, Debug)]
pub struct Instant<'a, E> {
    /// Time.
    pub time: E,
    /// Tangents behind each value.
    pub tangents: usize,
    /// `(dim, (1 + tangents) LANES)`
    pub state: &'a [E],
    /// `(context dim, LANES)`
    pub context: &'a [E],
}

/// Gradients of one evaluation.
#[derive(Debug)]
pub struct FieldGradients<'a, 'b, E> {
    /// Of the velocity; used as scratch space.
    pub velocity: &'a mut [E],
    /// Of the state; written.
    pub state: &'a mut [E],
    /// Of the context; added to.
    pub context: &'a mut [E],
    /// Of the parameters; added to.
    pub parameters: &'a mut [&'b mut [E]],
}

/// How time enters the perceptron.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeInput {
    /// As one more input feature.
    #[default]
    Concat,
    /// In every layer: (W h + b) * sigmoid(g t + c) + d t.
    ConcatSquash,
}

/// A perceptron on state, context and time.
///
/// At a fixed time either way of feeding the time gives a perceptron with other weights and biases:
/// ```text
/// concat         W h + b + d t                              in the first layer
/// concatsquash   diag(s) W h + s * b + d t,  s = sigmoid(g t + c)   in every layer
/// ```
/// so an evaluation makes these and runs the plain perceptron with its tangents.
///
/// # Reference
/// Grathwohl et al., *FFJORD*, ICLR 2019, section 4 and the code released with it.
/// <https://arxiv.org/abs/1810.01367>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlpField {
    mlp: MlpKernel,
    dim: usize,
    context_dim: usize,
    time: TimeInput,
}

/// Parameters of the time in one layer of concatsquash, behind weight and bias of all layers.
const GATE: [&str; 3] = ["gate_slope", "gate_bias", "time_bias"];

impl MlpField {
    /// With hidden layers of the given widths.
    ///
    /// # Errors
    /// [`flows_core::Error::Parameter`] if a width is 0.
    pub fn new(
        dim: usize,
        context_dim: usize,
        hidden: &[usize],
        activation: Activation,
        time: TimeInput,
    ) -> Result<Self> {
        let mlp = MlpKernel::new(dim + context_dim, hidden, dim, activation)?;
        Ok(Self { mlp, dim, context_dim, time })
    }

    fn layers(&self) -> usize {
        self.mlp.widths().len() - 1
    }

    /// Weights and biases of the perceptron at time `t`.
    fn at_time<'a, E: Real>(&self, t: E, parameters: &[&'a [E]]) -> Vec<Cow<'a, [E]>> {
        let (plain, timed) = parameters.split_at(2 * self.layers());
        let mut at: Vec<Cow<'a, [E]>> = plain.iter().map(|&p| Cow::Borrowed(p)).collect();
        match self.time {
            TimeInput::Concat => {
                for (bias, &slope) in at[1].to_mut().iter_mut().zip(timed[0]) {
                    *bias += slope * t;
                }
            }
            TimeInput::ConcatSquash => {
                for (layer, gate) in timed.chunks_exact(GATE.len()).enumerate() {
                    let scales = scales(t, gate);
                    let columns = self.mlp.widths()[layer];
                    let weight = at[2 * layer].to_mut();
                    for (row, &scale) in weight.chunks_exact_mut(columns).zip(&scales) {
                        row.iter_mut().for_each(|w| *w *= scale);
                    }
                    let bias = at[2 * layer + 1].to_mut().iter_mut();
                    for ((bias, &scale), &shift) in bias.zip(&scales).zip(gate[2]) {
                        *bias = *bias * scale + shift * t;
                    }
                }
            }
        }
        at
    }

    /// From gradients of the weights and biases at time `t` to those of the parameters.
    fn pull_time<E: Real>(
        &self,
        t: E,
        parameters: &[&[E]],
        at: &[Vec<E>],
        gradients: &mut [&mut [E]],
    ) {
        let (plain, timed) = gradients.split_at_mut(2 * self.layers());
        match self.time {
            TimeInput::Concat => {
                for (target, gradient) in plain.iter_mut().zip(at) {
                    add(target, gradient);
                }
                for (slope, &bias) in timed[0].iter_mut().zip(&at[1]) {
                    *slope += bias * t;
                }
            }
            TimeInput::ConcatSquash => {
                let gates = parameters[2 * self.layers()..].chunks_exact(GATE.len());
                for (layer, gate) in gates.enumerate() {
                    let layer_gradients = (
                        &mut plain[2 * layer..2 * layer + 2],
                        &mut timed[GATE.len() * layer..GATE.len() * (layer + 1)],
                    );
                    let values = (&parameters[2 * layer..2 * layer + 2], gate);
                    pull_gate(t, values, &at[2 * layer..2 * layer + 2], layer_gradients);
                }
            }
        }
    }
}

/// sigmoid(slope t + bias)
fn scales<E: Real>(t: E, gate: &[&[E]]) -> Vec<E> {
    gate[0].iter().zip(gate[1]).map(|(&slope, &bias)| sigmoid(slope * t + bias)).collect()
}

/// One layer of concatsquash. With gradients V of diag(s) W and v of s * b + d t:
/// dW = diag(s) V, db = s * v, dd = t v, ds = (V * W) 1 + v * b, and s' = s (1 - s).
fn pull_gate<E: Real>(
    t: E,
    (plain, gate): (&[&[E]], &[&[E]]),
    at: &[Vec<E>],
    (d_plain, d_gate): (&mut [&mut [E]], &mut [&mut [E]]),
) {
    let columns = plain[0].len() / plain[1].len();
    for (unit, &s) in scales(t, gate).iter().enumerate() {
        let row = unit * columns..(unit + 1) * columns;
        let mut ds = at[1][unit] * plain[1][unit];
        let weights = plain[0][row.clone()].iter().zip(&at[0][row.clone()]);
        for (target, (&weight, &gradient)) in d_plain[0][row].iter_mut().zip(weights) {
            *target += s * gradient;
            ds += weight * gradient;
        }
        d_plain[1][unit] += s * at[1][unit];
        let inner = ds * s * (E::one() - s);
        d_gate[0][unit] += inner * t;
        d_gate[1][unit] += inner;
        d_gate[2][unit] += at[1][unit] * t;
    }
}

fn add<E: Real>(sum: &mut [E], terms: &[E]) {
    for (sum, &term) in sum.iter_mut().zip(terms) {
        *sum += term;
    }
}

impl Layouts for MlpField {
    fn layout(&self) -> Vec<Layout> {
        let mut layout = self.mlp.layout();
        for part in &mut layout {
            // The time counts as an input where it is one.
            let first = matches!(part.name.as_str(), "weight0" | "bias0");
            part.fan_in += usize::from(first && self.time == TimeInput::Concat);
        }
        let row = |name: String, units: usize, fan_in: usize, last: bool| Layout {
            name,
            rows: 1,
            columns: units,
            fan_in,
            last,
        };
        let widths = self.mlp.widths();
        match self.time {
            TimeInput::Concat => {
                layout.push(row("time0".into(), widths[1], widths[0] + 1, self.layers() == 1));
            }
            TimeInput::ConcatSquash => {
                for layer in 0..self.layers() {
                    let last = layer + 1 == self.layers();
                    let part = |name| row(format!("{name}{layer}"), widths[layer + 1], 1, last);
                    layout.extend(GATE.map(part));
                }
            }
        }
        layout
    }
}

/// What one evaluation of a perceptron field leaves.
#[derive(Debug)]
pub struct MlpFieldWorkspace<E> {
    mlp: MlpWorkspace<E>,
    /// State and context stacked, where there is a context.
    input: Vec<E>,
}

impl<E: Default> Default for MlpFieldWorkspace<E> {
    fn default() -> Self {
        Self { mlp: MlpWorkspace::default(), input: Vec::new() }
    }
}

impl<E: Real> MlpFieldWorkspace<E> {
    /// The perceptron's input: the state, and below it the context with tangents zero.
    fn input<'a>(&'a mut self, at: Instant<'a, E>) -> (&'a [E], &'a mut MlpWorkspace<E>) {
        if at.context.is_empty() {
            return (at.state, &mut self.mlp);
        }
        self.input.clear();
        self.input.extend_from_slice(at.state);
        for row in at.context.chunks_exact(LANES) {
            self.input.extend_from_slice(row);
            self.input.resize(self.input.len() + at.tangents * LANES, E::zero());
        }
        (&self.input, &mut self.mlp)
    }
}

impl<E: Real> FieldKernel<E> for MlpField {
    type Workspace = MlpFieldWorkspace<E>;

    fn dim(&self) -> usize {
        self.dim
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    fn forward(
        &self,
        at: Instant<'_, E>,
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        velocity: &mut [E],
    ) {
        let current = self.at_time(at.time, parameters);
        let views: Vec<&[E]> = current.iter().map(AsRef::as_ref).collect();
        let (input, mlp) = workspace.input(at);
        self.mlp.forward_with_tangents(at.tangents, input, &views, mlp, velocity);
    }

    fn backward(
        &self,
        at: Instant<'_, E>,
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        gradients: FieldGradients<'_, '_, E>,
    ) {
        let current = self.at_time(at.time, parameters);
        let views: Vec<&[E]> = current.iter().map(AsRef::as_ref).collect();
        let mut sums: Vec<Vec<E>> = views.iter().map(|p| vec![E::zero(); p.len()]).collect();
        let mut slots: Vec<&mut [E]> = sums.iter_mut().map(Vec::as_mut_slice).collect();
        let stride = (1 + at.tangents) * LANES;
        let (input, mlp) = workspace.input(at);
        let block = Recorded { inputs: &[input], parameters: &views, workspace: mlp };
        let FieldGradients { velocity, state, context, parameters: targets } = gradients;
        if context.is_empty() {
            self.mlp.backward_with_tangents(at.tangents, block, velocity, state, &mut slots);
        } else {
            let inputs = NetworkKernel::<E>::inputs(&self.mlp);
            let mut inner = vec![E::zero(); inputs * stride];
            self.mlp.backward_with_tangents(at.tangents, block, velocity, &mut inner, &mut slots);
            let (own, below) = inner.split_at(self.dim * stride);
            state.copy_from_slice(own);
            let rows = below.chunks_exact(stride).zip(context.chunks_exact_mut(LANES));
            rows.for_each(|(row, target)| add(target, &row[..LANES]));
        }
        self.pull_time(at.time, parameters, &sums, targets);
    }
}

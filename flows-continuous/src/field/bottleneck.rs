//! Perceptron fields with a bottleneck, through which probes estimate the trace.

use flows_core::activation::Activation;
use flows_core::lanes::{add, add_product};
use flows_core::operation::{LANES, Recorded};
use flows_core::{HasLayout, Layout, MlpKernel, Real, Result, Scratch};

use crate::field::{FieldGradients, FieldInput, FieldKernel, Structure};
use crate::requirement::require_positive;

/// The bottleneck field of FFJORD: f = upper(lower(z, context, t), t) with a linear layer of H
/// units between two perceptrons, so that J = J_upper J_lower and
/// ```text
/// tr J = tr(J_lower J_upper) = E eps^T J_lower J_upper eps
/// ```
/// for probes eps of only H dimensions with E eps eps^T = I. The extra row is the mean of eps^T
/// J_lower J_upper eps over the given probes: unbiased, with variance `2 |S|^2` (Gaussian, the
/// squared Frobenius norm of the symmetric part) or `2 (|S|^2 - sum S_ii^2)` (Rademacher) over the
/// number of probes, S now `(H, H)`; exact for H orthogonal probes of length sqrt(H). With random
/// weights the variance falls by about H / dim; it can also rise, if J is symmetric and J_lower
/// J_upper is not.
/// Tensors: those of the two perceptrons, `lower.weight0` .. and `upper.weight0` ..
///
/// Cost of an evaluation: a pass through each part, widened by one for each tangent; with P probes
/// a second pass through the lower part, and both widened by P.
///
/// # Reference
/// Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud, *FFJORD*, ICLR 2019, section 3.1.1.
/// <https://arxiv.org/abs/1810.01367>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BottleneckField {
    dim: usize,
    context_dim: usize,
    narrow: usize,
    lower: MlpKernel,
    upper: MlpKernel,
}

/// Scratch of an evaluation.
#[derive(Debug, Default)]
struct BottleneckWorkspace<E> {
    lower: Pass<E>,
    upper: Pass<E>,
    /// The lower part applied to the output of the upper one.
    probed: Pass<E>,
    /// Gradient of a pass's output.
    outer: Vec<E>,
}

impl BottleneckField {
    /// A field with `hidden` layers on either side of a linear layer of `narrow` units; the
    /// activation has to be smooth.
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) if a width is 0.
    pub fn new(
        dim: usize,
        context_dim: usize,
        hidden: &[usize],
        narrow: usize,
        activation: Activation,
    ) -> Result<Self> {
        require_positive(&[("dimension", dim)])?;
        let lower = MlpKernel::new(dim + context_dim + 1, hidden, narrow, activation)?;
        let upper = MlpKernel::new(narrow + 1, hidden, dim, activation)?;
        Ok(Self { dim, context_dim, narrow, lower, upper })
    }
}

impl HasLayout for BottleneckField {
    fn layout(&self) -> Vec<Layout> {
        let lower = self.lower.layout().into_iter();
        let lower = lower.map(|layout| layout.in_last_layer(false).within("lower"));
        let upper = self.upper.layout().into_iter().map(|layout| layout.within("upper"));
        lower.chain(upper).collect()
    }
}

impl<E: Real> FieldKernel<E> for BottleneckField {
    fn dim(&self) -> usize {
        self.dim
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    fn structure(&self) -> Structure {
        Structure::Bottleneck(self.narrow)
    }

    fn forward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        velocity: &mut [E],
    ) {
        let BottleneckWorkspace { lower, upper, probed, .. } =
            scratch.or_default::<BottleneckWorkspace<E>>();
        let (below, above) = parameters.split_at(self.tensors_below());
        lower.start(at.tangents);
        lower.push(at.state, at.stride());
        lower.push(at.context, LANES);
        lower.push(at.time, LANES);
        lower.forward(&self.lower, below);
        upper.start(at.structure.map_or(at.tangents, |probes| self.probes(probes)));
        match at.structure {
            None => upper.push(&lower.output, at.stride()),
            Some(probes) => upper.push_probes(&lower.output, probes),
        }
        upper.push(at.time, LANES);
        upper.forward(&self.upper, above);
        let (velocity, row) = velocity.split_at_mut(self.dim * at.stride());
        let rows = velocity.chunks_exact_mut(at.stride());
        for (velocity, image) in rows.zip(upper.rows()) {
            velocity.copy_from_slice(&image[..at.stride()]);
        }
        if let Some(probes) = at.structure {
            probed.start(upper.tangents);
            probed.push_images(at.state, upper);
            probed.push(at.context, LANES);
            probed.push(at.time, LANES);
            probed.forward(&self.lower, below);
            contract(probes, probed, row);
        }
    }

    fn backward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        gradients: FieldGradients<'_, '_, E>,
    ) {
        let BottleneckWorkspace { lower, upper, probed, outer } =
            scratch.left::<BottleneckWorkspace<E>>();
        let FieldGradients { velocity, time, state, context, parameters: sums, .. } = gradients;
        let (below, above) = parameters.split_at(self.tensors_below());
        let (sums_below, sums_above) = sums.split_at_mut(self.tensors_below());
        let (velocity, tau) = velocity.split_at(self.dim * at.stride());
        state.fill(E::zero());
        outer.clear();
        if let Some(probes) = at.structure {
            pull_contraction(probes, probed.tangents, tau, outer);
            probed.backward(&self.lower, below, outer, sums_below);
            self.collect(probed, at.stride(), [&mut *state, &mut *context, &mut *time]);
            outer.clear();
            let rows = probed.d_input.chunks_exact(probed.stride());
            for (velocity, image) in velocity.chunks_exact(LANES).zip(rows) {
                outer.extend_from_slice(velocity);
                outer.extend_from_slice(&image[LANES..]);
            }
        } else {
            outer.extend_from_slice(velocity);
        }
        upper.backward(&self.upper, above, outer, sums_above);
        add(time, &upper.d_input[self.narrow * upper.stride()..][..LANES]);
        outer.clear();
        for row in upper.d_input.chunks_exact(upper.stride()).take(self.narrow) {
            outer.extend_from_slice(&row[..at.stride()]);
        }
        lower.backward(&self.lower, below, outer, sums_below);
        self.collect(lower, at.stride(), [state, context, time]);
    }
}

impl BottleneckField {
    fn tensors_below(&self) -> usize {
        self.lower.layout().len()
    }

    /// Number of probes.
    fn probes<E>(&self, structure: &[E]) -> usize {
        structure.len() / (self.narrow * LANES)
    }

    /// Adds the gradients of a lower part's inputs to those of state, context and time.
    fn collect<E: Real>(
        &self,
        pass: &Pass<E>,
        stride: usize,
        [state, context, time]: [&mut [E]; 3],
    ) {
        let mut rows = pass.d_input.chunks_exact(pass.stride());
        for (sum, row) in state.chunks_exact_mut(stride).zip(&mut rows) {
            add(sum, &row[..stride]);
        }
        for (sum, row) in context.chunks_exact_mut(LANES).chain([time]).zip(rows) {
            add(sum, &row[..LANES]);
        }
    }
}

/// A pass through one part: blocks of `(features, stride)`.
#[derive(Debug, Default)]
struct Pass<E> {
    tangents: usize,
    input: Vec<E>,
    output: Vec<E>,
    kept: Scratch,
    d_input: Vec<E>,
}

impl<E: Real> Pass<E> {
    fn stride(&self) -> usize {
        (1 + self.tangents) * LANES
    }

    fn rows(&self) -> impl Iterator<Item = &[E]> {
        self.output.chunks_exact(self.stride())
    }

    /// Clears the input.
    fn start(&mut self, tangents: usize) {
        self.tangents = tangents;
        self.input.clear();
    }

    /// Appends features to the input; missing tangents are zero.
    fn push(&mut self, features: &[E], stride: usize) {
        for row in features.chunks_exact(stride) {
            self.input.extend_from_slice(row);
            self.input.resize(self.input.len() + self.stride() - stride, E::zero());
        }
    }

    /// Appends features whose tangents are the probes.
    fn push_probes(&mut self, features: &[E], probes: &[E]) {
        for (index, row) in features.chunks_exact(LANES).enumerate() {
            self.input.extend_from_slice(row);
            for probe in probes.chunks_exact(features.len()) {
                self.input.extend_from_slice(&probe[index * LANES..][..LANES]);
            }
        }
    }

    /// Appends features whose tangents are those of another pass's output.
    fn push_images(&mut self, features: &[E], other: &Self) {
        for (row, image) in features.chunks_exact(LANES).zip(other.rows()) {
            self.input.extend_from_slice(row);
            self.input.extend_from_slice(&image[LANES..]);
        }
    }

    fn forward(&mut self, part: &MlpKernel, parameters: &[&[E]]) {
        let outputs = part.widths().last().copied().unwrap_or(0);
        self.output.resize(outputs * self.stride(), E::zero());
        let (input, output) = (&self.input, &mut self.output);
        part.forward_with_tangents(self.tangents, input, parameters, &mut self.kept, output);
    }

    /// Writes the gradient of the input, and adds to those of the parameters.
    fn backward(
        &mut self,
        part: &MlpKernel,
        parameters: &[&[E]],
        outer: &mut [E],
        sums: &mut [&mut [E]],
    ) {
        self.d_input.resize(self.input.len(), E::zero());
        let inputs = &[self.input.as_slice()];
        let recorded = Recorded { inputs, parameters, scratch: &mut self.kept };
        part.backward_with_tangents(self.tangents, recorded, outer, &mut self.d_input, sums);
    }
}

/// The mean over the probes of eps . y, y the output tangents of the probed pass.
fn contract<E: Real>(probes: &[E], probed: &Pass<E>, mean: &mut [E]) {
    mean.fill(E::zero());
    let width = probes.len() / probed.tangents;
    for (index, row) in probed.rows().enumerate() {
        let tangents = row[LANES..].chunks_exact(LANES);
        for (tangent, probe) in tangents.zip(probes.chunks_exact(width)) {
            add_product(mean, &probe[index * LANES..][..LANES], tangent);
        }
    }
    let share = E::of(1.0 / probed.tangents as f64);
    mean.iter_mut().for_each(|mean| *mean *= share);
}

/// Backward pass: from the gradient tau of the mean over P probes to that of the values, zero, and
/// of the tangents, `dy = tau eps / P`.
fn pull_contraction<E: Real>(probes: &[E], count: usize, tau: &[E], outer: &mut Vec<E>) {
    let (share, width) = (E::of(1.0 / count as f64), probes.len() / count);
    for index in 0..width / LANES {
        outer.resize(outer.len() + LANES, E::zero());
        for probe in probes.chunks_exact(width) {
            let row = &probe[index * LANES..][..LANES];
            outer.extend(row.iter().zip(tau).map(|(&probe, &tau)| share * tau * probe));
        }
    }
}

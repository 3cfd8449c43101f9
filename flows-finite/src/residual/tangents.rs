//! The residual g of a contractive layer, with tangents in z.

use flows_core::lanes::add;
use flows_core::operation::{LANES, Recorded};
use flows_core::{MlpKernel, Real, Scratch};

/// g(z, context), a network whose first `dim` inputs are z.
#[derive(Clone, Debug)]
pub(super) struct Residual {
    pub(super) kernel: MlpKernel,
    pub(super) dim: usize,
}

/// Inputs and weights of an evaluation of g.
#[derive(Clone, Copy)]
pub(super) struct At<'a, E> {
    /// `(dim, LANES)`
    pub(super) z: &'a [E],
    /// `(context dim, LANES)`
    pub(super) context: &'a [E],
    pub(super) parameters: &'a [&'a [E]],
}

/// Scratch of an evaluation, and its rows `[g | J direction 1 | ..]`.
#[derive(Default)]
pub(super) struct Pass<E> {
    network: Scratch,
    input: Vec<E>,
    output: Vec<E>,
    /// A buffer of the backward pass.
    inner: Vec<E>,
}

/// Gradients that the backward pass adds to.
pub(super) struct Sums<'a, 'b, E> {
    pub(super) z: &'a mut [E],
    pub(super) context: &'a mut [E],
    pub(super) parameters: &'a mut [&'b mut [E]],
}

impl<E: Real> Pass<E> {
    /// The rows of g.
    pub(super) fn values(&self, dim: usize) -> impl Iterator<Item = &[E]> {
        self.output.chunks_exact(self.output.len() / dim).map(|row| &row[..LANES])
    }

    /// Copies J times the directions, in the layout of the directions.
    pub(super) fn copy_products(&self, dim: usize, products: &mut [E]) {
        for (i, row) in self.output.chunks_exact(self.output.len() / dim).enumerate() {
            let groups = products.chunks_exact_mut(dim * LANES);
            for (product, tangent) in groups.zip(row[LANES..].chunks_exact(LANES)) {
                product[i * LANES..(i + 1) * LANES].copy_from_slice(tangent);
            }
        }
    }
}

impl Residual {
    /// g and its derivatives in z along `directions`: feature i of direction p at row `p dim + i`.
    pub(super) fn run<E: Real>(&self, at: At<'_, E>, directions: &[E], pass: &mut Pass<E>) {
        let Pass { network, input, output, .. } = pass;
        let tangents = directions.len() / (self.dim * LANES);
        stack(at.z, directions, input);
        for feature in at.context.chunks_exact(LANES) {
            input.extend_from_slice(feature);
            input.resize(input.len() + tangents * LANES, E::zero());
        }
        output.resize((1 + tangents) * self.dim * LANES, E::zero());
        self.kernel.forward_with_tangents(tangents, input, at.parameters, network, output);
    }

    /// The backward pass of the latest [`run`](Self::run), from the gradients of g and of the
    /// tangents.
    pub(super) fn pull<E: Real>(
        &self,
        at: At<'_, E>,
        pass: &mut Pass<E>,
        (d_value, d_products): (&[E], &[E]),
        sums: &mut Sums<'_, '_, E>,
    ) {
        let Pass { network, input, output, inner } = pass;
        let tangents = d_products.len() / (self.dim * LANES);
        stack(d_value, d_products, output);
        inner.resize(input.len(), E::zero());
        let inputs: [&[E]; 1] = [input];
        let block = Recorded { inputs: &inputs, parameters: at.parameters, scratch: network };
        self.kernel.backward_with_tangents(tangents, block, output, inner, sums.parameters);
        let features = sums.z.chunks_exact_mut(LANES);
        let features = features.chain(sums.context.chunks_exact_mut(LANES));
        for (total, row) in features.zip(inner.chunks_exact((1 + tangents) * LANES)) {
            add(total, &row[..LANES]);
        }
    }
}

/// Rows of `[value | tangent 1 | .. | tangent P]`.
fn stack<E: Real>(value: &[E], tangents: &[E], out: &mut Vec<E>) {
    out.clear();
    for (i, row) in value.chunks_exact(LANES).enumerate() {
        out.extend_from_slice(row);
        for tangent in tangents.chunks_exact(value.len()) {
            out.extend_from_slice(&tangent[i * LANES..(i + 1) * LANES]);
        }
    }
}

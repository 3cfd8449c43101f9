//! The block neural autoregressive flow: a network with a triangular Jacobian (review, Section
//! 3.1.1, combination-based transformers).

mod kernel;
mod layer;

use flows_core::elementwise::{ln, vectorised};
use flows_core::lanes::{add, lanes, lanes_mut};
use flows_core::map::{Block, Pull};
use flows_core::operation::LANES;
use flows_core::{
    Cost, Costs, Error, HasLayout, Layout, Map, Real, Result, Scratch, Stream, Tensors, Work,
};

use crate::transformer::root;
use kernel::{Adjoint, Kernel, Levels};
use layer::Layer;

const NAME: &str = "block autoregressive network";

/// A block neural autoregressive flow: z = f(x, context) with f a network of layers
///
/// ```text
/// h <- sigma(W h + b),   W block lower triangular, D x D blocks,   no sigma after the last layer
/// ```
/// whose diagonal blocks are positive (exp of learned weights) and those below free, so that z_i
/// depends on the features up to i and increases in x_i. Rows of W are normalised and scaled by a
/// learned gain. The context is an input of the first layer that every feature reads.
///
/// The activation is the leaky tanh: tanh within [-3, 3], continued by straight lines. The bounded
/// tanh of the paper makes a map that is not onto R^D; this one is a bijection for all weights.
///
/// ```text
/// log |det dz/dx| = sum over i of log s_i,   s_i = A_L sigma' .. sigma' A_1 1
/// ```
/// with A the diagonal blocks of feature i: products of positive numbers, which lose no digits. A
/// layer shrinks them by the slope of the straight lines at most, 0.00987, so that log-sum-exp, as
/// in the paper, gains nothing before some fifteen layers in `f32`.
///
/// Data to base is one pass. Base to data finds the features one after another, each by Newton's
/// method in a bracket to 4 epsilon (1 + |x|). What earlier features contribute is computed once,
/// so the search evaluates diagonal blocks only. Weights above the diagonal are neither stored nor
/// multiplied. It starts near the identity: slopes are about 1 for |x| up to about 3, which suits
/// data of unit variance.
///
/// # Reference
/// De Cao, Titov, Aziz, *Block Neural Autoregressive Flow*, UAI 2019.
/// <https://arxiv.org/abs/1904.04676>. Leaky tanh: Ward, *flowjax*.
#[derive(Clone, Debug)]
pub struct BlockAutoregressive {
    kernel: Kernel,
}

/// Buffers of a pass, for the backward pass.
#[derive(Debug, Default)]
struct Evaluation<E> {
    levels: Levels<E>,
    /// Contributions of the earlier features to the units of a feature, layer by layer.
    offsets: Vec<Vec<E>>,
    /// Gradients of all values, level by level, and of one feature.
    gradients: Vec<Vec<E>>,
    adjoint: Adjoint<E>,
}

impl BlockAutoregressive {
    /// A flow of `dim` features with `hidden` units for each feature and layer.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features, or with a layer without units.
    pub fn new(dim: usize, context_dim: usize, hidden: &[usize]) -> Result<Self> {
        let widths = [&[1], hidden, &[1]].concat();
        if dim == 0 || widths.contains(&0) {
            let name = "features, and units of a feature, of a block autoregressive network";
            return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
        }
        let layer = |(l, pair): (usize, &[usize])| {
            let free = if l == 0 { context_dim } else { 0 };
            Layer { dim, free, fan_in: pair[0], units: pair[1] }
        };
        let layers = widths.windows(2).enumerate().map(layer).collect();
        Ok(Self { kernel: Kernel { layers } })
    }

    /// Finds x_d with z_d = `z`; writes it to level 0 and to `x`. Returns the number of
    /// evaluations.
    fn search<E: Real>(
        &self,
        d: usize,
        z: &[E],
        parameters: &[&[E]],
        Evaluation { levels, offsets, .. }: &mut Evaluation<E>,
        (x, log_det): (&mut [E], &mut [E]),
    ) -> Result<u64> {
        root::find(NAME, z, x, log_det, |x, value, log_slope| {
            let (image, slope) = self.kernel.evaluate(d, x, parameters, offsets, levels);
            value.copy_from_slice(image);
            add_logs(slope, log_slope);
            Ok(())
        })
    }
}

fn add_logs<E: Real>(slopes: &[E], sum: &mut [E]) {
    vectorised(
        #[inline(always)]
        || {
            for (sum, &slope) in sum.iter_mut().zip(slopes) {
                *sum += ln(slope);
            }
        },
    );
}

impl HasLayout for BlockAutoregressive {
    /// A weight holds the diagonal blocks (logarithms before normalisation), then the blocks to
    /// their left.
    fn layout(&self) -> Vec<Layout> {
        let tensors = |(l, layer): (usize, &Layer)| {
            [
                Layout::zeros(format!("weight{l}"), 1, layer.weights()),
                Layout::zeros(format!("log_gain{l}"), 1, layer.rows()),
                Layout::zeros(format!("bias{l}"), 1, layer.rows()),
            ]
        };
        self.kernel.layers.iter().enumerate().flat_map(tensors).collect()
    }
}

impl<E: Real> Map<E> for BlockAutoregressive {
    fn name(&self) -> &'static str {
        NAME
    }

    fn dim(&self) -> usize {
        self.kernel.dim()
    }

    fn context_dim(&self) -> usize {
        self.kernel.context()
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::Iterative, inverse: Cost::ClosedForm }
    }

    fn start(&self, rng: &mut Stream) -> Result<Vec<Vec<f64>>> {
        let last = self.kernel.layers.len() - 1;
        let start = |(l, layer): (usize, &Layer)| layer.start(l > 0, l == last, rng);
        Ok(self.kernel.layers.iter().enumerate().flat_map(start).collect())
    }

    /// The normalised weights and the biases, layer by layer.
    fn prepare(&self, tensors: Vec<Vec<E>>) -> Result<Vec<Vec<E>>> {
        let effective = |(layer, of): (&Layer, &[Vec<E>])| {
            let [raw, log_gain, bias] = [&of[0], &of[1], &of[2]];
            [layer.effective(raw, log_gain), bias.clone()]
        };
        Ok(self.kernel.layers.iter().zip(tensors.chunks_exact(3)).flat_map(effective).collect())
    }

    fn pull_prepared(
        &self,
        tensors: &Tensors<E>,
        _: &[Vec<E>],
        gradient: &[Vec<E>],
    ) -> Result<Option<Vec<Vec<E>>>> {
        let values = tensors.values();
        let mut pulled = Vec::with_capacity(values.len());
        let of = values.chunks_exact(3).zip(gradient.chunks_exact(2));
        for (layer, (of, gradient)) in self.kernel.layers.iter().zip(of) {
            pulled.extend(layer.pull_effective(&of[0], &of[1], &gradient[0]));
            pulled.push(gradient[1].clone());
        }
        Ok(Some(pulled))
    }

    fn forward(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let evaluation: &mut Evaluation<E> = scratch.or_default();
        self.kernel.open(at.context, &mut evaluation.levels);
        let mut iterations = 0;
        for d in 0..self.kernel.dim() {
            let Evaluation { levels, offsets, .. } = &mut *evaluation;
            self.kernel.offsets(d, at.parameters, levels, offsets);
            let found = (lanes_mut(at.value, d), &mut *at.log_det);
            iterations += self.search(d, lanes(at.input, d), at.parameters, evaluation, found)?;
        }
        Ok(Work { iterations, ..Work::passes(1) })
    }

    fn inverse(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let Evaluation { levels, offsets, .. } = scratch.or_default();
        self.kernel.open(at.context, levels);
        for d in 0..self.kernel.dim() {
            self.kernel.offsets(d, at.parameters, levels, offsets);
            let x = lanes(at.input, d);
            let (image, slope) = self.kernel.evaluate(d, x, at.parameters, offsets, levels);
            lanes_mut(at.value, d).copy_from_slice(image);
            add_logs(slope, at.log_det);
        }
        Ok(Work::passes(1))
    }

    /// Backward pass at the x that the search found, in one sweep from the last feature to the
    /// first.
    ///
    /// With g and l the gradients of x and of its log-det, which is -log |det J|, J = dz/dx,
    /// ```text
    /// J^T lambda = g - l d log |det J| / dx,   z receives lambda,
    /// ```
    /// and everything else receives the gradient of (z, log |det J|) for (-lambda, -l). J^T is
    /// upper triangular, so the sweep solves it: with lambda of the later features known, one pull
    /// with 0 for lambda_d gives the rest of row d, and J_dd is the slope.
    fn forward_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let kernel = &self.kernel;
        let Evaluation { levels, gradients, adjoint, .. } = scratch.left();
        kernel.open_back(gradients, adjoint);
        let mut log_slope = [E::zero(); LANES];
        log_slope.iter_mut().zip(at.d_log_det).for_each(|(slope, &l)| *slope = -l);
        for d in (0..kernel.dim()).rev() {
            let mut value = [E::zero(); LANES];
            kernel.pull(d, at.parameters, levels, gradients, (&value, &log_slope), adjoint);
            let slopes = kernel.slopes(d, levels);
            for (lane, lambda) in lanes_mut(at.d_input, d).iter_mut().enumerate() {
                let right = at.d_value[d * LANES + lane] + adjoint.values[0][lane];
                *lambda = right / slopes[lane];
                value[lane] = -*lambda;
            }
            kernel.pull(d, at.parameters, levels, gradients, (&value, &log_slope), adjoint);
            kernel.spread(d, at.parameters, levels, adjoint, gradients, at.gradients);
        }
        add(at.d_context, &gradients[0][..at.context.len()]);
        Ok(())
    }

    /// Backward pass in one sweep from the last feature to the first: the gradient of a feature's
    /// value is complete when the sweep reaches it.
    fn inverse_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let kernel = &self.kernel;
        let Evaluation { levels, gradients, adjoint, .. } = scratch.left();
        kernel.open_back(gradients, adjoint);
        for d in (0..kernel.dim()).rev() {
            let outer = (lanes(at.d_value, d), at.d_log_det);
            kernel.pull(d, at.parameters, levels, gradients, outer, adjoint);
            lanes_mut(at.d_input, d).copy_from_slice(&adjoint.values[0]);
            kernel.spread(d, at.parameters, levels, adjoint, gradients, at.gradients);
        }
        add(at.d_context, &gradients[0][..at.context.len()]);
        Ok(())
    }
}

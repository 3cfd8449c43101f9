//! The block neural autoregressive flow: one network whose Jacobian is triangular (review, Section
//! 3.1.1, combination-based transformers).

mod kernel;
mod layer;

use std::ops::Range;

use flows_core::elementwise::{ln, vectorised};
use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns};
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Error, Mapped, Mode, Parameters, Real, Result, Role,
    SplitTape, Stream, Tally, Values, Work,
};

use crate::transformer::root;
use kernel::{Kernel, Levels};
use layer::Layer;

const NAME: &str = "block autoregressive network";

/// z = f(x, context) with f a network of layers
///
/// ```text
/// h <- sigma(W h + b),   W block lower triangular, D x D blocks,   no sigma after the last layer
/// ```
/// whose diagonal blocks are positive (exp of what is learned) and those below it free, so that z_i
/// depends on the features up to i and increases in x_i. Rows of W are normalised and scaled by a
/// learned gain. The context enters the first layer as inputs that every feature reads.
///
/// The activation is the leaky tanh: tanh within [-3, 3], continued in straight lines. The tanh of
/// the original has a bounded range, so that its map is not onto R^D and some z have no x; with
/// this one it is a bijection for all weights.
///
/// ```text
/// log |det dz/dx| = sum over i of log s_i,   s_i = A_L sigma' .. sigma' A_1 1
/// ```
/// with A the diagonal blocks of feature i: plain products of positive numbers, which lose no
/// digits. A layer makes them smaller by the slope of a straight line at the most, 0.00987, so that
/// sums of logarithms, as in the original, gain nothing before some fifteen layers in `f32`.
///
/// Data to base is one pass. Base to data finds one feature after another, each by Newton's method in
/// a bracket to 4 epsilon (1 + |x|); what the earlier features contribute is computed once, and the
/// search evaluates diagonal blocks only. Weights above the diagonal are neither stored nor multiplied
/// by. It starts near the identity: slopes are about 1 for |x| up to 3 or so, which suits data of
/// variance about 1.
///
/// # Reference
/// De Cao, Titov, Aziz, *Block Neural Autoregressive Flow*, UAI 2019.
/// <https://arxiv.org/abs/1904.04676>. Leaky tanh: Ward, *flowjax*.
#[derive(Debug)]
pub struct BlockAutoregressive<E: Real> {
    kernel: Kernel,
    parts: Vec<Part<E>>,
}

/// The tensors of one layer with D features, n units each.
#[derive(Debug)]
struct Part<E: Real> {
    /// `(1, weights)`: diagonal blocks (logarithms before normalisation), then those to their left.
    weight: Batch<E>,
    /// `(1, D n)`
    log_gain: Batch<E>,
    /// `(1, D n)`
    bias: Batch<E>,
}

impl<E: Real> BlockAutoregressive<E> {
    /// For `dim` features, with `hidden` layers of so many units for each feature.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features, or with a layer without units.
    pub fn new(dim: usize, context_dim: usize, hidden: &[usize], rng: &mut Stream) -> Result<Self> {
        let widths = [&[1], hidden, &[1]].concat();
        if dim == 0 || widths.contains(&0) {
            let name = "features, and units of a feature, of a block autoregressive network";
            return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
        }
        let layers: Vec<Layer> = widths
            .windows(2)
            .enumerate()
            .map(|(l, pair)| {
                let free = if l == 0 { context_dim } else { 0 };
                Layer { dim, free, fan_in: pair[0], units: pair[1] }
            })
            .collect();
        let mut parts = Vec::with_capacity(layers.len());
        for (l, layer) in layers.iter().enumerate() {
            let start = layer.start(l > 0, l + 1 == layers.len(), rng);
            let row = |values: Vec<f64>| {
                let width = values.len();
                batch(values.into_iter().map(E::of).collect(), 1, width)
            };
            let [weight, log_gain, bias] = start.map(row);
            parts.push(Part { weight: weight?, log_gain: log_gain?, bias: bias? });
        }
        Ok(Self { kernel: Kernel { layers }, parts })
    }

    fn map<T: Mode<E>, const SEARCH: bool>(
        &self,
        input: Batch<E, T>,
        context: &Context<E>,
    ) -> Result<Mapped<E, T>> {
        check_columns(NAME, &input, self.kernel.dim())?;
        let op = "context of a block autoregressive network";
        context.check(op, self.kernel.context(), input.rows())?;
        let (input, mut tape) = input.split_tape();
        let mut parameters = Vec::with_capacity(2 * self.parts.len());
        for (layer, part) in self.kernel.layers.iter().zip(&self.parts) {
            parameters.push(layer.effective(&part.weight, &part.log_gain, &mut tape)?);
            parameters.push(part.bias.clone());
        }
        let mut inputs = vec![&input];
        inputs.extend(context.features());
        let iterations = Tally::default();
        let operation = BlockOperation::<SEARCH> {
            kernel: self.kernel.clone(),
            iterations: iterations.clone(),
        };
        let mut outputs = apply(operation, &inputs, &parameters, &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        let work = Work { iterations: iterations.largest(), ..Work::passes(1) };
        Ok(Mapped::new(outputs.remove(0), log_det, tape, work))
    }
}

impl<E: Real> Parameters<E> for BlockAutoregressive<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        for (l, part) in self.parts.iter().enumerate() {
            f(&format!("weight{l}"), Role::Learned, &part.weight);
            f(&format!("log_gain{l}"), Role::Learned, &part.log_gain);
            f(&format!("bias{l}"), Role::Learned, &part.bias);
        }
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        for (l, part) in self.parts.iter_mut().enumerate() {
            f(&format!("weight{l}"), Role::Learned, &mut part.weight)?;
            f(&format!("log_gain{l}"), Role::Learned, &mut part.log_gain)?;
            f(&format!("bias{l}"), Role::Learned, &mut part.bias)?;
        }
        Ok(())
    }
}

impl<E: Real> Bijector<E> for BlockAutoregressive<E> {
    fn dim(&self) -> usize {
        self.kernel.dim()
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::Iterative, inverse: Cost::ClosedForm }
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, true>(z, context)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, false>(x, context)
    }
}

/// z to x by search, or x to z.
struct BlockOperation<const SEARCH: bool> {
    kernel: Kernel,
    iterations: Tally,
}

fn lanes(feature: usize) -> Range<usize> {
    feature * LANES..(feature + 1) * LANES
}

impl<const SEARCH: bool> BlockOperation<SEARCH> {
    /// x_d at which z_d is `z`, written to level 0 and to `x`; its evaluations.
    fn search<E: Real>(
        &self,
        d: usize,
        z: &[E],
        parameters: &[&[E]],
        offsets: &[Vec<E>],
        levels: &mut Levels<E>,
        (x, log_det): (&mut [E], &mut [E]),
    ) -> Result<u64> {
        let (here, last) = (self.kernel.layers[0].source(d), self.kernel.layers.len());
        root::find(NAME, z, x, log_det, |x, value, log_slope| {
            levels.values[0][here.clone()].copy_from_slice(x);
            self.kernel.evaluate(d, parameters, offsets, levels);
            value.copy_from_slice(&levels.values[last][lanes(d)]);
            add_logs(&levels.tangents[last][lanes(d)], log_slope);
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

impl<E: Real, const SEARCH: bool> Operation<E> for BlockOperation<SEARCH> {
    type Workspace = Levels<E>;

    fn name(&self) -> &'static str {
        NAME
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.kernel.dim(), 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        levels: &mut Levels<E>,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [value, log_det] = outputs else {
            return Ok(());
        };
        let last = self.kernel.layers.len();
        self.kernel.open(inputs.get(1).copied().unwrap_or_default(), levels);
        let (mut offsets, mut iterations) = (Vec::new(), 0);
        for d in 0..self.kernel.dim() {
            self.kernel.offsets(d, parameters, levels, &mut offsets);
            let (source, target) = (&inputs[0][lanes(d)], &mut value[lanes(d)]);
            if SEARCH {
                let found = (target, &mut **log_det);
                iterations += self.search(d, source, parameters, &offsets, levels, found)?;
            } else {
                levels.values[0][self.kernel.layers[0].source(d)].copy_from_slice(source);
                self.kernel.evaluate(d, parameters, &offsets, levels);
                target.copy_from_slice(&levels.values[last][lanes(d)]);
                add_logs(&levels.tangents[last][lanes(d)], log_det);
            }
        }
        self.iterations.note(iterations);
        Ok(())
    }

    /// One sweep from the last feature to the first, which leaves the gradient of each feature's
    /// value complete when its turn comes.
    ///
    /// The search is differentiated at its result. With g and l the gradients of x and of its
    /// log-det, which is -log |det J|, J = dz/dx,
    /// ```text
    /// J^T lambda = g - l d log |det J| / dx,   z receives lambda,
    /// ```
    /// and everything else the gradient of (z, log |det J|) for (-lambda, -l). J^T is upper
    /// triangular, so the sweep solves it on its way: with lambda of the later features known, one
    /// pull with 0 for lambda_d gives the rest of row d, and J_dd is the slope.
    fn backward(
        &self,
        block: Recorded<'_, E, Levels<E>>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let [d_value, d_log_det] = output_gradients else {
            return;
        };
        let (kernel, levels, parameters) = (&self.kernel, &*block.workspace, block.parameters);
        let slopes = &levels.tangents[kernel.layers.len()];
        let (mut gradients, mut adjoint) = (kernel.gradients(), kernel.adjoint());
        let sign = if SEARCH { -E::one() } else { E::one() };
        let log_slope: Vec<E> = d_log_det.iter().map(|&l| sign * l).collect();
        for d in (0..kernel.dim()).rev() {
            let target = &mut input_gradients[0][lanes(d)];
            let pull = |value: &[E], adjoint: &mut _| {
                kernel.pull(d, parameters, levels, &gradients, (value, &log_slope), adjoint);
            };
            if SEARCH {
                let mut value = [E::zero(); LANES];
                pull(&value, &mut adjoint);
                for (lane, lambda) in target.iter_mut().enumerate() {
                    let right = d_value[d * LANES + lane] + adjoint.values[0][lane];
                    *lambda = right / slopes[d * LANES + lane];
                    value[lane] = -*lambda;
                }
                pull(&value, &mut adjoint);
            } else {
                pull(&d_value[lanes(d)], &mut adjoint);
                target.copy_from_slice(&adjoint.values[0]);
            }
            kernel.spread(d, parameters, levels, &adjoint, &mut gradients, parameter_gradients);
        }
        if let Some(d_context) = input_gradients.get_mut(1) {
            d_context.copy_from_slice(&gradients[0][..d_context.len()]);
        }
    }
}

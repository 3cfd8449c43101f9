//! Masked autoregressive layers (review, Section 3.1).

mod density;
mod sampling;

use flows_core::activation::Activation;
use flows_core::masked::{Hidden, MaskedKernel};
use flows_core::operation::{Operation, apply_with, column};
use flows_core::parameters::{Visitor, VisitorMut, visit_part, visit_part_mut};
use flows_core::tensor::{check_columns, set_values};
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Error, LastLayer, Mapped, Mode, Network, Parameters,
    Real, Result, SplitTape, Stream, Tally, Values, Work,
};
use serde::{Deserialize, Serialize};

use self::density::Density;
use self::sampling::SamplingOperation;
use crate::order::Order;
use crate::transformer::Transformer;

/// The network that conditions the features on earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedConditioner {
    /// Its hidden layers.
    pub hidden: Hidden,
    /// Activation.
    pub activation: Activation,
}

/// How data are computed from base values, where feature after feature has to wait for its
/// predecessors.
///
/// | | passes of the network | accuracy |
/// |---|---|---|
/// | `incremental` | 1 in multiplications: each unit once, when its inputs are known | rounding |
/// | `sequential` | D (or K parts): the network anew for each feature | rounding |
/// | `newton` | as many as it takes, at most some D; all features at once | its tolerance |
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Degree by degree, keeping what is final.
    #[default]
    Incremental,
    /// A whole pass for each part: the textbook's way, to measure others by.
    Sequential,
    /// The fixed point iteration of MintNet.
    Newton(Newton),
}

/// x <- x - relaxation diag(J)^-1 (f(x) - z), from x = z.
///
/// The solution is its only fixed point, and attracts from nearby if 0 < relaxation < 2; outside it
/// repels. With relaxation 1 and an affine transformer feature i is exact after i + 1 iterations.
///
/// # Reference
/// Song, Meng, Ermon, *MintNet*, NeurIPS 2019, section 3.2. <https://arxiv.org/abs/1907.07945>
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Newton {
    /// Length of a step relative to Newton's.
    pub relaxation: f64,
    /// Ends when every |f(x) - z| <= tolerance (1 + |z|).
    pub tolerance: f64,
    /// Most iterations, after which a row is an error.
    pub iterations: usize,
}

impl Default for Newton {
    fn default() -> Self {
        Self { relaxation: 1.0, tolerance: 1e-6, iterations: 1000 }
    }
}

/// A masked autoregressive layer with transformer `T`.
///
/// ```text
/// z_i = tau(x_i; theta_i),   theta_i = conditioner(x_<i, context)        inverse: one pass
/// ```
/// The density direction is the parallel one, as in MAF;
/// [`Inverse`](flows_core::Inverse) makes an IAF of it. It starts as the identity (or as near to it
/// as the transformer can be): the last layer of the conditioner is zero, offset by the
/// transformer's identity.
///
/// # Reference
/// Papamakarios, Pavlakou, Murray, *Masked Autoregressive Flow*, NeurIPS 2017,
/// <https://arxiv.org/abs/1705.07057>; Kingma et al., *Inverse Autoregressive Flow*, NeurIPS 2016,
/// <https://arxiv.org/abs/1606.04934>
#[derive(Debug)]
pub struct Autoregressive<E: Real, T: Transformer<E>> {
    features: Vec<usize>,
    conditioner: Network<E, MaskedKernel>,
    transformer: T,
    sampling: Sampling,
}

impl<E: Real, T: Transformer<E>> Autoregressive<E, T> {
    /// A layer that takes features in the given order.
    ///
    /// # Errors
    /// [`Error::Parameter`] if a hidden layer has fewer units than there are degrees.
    pub fn new(
        order: &Order,
        context_dim: usize,
        transformer: T,
        conditioner: &MaskedConditioner,
        rng: &mut Stream,
    ) -> Result<Self> {
        let MaskedConditioner { hidden, activation } = conditioner;
        let dependencies = order.dependencies(context_dim)?;
        let kernel = MaskedKernel::new(dependencies, hidden, transformer.arity(), *activation)?;
        let mut conditioner = Network::new(kernel.clone(), LastLayer::Zero, rng)?;
        let dim = order.features().len();
        conditioner.offset_last_bias(&transformer.identity().repeat(dim))?;
        let mut values: Vec<Vec<E>> = conditioner.tensors().iter().map(Values::values).collect();
        kernel.clear_unused(&mut values);
        let mut cleared = values.iter();
        conditioner.visit_mut(&mut |_, _, tensor| {
            cleared.next().map_or(Ok(()), |values| set_values(tensor, values))
        })?;
        let (features, sampling) = (order.features().to_vec(), Sampling::default());
        Ok(Self { features, conditioner, transformer, sampling })
    }

    /// The same layer with another way to compute data from base values.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a relaxation or tolerance that is not positive.
    pub fn with_sampling(self, sampling: Sampling) -> Result<Self> {
        if let Sampling::Newton(Newton { relaxation, tolerance, .. }) = sampling {
            for (name, value) in [("relaxation", relaxation), ("tolerance", tolerance)] {
                if !(value > 0.0 && value.is_finite()) {
                    let requirement = "positive and finite";
                    return Err(Error::Parameter { name, requirement, value });
                }
            }
        }
        Ok(Self { sampling, ..self })
    }

    /// Multiplications a row of one density pass, and of incremental sampling.
    pub fn multiplications(&self) -> [usize; 2] {
        self.conditioner.kernel().multiplications()
    }

    fn check(&self, input: &Batch<E, impl Mode<E>>, context: &Context<E>) -> Result<()> {
        check_columns("autoregressive layer", input, self.features.len())?;
        let expected = self.conditioner.kernel().dependencies().context();
        context.check("context of an autoregressive layer", expected, input.rows())
    }

    fn run<O: Operation<E>, M: Mode<E>>(
        &self,
        operation: O,
        inputs: &[&Batch<E>],
        tape: &mut M,
    ) -> Result<Vec<Batch<E>>> {
        let tensors = self.conditioner.tensors();
        apply_with(operation, inputs, tensors, self.conditioner.values(), tape)
    }

    fn wiring(&self) -> Wiring<T> {
        let kernel = self.conditioner.kernel().clone();
        Wiring { features: self.features.clone(), kernel, transformer: self.transformer.clone() }
    }
}

/// What operations of both directions are made of.
struct Wiring<T> {
    features: Vec<usize>,
    kernel: MaskedKernel,
    transformer: T,
}

impl<E: Real, T: Transformer<E>> Parameters<E> for Autoregressive<E, T> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        visit_part(&self.conditioner, "conditioner", f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        visit_part_mut(&mut self.conditioner, "conditioner", f)
    }
}

impl<E: Real, T: Transformer<E>> Bijector<E> for Autoregressive<E, T> {
    fn dim(&self) -> usize {
        self.features.len()
    }

    fn costs(&self) -> Costs {
        let newton = matches!(self.sampling, Sampling::Newton(_));
        let iterative = newton || !self.transformer.closed_inverse();
        let forward = if iterative { Cost::Iterative } else { Cost::Sequential };
        Costs { forward, inverse: Cost::ClosedForm }
    }

    fn forward<M: Mode<E>>(&self, z: Batch<E, M>, context: &Context<E>) -> Result<Mapped<E, M>> {
        self.check(&z, context)?;
        let (passes, iterations) = (Tally::default(), Tally::default());
        let operation = SamplingOperation {
            wiring: self.wiring(),
            sampling: self.sampling,
            passes: passes.clone(),
            iterations: iterations.clone(),
        };
        let (z, mut tape) = z.split_tape();
        let mut inputs = vec![&z];
        inputs.extend(context.features());
        let mut outputs = self.run(operation, &inputs, &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        let work = Work { iterations: iterations.largest(), ..Work::passes(passes.largest()) };
        Ok(Mapped::new(outputs.remove(0), log_det, tape, work))
    }

    fn inverse<M: Mode<E>>(&self, x: Batch<E, M>, context: &Context<E>) -> Result<Mapped<E, M>> {
        self.check(&x, context)?;
        let (x, mut tape) = x.split_tape();
        let mut inputs = vec![&x];
        inputs.extend(context.features());
        let operation = Density { wiring: self.wiring() };
        let mut outputs = self.run(operation, &inputs, &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        Ok(Mapped::new(outputs.remove(0), log_det, tape, Work::passes(1)))
    }
}

//! Masked autoregressive layers (review, Section 3.1).

mod density;
mod sampling;

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::map::{Block, Pull};
use flows_core::masked::{Hidden, MaskedKernel, MaskedState};
use flows_core::{
    Cost, Costs, Error, HasLayout, Layout, Map, Real, Result, Scratch, Space, Stream, Work,
    constant_start, image_spaces,
};
use serde::{Deserialize, Serialize};

use crate::order::Order;
use crate::transformer::Transformer;

/// A masked network as conditioner: settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedConditioner {
    /// Hidden layers.
    pub hidden: Hidden,
    /// Activation.
    pub activation: Activation,
}

/// Sampling method of an autoregressive layer, whose features depend on earlier ones.
///
/// | | passes of the network | accuracy |
/// |---|---|---|
/// | `incremental` | 1 in multiplications: each unit once, when its inputs are known | rounding |
/// | `sequential` | D (or K parts): the network again for each feature | rounding |
/// | `newton` | until it converges, about D at most; all features at once | its tolerance |
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Sampling {
    /// Degree by degree; computed units are kept.
    #[default]
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Incremental,
    /// A whole pass for each part: the textbook method, as a reference.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Sequential,
    /// The fixed-point iteration of MintNet.
    Newton(Newton),
}

/// Newton's method with a diagonal Jacobian: x <- x - relaxation diag(J)^-1 (f(x) - z), from x = z.
///
/// The solution is its only fixed point, locally attractive for 0 < relaxation < 2 and otherwise
/// repelling. With relaxation 1 and an affine transformer feature i is exact after i + 1 iterations.
///
/// # Reference
/// Song, Meng, Ermon, *MintNet*, NeurIPS 2019, section 3.2. <https://arxiv.org/abs/1907.07945>
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Newton {
    /// Step length relative to Newton's.
    pub relaxation: f64,
    /// Ends when every |f(x) - z| <= tolerance (1 + |z|).
    pub tolerance: f64,
    /// Largest number of iterations; a row that needs more is an error.
    pub iterations: usize,
}

impl Default for Newton {
    fn default() -> Self {
        Self { relaxation: 1.0, tolerance: 1e-6, iterations: 1000 }
    }
}

/// A masked autoregressive flow layer (MAF).
///
/// ```text
/// z_i = tau(x_i; theta_i),   theta_i = conditioner(x_<i, context)        inverse: one pass
/// ```
/// The density direction is parallel, as in MAF; its [`Inverse`](flows_core::Inverse) is an inverse
/// autoregressive flow (IAF). It starts at the transformer's [`initial`](Transformer::initial)
/// parameters, the identity or near it: the last layer of the conditioner is zero, offset by these.
///
/// # Reference
/// Papamakarios, Pavlakou, Murray, *Masked Autoregressive Flow*, NeurIPS 2017,
/// <https://arxiv.org/abs/1705.07057>; Kingma et al., *Inverse Autoregressive Flow*, NeurIPS 2016,
/// <https://arxiv.org/abs/1606.04934>
#[derive(Clone, Debug)]
pub struct Autoregressive<E: Real> {
    features: Vec<usize>,
    kernel: MaskedKernel,
    transformer: Arc<dyn Transformer<E>>,
    sampling: Sampling,
}

impl<E: Real> Autoregressive<E> {
    /// A layer with the features in the given order.
    ///
    /// # Errors
    /// [`Error::Parameter`] if a hidden layer has fewer units than there are degrees.
    pub fn new(
        order: &Order,
        context_dim: usize,
        transformer: Arc<dyn Transformer<E>>,
        conditioner: &MaskedConditioner,
    ) -> Result<Self> {
        let MaskedConditioner { hidden, activation } = conditioner;
        let dependencies = order.dependencies(context_dim)?;
        let kernel = MaskedKernel::new(dependencies, hidden, transformer.arity(), *activation)?;
        let (features, sampling) = (order.features().to_vec(), Sampling::default());
        Ok(Self { features, kernel, transformer, sampling })
    }

    /// Replaces the sampling method.
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
}

impl<E: Real> HasLayout for Autoregressive<E> {
    fn layout(&self) -> Vec<Layout> {
        self.kernel.layout().into_iter().map(|tensor| tensor.within("conditioner")).collect()
    }
}

impl<E: Real> Map<E> for Autoregressive<E> {
    fn name(&self) -> &'static str {
        "autoregressive layer"
    }

    fn dim(&self) -> usize {
        self.features.len()
    }

    fn context_dim(&self) -> usize {
        self.kernel.dependencies().context()
    }

    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        let image = |space| self.transformer.image_space(space);
        image_spaces(self.transformer.name(), from, 0..self.features.len(), image)
    }

    fn costs(&self) -> Costs {
        let newton = matches!(self.sampling, Sampling::Newton(_));
        let iterative = newton || !self.transformer.closed_inverse();
        let forward = if iterative { Cost::Iterative } else { Cost::Sequential };
        Costs { forward, inverse: Cost::ClosedForm }
    }

    fn start(&self, rng: &mut Stream) -> Result<Vec<Vec<f64>>> {
        let offset = self.transformer.initial().repeat(self.features.len());
        let mut values = constant_start(&self.layout(), &offset, rng)?;
        self.kernel.clear_unused(&mut values);
        Ok(values)
    }

    /// Masked weights are zeroed, because a model file may hold anything there.
    fn prepare(&self, mut tensors: Vec<Vec<E>>) -> Result<Vec<Vec<E>>> {
        self.kernel.clear_forbidden(&mut tensors);
        Ok(tensors)
    }

    fn forward(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let state: &mut MaskedState<E> = scratch.or_default();
        self.kernel.start(state);
        state.input[..at.context.len()].copy_from_slice(at.context);
        self.sample(at, state)
    }

    fn inverse(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let state: &mut MaskedState<E> = scratch.or_default();
        self.kernel.start(state);
        state.input[..at.context.len()].copy_from_slice(at.context);
        self.evaluate(at, state)
    }

    fn forward_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let state: &MaskedState<E> = scratch.left();
        self.kernel.with_gradient(|gradient| self.pull_sample(at, state, gradient));
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let state: &MaskedState<E> = scratch.left();
        self.kernel.with_gradient(|gradient| self.pull_evaluate(at, state, gradient));
        Ok(())
    }
}

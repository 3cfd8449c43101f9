//! Perceptrons with a bounded Lipschitz constant.

use flows_core::activation::Activation;
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, set_values};
use flows_core::{
    Batch, Error, LastLayer, MlpKernel, Mode, Network, NoneTape, Parameters, Real, Result, Role,
    Stream, Values, normals, stream,
};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use super::spectral::{Norm, Singular, limited, normalised_part};

/// Bound of the Lipschitz constant of a network and how it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Constraint {
    /// Bound of the whole network, between 0 and 1.
    pub coefficient: f64,
    /// How the norms of the weights are found.
    pub norm: Norm,
}

impl Default for Constraint {
    /// 0.9 leaves room for what power iteration underestimates in the course of training.
    fn default() -> Self {
        Self { coefficient: 0.9, norm: Norm::Power { iterations: 5 } }
    }
}

/// A perceptron g(z, context) with |g(z, context) - g(z', context)| <= coefficient |z - z'| in the
/// Euclidean norm.
///
/// The weight of each layer is used as W min(1, c / sigma(W)), sigma the spectral norm, c the same
/// for all layers and so that the product over layers, times the Lipschitz constants of the
/// activations (1; for SiLU 1.1), is the coefficient. Only the columns of the first weight that
/// read z count: the context enters freely.
///
/// # Reference
/// Behrmann et al., *Invertible Residual Networks*, ICML 2019, section 2.1.
/// <https://arxiv.org/abs/1811.00995>
#[derive(Debug)]
pub struct LipschitzNetwork<E: Real> {
    network: Network<E, MlpKernel>,
    dim: usize,
    constraint: Constraint,
    /// Product of the Lipschitz constants of all activations.
    activations: f64,
    /// For each layer; none where norms are exact.
    vectors: Vec<Vectors<E>>,
}

/// Where the power iteration of a layer stands.
#[derive(Debug)]
struct Vectors<E: Real> {
    /// `(1, units)`
    left: Batch<E>,
    /// `(1, columns that are normalised)`
    right: Batch<E>,
}

/// What a call uses.
pub(super) struct Effective<E: Real> {
    /// The limited weights and the biases, in the order of the kernel.
    pub(super) parameters: Vec<Batch<E>>,
    /// A bound of the network's Lipschitz constant.
    pub(super) lipschitz: f64,
}

impl<E: Real> LipschitzNetwork<E> {
    /// `dim` and context features in, `dim` out; weights and biases start from
    /// U(-1, 1) / sqrt(fan in).
    ///
    /// # Errors
    /// [`Error::Parameter`] for a width of 0, a coefficient outside (0, 1) or power iteration
    /// without iterations.
    pub fn new(
        (dim, context_dim): (usize, usize),
        hidden: &[usize],
        activation: Activation,
        constraint: Constraint,
        rng: &mut Stream,
    ) -> Result<Self> {
        constraint.check()?;
        if dim == 0 {
            let (name, requirement) = ("features of a contractive layer", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        let kernel = MlpKernel::new(dim + context_dim, hidden, dim, activation)?;
        let network = Network::new(kernel, LastLayer::Random, rng)?;
        let steepest: f64 = if activation == Activation::Silu { 1.1 } else { 1.0 };
        let activations = steepest.powi(hidden.len() as i32);
        let mut this = Self { network, dim, constraint, activations, vectors: Vec::new() };
        if constraint.norm != Norm::Exact {
            this.vectors = this.random_vectors()?;
        }
        this.converge()?;
        Ok(this)
    }

    /// From the weight, row by row, and the bias of each layer; inputs beyond `dim` are context.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`Error::Dimension`] or [`Error::Tensors`] where sizes do not fit.
    pub fn from_weights(
        dim: usize,
        layers: &[(&[f64], &[f64])],
        activation: Activation,
        constraint: Constraint,
    ) -> Result<Self> {
        let units: Vec<usize> = layers.iter().map(|(_, bias)| bias.len()).collect();
        let inputs = layers.first().and_then(|(w, bias)| w.len().checked_div(bias.len()));
        let (Some(inputs), Some((&outputs, hidden))) = (inputs, units.split_last()) else {
            let (name, requirement) = ("layers of a contractive layer", "at least 1, none empty");
            return Err(Error::Parameter { name, requirement, value: layers.len() as f64 });
        };
        if outputs != dim || inputs < dim {
            let (op, got) = ("weights of a contractive layer", outputs.min(inputs));
            return Err(Error::Dimension { op, expected: dim, got });
        }
        let rng = &mut stream(0, "overwritten");
        let mut this = Self::new((dim, inputs - dim), hidden, activation, constraint, rng)?;
        let mut given = layers.iter().flat_map(|(weight, bias)| [weight, bias]);
        this.network.visit_mut(&mut |_, _, tensor| {
            let values: Vec<E> =
                given.next().into_iter().flat_map(|v| v.iter()).map(|&v| E::of(v)).collect();
            set_values(tensor, &values)
        })?;
        this.converge()?;
        Ok(this)
    }

    /// Number of features that the bound is for.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of conditioning features.
    pub fn context_dim(&self) -> usize {
        self.kernel().widths()[0] - self.dim
    }

    /// The product of the norms of the layers as they are used: at most the coefficient, and a
    /// bound of the Lipschitz constant as good as the norms are.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if a weight is not finite and norms are exact.
    pub fn lipschitz(&self) -> Result<f64> {
        Ok(self.effective(&mut NoneTape)?.lipschitz)
    }

    pub(super) fn kernel(&self) -> &MlpKernel {
        self.network.kernel()
    }

    /// Derives the limited weights on `tape`.
    pub(super) fn effective<T: Mode<E>>(&self, tape: &mut T) -> Result<Effective<E>> {
        let mut effective = Effective { parameters: Vec::new(), lipschitz: self.activations };
        let limit = self.limit();
        for (layer, tensors) in self.network.tensors().chunks_exact(2).enumerate() {
            let singular = self.singular(layer)?;
            effective.lipschitz *= singular.value.min(limit);
            effective.parameters.push(limited(&tensors[0], singular, limit, tape)?);
            effective.parameters.push(tensors[1].clone());
        }
        Ok(effective)
    }

    /// A few power iterations.
    pub(super) fn iterate(&mut self) -> Result<()> {
        let Norm::Power { iterations } = self.constraint.norm else {
            return Ok(());
        };
        self.refresh(|singular, matrix| (0..iterations).for_each(|_| singular.iterate(matrix)))
    }

    /// Power iteration to convergence.
    pub(super) fn converge(&mut self) -> Result<()> {
        self.refresh(Singular::converge)
    }

    fn refresh(&mut self, step: impl Fn(&mut Singular, &DMatrix<f64>)) -> Result<()> {
        for layer in 0..self.vectors.len() {
            let mut singular = self.singular(layer)?;
            step(&mut singular, &self.matrix(layer));
            let cast = |vector: &DVector<f64>| vector.iter().map(|&v| E::of(v)).collect::<Vec<E>>();
            set_values(&mut self.vectors[layer].left, &cast(&singular.left))?;
            set_values(&mut self.vectors[layer].right, &cast(&singular.right))?;
        }
        Ok(())
    }

    /// What the norm of a layer may be.
    fn limit(&self) -> f64 {
        let layers = self.kernel().widths().len() - 1;
        (self.constraint.coefficient / self.activations).powf(1.0 / layers as f64)
    }

    /// The part of a layer's weight that counts.
    fn matrix(&self, layer: usize) -> DMatrix<f64> {
        let width = if layer == 0 { self.dim } else { self.kernel().widths()[layer] };
        normalised_part(&self.network.tensors()[2 * layer], width)
    }

    fn singular(&self, layer: usize) -> Result<Singular> {
        let matrix = self.matrix(layer);
        let Some(vectors) = self.vectors.get(layer) else {
            return Singular::largest(&matrix);
        };
        let [left, right] = [&vectors.left, &vectors.right].map(|tensor| {
            DVector::from_iterator(
                tensor.values().len(),
                tensor.values().iter().map(|v| v.as_f64()),
            )
        });
        Ok(Singular::along(&matrix, left, right))
    }

    /// Where power iteration starts does not matter, so that it takes nothing from the run's seed.
    fn random_vectors(&self) -> Result<Vec<Vectors<E>>> {
        let rng = &mut stream(0, "power iteration");
        let mut unit = |length: usize| {
            let vector = DVector::from_vec(normals::<f64>(length, rng)).normalize();
            batch(vector.iter().map(|&v| E::of(v)).collect(), 1, length)
        };
        let layers = 0..self.kernel().widths().len() - 1;
        let sizes = layers.map(|layer| self.matrix(layer).shape());
        sizes.map(|(rows, width)| Ok(Vectors { left: unit(rows)?, right: unit(width)? })).collect()
    }
}

impl Constraint {
    fn check(self) -> Result<()> {
        if !(self.coefficient > 0.0 && self.coefficient < 1.0) {
            let (name, requirement) = ("Lipschitz coefficient", "between 0 and 1, exclusive");
            return Err(Error::Parameter { name, requirement, value: self.coefficient });
        }
        if self.norm == (Norm::Power { iterations: 0 }) {
            let (name, requirement) = ("power iterations", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        Ok(())
    }
}

impl<E: Real> Parameters<E> for LipschitzNetwork<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.network.visit(f);
        for (layer, vectors) in self.vectors.iter().enumerate() {
            f(&format!("left{layer}"), Role::Fixed, &vectors.left);
            f(&format!("right{layer}"), Role::Fixed, &vectors.right);
        }
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.network.visit_mut(f)?;
        for (layer, vectors) in self.vectors.iter_mut().enumerate() {
            f(&format!("left{layer}"), Role::Fixed, &mut vectors.left)?;
            f(&format!("right{layer}"), Role::Fixed, &mut vectors.right)?;
        }
        Ok(())
    }
}

//! Perceptrons with bounded Lipschitz constant.

use flows_core::activation::Activation;
use flows_core::{
    Error, HasLayout, LastLayer, Layout, MlpKernel, Purpose, Real, Result, Stream, normals, stream,
};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use super::spectral::{Norm, Singular};
use super::tangents::Residual;

/// Lipschitz constraint of a network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Constraint {
    /// Bound of the whole network, between 0 and 1.
    pub coefficient: f64,
    /// Method for the norms of the weights.
    pub norm: Norm,
}

impl Default for Constraint {
    /// 0.9 leaves room for the underestimate of power iteration in training.
    fn default() -> Self {
        Self { coefficient: 0.9, norm: Norm::Power { iterations: 5 } }
    }
}

/// A perceptron g(z, context) with Lipschitz bound |g(z, context) - g(z', context)| <= coefficient
/// |z - z'| in the Euclidean norm.
///
/// Spectral normalisation: the weight of each layer is used as W min(1, c / sigma(W)), sigma the
/// spectral norm, with one c for all layers such that the product over layers, times the Lipschitz
/// constants of the activations (1; for SiLU 1.1), is the coefficient. Only the columns of the
/// first weight that read z count: the context is unconstrained.
///
/// Its tensors are the weight and bias of each layer and, unless norms are exact, two vectors of
/// each layer for power iteration.
///
/// # Reference
/// Behrmann et al., *Invertible Residual Networks*, ICML 2019, section 2.1.
/// <https://arxiv.org/abs/1811.00995>
#[derive(Clone, Debug)]
pub struct LipschitzNetwork {
    residual: Residual,
    constraint: Constraint,
    /// Product of the Lipschitz constants of all activations.
    activations: f64,
}

impl LipschitzNetwork {
    /// A perceptron from `dim` and context features to `dim`; weights and biases start from U(-1,
    /// 1) / sqrt(fan in).
    ///
    /// # Errors
    /// [`Error::Parameter`] for a width of 0, a coefficient outside (0, 1) or 0 power iterations.
    pub fn new(
        (dim, context_dim): (usize, usize),
        hidden: &[usize],
        activation: Activation,
        constraint: Constraint,
    ) -> Result<Self> {
        constraint.check()?;
        if dim == 0 {
            let (name, requirement) = ("features of a contractive layer", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        let kernel = MlpKernel::new(dim + context_dim, hidden, dim, activation)?;
        let steepest: f64 = if activation == Activation::Silu { 1.1 } else { 1.0 };
        let activations = steepest.powi(hidden.len() as i32);
        Ok(Self { residual: Residual { kernel, dim }, constraint, activations })
    }

    /// Number of features that the bound holds for.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.residual.dim
    }

    /// Number of conditioning features.
    #[must_use]
    pub fn context_dim(&self) -> usize {
        self.widths()[0] - self.residual.dim
    }

    pub(super) fn residual(&self) -> &Residual {
        &self.residual
    }

    pub(super) fn layers(&self) -> usize {
        self.widths().len() - 1
    }

    pub(super) fn start(&self, rng: &mut Stream) -> Vec<Vec<f64>> {
        let mut values = LastLayer::Random.start(&self.residual.kernel.layout(), rng);
        values.extend(self.random_vectors());
        values
    }

    /// Initial vectors of power iteration; they do not matter and so take nothing from the run's
    /// seed.
    pub(super) fn random_vectors(&self) -> Vec<Vec<f64>> {
        let rng = &mut stream(0, "power iteration");
        let mut unit = |length| DVector::from_vec(normals::<f64>(length, rng)).normalize();
        let layouts = self.vectors().into_iter();
        layouts.map(|vector| unit(vector.columns).as_slice().to_vec()).collect()
    }

    /// The limited weights and the biases, and a bound of the network's Lipschitz constant.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if a weight is not finite and norms are exact.
    pub(super) fn limited<E: Real>(&self, mut tensors: Vec<Vec<E>>) -> Result<(Vec<Vec<E>>, f64)> {
        let (limit, mut lipschitz) = (self.limit(), self.activations);
        for layer in 0..self.layers() {
            let singular = self.singular(layer, &tensors)?;
            lipschitz *= singular.value.min(limit);
            singular.limit(limit, &mut tensors[2 * layer], self.widths()[layer]);
        }
        tensors.truncate(2 * self.layers());
        Ok((tensors, lipschitz))
    }

    /// Backward pass of [`limited`](Self::limited).
    ///
    /// # Errors
    /// As [`limited`](Self::limited).
    pub(super) fn pull_limited<E: Real>(
        &self,
        tensors: &[Vec<E>],
        gradient: &mut [Vec<E>],
    ) -> Result<()> {
        for layer in 0..self.layers() {
            let (weight, fan_in) = (&tensors[2 * layer], self.widths()[layer]);
            let singular = self.singular(layer, tensors)?;
            singular.pull_limit(self.limit(), weight, fan_in, &mut gradient[2 * layer]);
        }
        Ok(())
    }

    /// A few power iterations, or, for reporting, as many as it takes to converge; none if norms
    /// are exact.
    ///
    /// # Errors
    /// As [`limited`](Self::limited).
    pub(super) fn refresh<E: Real>(
        &self,
        mut tensors: Vec<Vec<E>>,
        purpose: Purpose,
    ) -> Result<Option<Vec<Vec<E>>>> {
        let Norm::Power { iterations } = self.constraint.norm else {
            return Ok(None);
        };
        for layer in 0..self.layers() {
            let (matrix, mut singular) =
                (self.matrix(layer, &tensors), self.singular(layer, &tensors)?);
            match purpose {
                Purpose::Training => (0..iterations).for_each(|_| singular.iterate(&matrix)),
                Purpose::Reporting => singular.converge(&matrix),
            }
            for (vector, at) in [&singular.left, &singular.right].into_iter().zip(self.at(layer)) {
                tensors[at] = vector.iter().map(|&v| E::of(v)).collect();
            }
        }
        Ok(Some(tensors))
    }

    fn widths(&self) -> &[usize] {
        self.residual.kernel.widths()
    }

    /// Largest norm of a layer.
    fn limit(&self) -> f64 {
        (self.constraint.coefficient / self.activations).powf(1.0 / self.layers() as f64)
    }

    /// Number of columns of a layer's weight that count.
    fn counted(&self, layer: usize) -> usize {
        if layer == 0 { self.residual.dim } else { self.widths()[layer] }
    }

    /// The columns of a layer's weight that count.
    fn matrix<E: Real>(&self, layer: usize, tensors: &[Vec<E>]) -> DMatrix<f64> {
        let (weight, fan_in) = (&tensors[2 * layer], self.widths()[layer]);
        let entry = |i: usize, j: usize| weight[i * fan_in + j].as_f64();
        DMatrix::from_fn(self.widths()[layer + 1], self.counted(layer), entry)
    }

    /// Indices of the tensors with the vectors of a layer.
    fn at(&self, layer: usize) -> [usize; 2] {
        let first = 2 * (self.layers() + layer);
        [first, first + 1]
    }

    fn singular<E: Real>(&self, layer: usize, tensors: &[Vec<E>]) -> Result<Singular> {
        let matrix = self.matrix(layer, tensors);
        if self.constraint.norm == Norm::Exact {
            return Singular::largest(&matrix);
        }
        let wide = |at: usize| {
            let vector = &tensors[at];
            DVector::from_iterator(vector.len(), vector.iter().map(|v| v.as_f64()))
        };
        let [left, right] = self.at(layer).map(wide);
        Ok(Singular::along(&matrix, left, right))
    }

    fn vectors(&self) -> Vec<Layout> {
        if self.constraint.norm == Norm::Exact {
            return Vec::new();
        }
        let layer = |layer: usize| {
            let vector = |name: &str, length| Layout::zeros(format!("{name}{layer}"), 1, length);
            let (units, columns) = (self.widths()[layer + 1], self.counted(layer));
            [vector("left", units).fixed(), vector("right", columns).fixed()]
        };
        (0..self.layers()).flat_map(layer).collect()
    }
}

impl HasLayout for LipschitzNetwork {
    fn layout(&self) -> Vec<Layout> {
        let mut layout = self.residual.kernel.layout();
        layout.extend(self.vectors());
        layout
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

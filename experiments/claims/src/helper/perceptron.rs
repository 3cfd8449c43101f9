//! A small perceptron written out in matrices, to hold residual and continuous flows against; both
//! can be built with its weights.

use std::num::NonZeroUsize;

use anyhow::{Result, ensure};
use flows_continuous::{
    Accuracy, ContinuousFlow, Divergence, EqualSteps, FieldConfig, GradientMethod, PerceptronField,
    Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::tensor::set_values;
use flows_core::{Architecture, Bijector, Inverse, Parameters, Stream, normals, stream};
use flows_finite::architecture::ResidualFlow;
use flows_finite::residual::{Constraint, Determinant, Norm};
use nalgebra::{DMatrix, DVector};

/// g(z): weight and bias of each layer, tanh between them.
#[derive(Clone, Debug)]
pub(crate) struct Perceptron {
    pub(crate) layers: Vec<(DMatrix<f64>, DVector<f64>)>,
}

impl Perceptron {
    /// g(z) = A z.
    pub(crate) fn linear(matrix: DMatrix<f64>) -> Self {
        let bias = DVector::zeros(matrix.nrows());
        Self { layers: vec![(matrix, bias)] }
    }

    /// One hidden layer, random, with given spectral norms of its two weights.
    pub(crate) fn random(
        (dim, hidden): (usize, usize),
        [first, second]: [f64; 2],
        rng: &mut Stream,
    ) -> Self {
        let mut layer = |rows: usize, columns: usize, norm: f64| {
            let matrix = random_matrix(rows, columns, rng);
            let largest = spectral_norm(&matrix);
            (matrix * (norm / largest), DVector::from_vec(normals(rows, rng)) * 0.3)
        };
        Self { layers: vec![layer(hidden, dim, first), layer(dim, hidden, second)] }
    }

    /// g(z) = -W^T tanh(W z + b) with |W|^2 = `norm`: the Jacobian is symmetric with eigenvalues
    /// between -`norm` and 0, so that all terms of the log-det's series have one sign.
    pub(crate) fn decreasing((dim, hidden): (usize, usize), norm: f64, rng: &mut Stream) -> Self {
        let mut this = Self::random((dim, hidden), [norm.sqrt(); 2], rng);
        this.layers[1] = (-this.layers[0].0.transpose(), DVector::zeros(dim));
        this
    }

    /// The output times a factor.
    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        if let Some((weight, bias)) = self.layers.last_mut() {
            *weight *= factor;
            *bias *= factor;
        }
        self
    }

    /// Every weight moved by `step` times that of another perceptron.
    pub(crate) fn moved(mut self, direction: &Self, step: f64) -> Self {
        for ((weight, bias), (d_weight, d_bias)) in self.layers.iter_mut().zip(&direction.layers) {
            *weight += d_weight * step;
            *bias += d_bias * step;
        }
        self
    }

    /// All weights, in the order in which a flow shows them.
    pub(crate) fn weights(&self) -> Vec<f64> {
        let layer = |(weight, bias): &(DMatrix<f64>, DVector<f64>)| {
            [row_by_row(weight), bias.as_slice().to_vec()].concat()
        };
        self.layers.iter().flat_map(layer).collect()
    }

    pub(crate) fn dim(&self) -> usize {
        self.layers[0].0.ncols()
    }

    /// Product of the spectral norms: a bound of the Lipschitz constant.
    pub(crate) fn lipschitz(&self) -> f64 {
        self.layers.iter().map(|(weight, _)| spectral_norm(weight)).product()
    }

    pub(crate) fn value(&self, z: &[f64]) -> DVector<f64> {
        self.with_jacobian(z).0
    }

    pub(crate) fn jacobian(&self, z: &[f64]) -> DMatrix<f64> {
        self.with_jacobian(z).1
    }

    fn with_jacobian(&self, z: &[f64]) -> (DVector<f64>, DMatrix<f64>) {
        let mut value = DVector::from_row_slice(z);
        let mut jacobian = DMatrix::identity(z.len(), z.len());
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            if index > 0 {
                value = value.map(f64::tanh);
                jacobian = DMatrix::from_diagonal(&value.map(|h| 1.0 - h * h)) * jacobian;
            }
            value = weight * value + bias;
            jacobian = weight * jacobian;
        }
        (value, jacobian)
    }

    fn hidden(&self) -> Vec<usize> {
        self.layers[1..].iter().map(|(weight, _)| weight.ncols()).collect()
    }

    /// `depth` layers z + g(z) of the finite family, in this direction; the norms of g's weights have
    /// to be below 0.999 each, so that the layers use them as they are.
    pub(crate) fn residual(&self, depth: usize, training: Determinant) -> Result<Inverse<f64>> {
        let config = ResidualFlow {
            layers: depth,
            hidden: self.hidden(),
            activation: Activation::Tanh,
            constraint: Constraint { coefficient: 0.999, norm: Norm::Exact },
            training,
            reporting: Determinant::Exact,
        };
        // The config has the density as its pass: its inverse is z + g(z).
        let chain = config.build::<f64>(self.dim(), 0, &mut stream(0, "overwritten"))?;
        let mut flow = Inverse::new(Box::new(chain));
        self.write(&mut flow)?;
        Ok(flow)
    }

    /// dz/dt = g(z) over [0, `end`] of the continuous family.
    pub(crate) fn continuous(
        &self,
        accuracy: Accuracy,
        end: f64,
        gradient: GradientMethod,
    ) -> Result<Box<dyn Bijector<f64>>> {
        let field = PerceptronField {
            hidden: self.hidden(),
            activation: Activation::Tanh,
            time: TimeInput::None,
        };
        let config = ContinuousFlow {
            end_time: end,
            field: FieldConfig::Perceptron(field),
            training: accuracy,
            reporting: accuracy,
            gradient,
            act_norm: false,
            ..ContinuousFlow::default()
        };
        let mut flow = config.build(self.dim(), 0, &mut stream(0, "overwritten"))?;
        self.write(&mut flow)?;
        Ok(Box::new(flow))
    }

    /// Overwrites the weights of every layer of a model that has its own under these names.
    pub(crate) fn write(&self, model: &mut (impl Parameters<f64> + ?Sized)) -> Result<()> {
        let mut written = 0;
        model.visit_mut(&mut |name, _, tensor| {
            let name = name.rsplit('.').next().unwrap_or(name);
            for (index, (weight, bias)) in self.layers.iter().enumerate() {
                let values = if name == format!("weight{index}") {
                    row_by_row(weight)
                } else if name == format!("bias{index}") {
                    bias.as_slice().to_vec()
                } else {
                    continue;
                };
                written += 1;
                set_values(tensor, &values)?;
            }
            Ok(())
        })?;
        let tensors = 2 * self.layers.len();
        ensure!(
            written > 0 && written % tensors == 0,
            "weights of a flow: expected {tensors} tensors a layer, found {written}"
        );
        Ok(())
    }
}

pub(crate) fn row_by_row(matrix: &DMatrix<f64>) -> Vec<f64> {
    matrix.transpose().as_slice().to_vec()
}

pub(crate) fn random_matrix(rows: usize, columns: usize, rng: &mut Stream) -> DMatrix<f64> {
    DMatrix::from_row_slice(rows, columns, &normals::<f64>(rows * columns, rng))
}

pub(crate) fn spectral_norm(matrix: &DMatrix<f64>) -> f64 {
    matrix.singular_values().max()
}

/// So many equal steps, at least one.
pub(crate) fn equal(steps: usize) -> EqualSteps {
    EqualSteps { steps: NonZeroUsize::MIN.saturating_add(steps.saturating_sub(1)) }
}

/// A solver with the exact trace.
pub(crate) fn exact(solver: Solver) -> Accuracy {
    Accuracy { solver, divergence: Divergence::Exact }
}

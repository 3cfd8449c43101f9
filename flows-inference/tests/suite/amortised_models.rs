//! Autoencoders of tests: a linear-Gaussian model with a known posterior, and small nonlinear ones.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::tensor::set_values;
use flows_core::{
    Bijector, LastLayer, Mlp, MlpKernel, Parameters, Result, Stream, normals, stream,
};
use flows_inference::amortised::{
    Autoencoder, Decoder, Encoder, Likelihood, standard_normal_prior,
};

const LN_TWO_PI: f64 = 1.837_877_066_409_345_5;

/// Builds a posterior bijector.
pub(crate) type Posterior<'a> =
    &'a dyn Fn(usize, usize, &mut Stream) -> Result<Box<dyn Bijector<f64>>>;

/// Probabilistic PCA: z from N(0, I) in the plane, x | z from N(W z + b, sigma^2 I) in four dimensions.
///
/// With r = x - b and L = I + W^T W / sigma^2, the posterior is N(L^-1 W^T r / sigma^2, L^-1) and x is
/// N(b, W W^T + sigma^2 I).
pub(crate) struct LinearModel {
    /// Columns of W.
    pub(crate) columns: [[f64; 4]; 2],
    pub(crate) offset: [f64; 4],
    pub(crate) sigma: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl LinearModel {
    /// Columns of W that are nearly parallel, so that the posterior is correlated.
    pub(crate) fn correlated() -> Self {
        let columns = [[1.0, 0.8, 1.0, 0.5], [0.9, 1.0, 1.0, 0.3]];
        Self { columns, offset: [0.5, -1.0, 0.0, 2.0], sigma: 0.5 }
    }

    /// Orthogonal columns of W, so that the posterior is a diagonal normal.
    pub(crate) fn uncorrelated() -> Self {
        let columns = [[1.0, 0.5, 0.0, 1.0], [-0.5, 1.0, 2.0, 0.0]];
        Self { columns, ..Self::correlated() }
    }

    /// L by rows.
    pub(crate) fn precision(&self) -> [[f64; 2]; 2] {
        let entry = |i: usize, j: usize| {
            let product = dot(&self.columns[i], &self.columns[j]) / self.sigma.powi(2);
            if i == j { 1.0 + product } else { product }
        };
        [[entry(0, 0), entry(0, 1)], [entry(1, 0), entry(1, 1)]]
    }

    fn determinant(&self) -> f64 {
        let [[a, b], [c, d]] = self.precision();
        a * d - b * c
    }

    /// The KL divergence in nats from the best diagonal normal to the posterior, the same for all x: the
    /// best has the posterior's mean and the precisions L_ii, so that the traces cancel.
    pub(crate) fn mean_field_gap(&self) -> f64 {
        let [[a, _], [_, d]] = self.precision();
        0.5 * (a * d / self.determinant()).ln()
    }

    /// L^-1 W^T / sigma^2 by rows.
    fn regression(&self) -> [[f64; 4]; 2] {
        let [[a, b], [c, d]] = self.precision();
        let scale = 1.0 / (self.determinant() * self.sigma.powi(2));
        let [first, second] = self.columns;
        let row = |p: f64, q: f64| std::array::from_fn(|j| scale * (p * first[j] + q * second[j]));
        [row(d, -b), row(-c, a)]
    }

    pub(crate) fn log_prob(&self, x: &[f64]) -> f64 {
        let residual: Vec<f64> = x.iter().zip(&self.offset).map(|(x, b)| x - b).collect();
        let mean = self.regression().map(|row| dot(&row, &residual));
        let variance = self.sigma.powi(2);
        let explained: f64 =
            (0..2).map(|i| mean[i] * dot(&self.columns[i], &residual) / variance).sum();
        let square = dot(&residual, &residual) / variance - explained;
        -0.5 * (square + self.determinant().ln() + 4.0 * (variance.ln() + LN_TWO_PI))
    }

    pub(crate) fn draws(&self, rows: usize, rng: &mut Stream) -> Vec<f64> {
        let mut values = Vec::with_capacity(4 * rows);
        for _ in 0..rows {
            let noise = normals::<f64>(6, rng);
            let [first, second] = self.columns;
            values.extend((0..4).map(|j| {
                let mean = first[j] * noise[0] + second[j] * noise[1] + self.offset[j];
                mean + self.sigma * noise[2 + j]
            }));
        }
        values
    }

    /// The decoder, a layer without an activation.
    pub(crate) fn decoder(&self) -> Decoder<f64> {
        let [first, second] = self.columns;
        let mut weight: Vec<f64> = (0..4).flat_map(|j| [first[j], second[j]]).collect();
        weight.extend([0.0; 8]);
        let mut bias = self.offset.to_vec();
        bias.extend([self.sigma.ln(); 4]);
        Decoder::new(linear(2, 8, &weight, &bias), Likelihood::Normal, 4).unwrap()
    }

    /// The encoder of the best diagonal normal.
    pub(crate) fn best_encoder(&self) -> Encoder<f64> {
        let rows = self.regression();
        let mut weight: Vec<f64> = rows.concat();
        weight.extend([0.0; 8]);
        let [[a, _], [_, d]] = self.precision();
        let mut bias = rows.map(|row| -dot(&row, &self.offset)).to_vec();
        bias.extend([-0.5 * a.ln(), -0.5 * d.ln()]);
        Encoder::new(linear(4, 4, &weight, &bias), 2, 0).unwrap()
    }

    /// The model with an encoder that is a layer without an activation, to be trained.
    pub(crate) fn untrained(&self, posterior: Posterior<'_>) -> Autoencoder<f64> {
        let rng = &mut stream(3, "initial weights");
        let posterior = posterior(2, 0, rng).unwrap();
        let kernel = MlpKernel::new(4, &[], 4, Activation::Tanh).unwrap();
        let network = Mlp::new(kernel, LastLayer::Random, rng).unwrap();
        self.with(Encoder::new(network, 2, 0).unwrap(), posterior)
    }

    /// The model with this posterior.
    pub(crate) fn with(
        &self,
        encoder: Encoder<f64>,
        posterior: Box<dyn Bijector<f64>>,
    ) -> Autoencoder<f64> {
        let prior = standard_normal_prior(2, &mut stream(0, "prior")).unwrap();
        Autoencoder::new(encoder, posterior, prior, self.decoder()).unwrap().with_fixed_model()
    }
}

/// A perceptron without hidden layers.
pub(crate) fn linear(inputs: usize, outputs: usize, weight: &[f64], bias: &[f64]) -> Mlp<f64> {
    let kernel = MlpKernel::new(inputs, &[], outputs, Activation::Tanh).unwrap();
    let mut network = Mlp::new(kernel, LastLayer::Zero, &mut stream(0, "network")).unwrap();
    let mut values = [weight, bias].into_iter();
    network.visit_mut(&mut |_, _, tensor| set_values(tensor, values.next().unwrap())).unwrap();
    network
}

/// Mean with its standard error.
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let values: Vec<f64> = values.into_iter().collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

//! A masked conditioner of one hidden layer, written out: what a layer's tensors say, read without
//! the library's masked network.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use flows_core::activation::Activation;
use flows_core::tensor::set_values;
use flows_core::testing::perturb;
use flows_core::{Architecture, Bijector, Chain, Parameters, Values, stream};
use flows_finite::architecture::{
    AutoregressiveFlow, Conditioner, LayerOrder, Perceptron, TransformerConfig,
};

/// Units of the hidden layer.
pub(crate) const HIDDEN: usize = 12;

/// theta_i = W1_i tanh(W0 x + b0) + b1_i, with zeros in W0 and W1 wherever theta_i must not see.
#[derive(Clone, Debug)]
pub(crate) struct PlainConditioner {
    pub(crate) dim: usize,
    pub(crate) arity: usize,
    /// `(HIDDEN, dim)`
    pub(crate) weight0: Vec<f64>,
    pub(crate) bias0: Vec<f64>,
    /// `(dim arity, HIDDEN)`
    pub(crate) weight1: Vec<f64>,
    pub(crate) bias1: Vec<f64>,
}

/// A masked layer with that transformer away from its start, the natural order, and its
/// conditioner.
pub(crate) fn layer(
    dim: usize,
    transformer: &Arc<dyn TransformerConfig>,
    seed: u64,
) -> Result<(Chain<f64>, PlainConditioner)> {
    let perceptron = Perceptron { hidden: vec![HIDDEN], activation: Activation::Tanh };
    let config = AutoregressiveFlow {
        layers: 1,
        transformer: Arc::clone(transformer),
        conditioner: Conditioner::Perceptron(perceptron),
        order: LayerOrder::Natural,
        act_norm: false,
        ..AutoregressiveFlow::default()
    };
    let mut chain = config.build::<f64>(dim, 0, &mut stream(seed, "init"))?;
    let mask = PlainConditioner::read(&chain, transformer.arity()?)?;
    perturb(&mut chain, 0.5, &mut stream(seed, "perturb"))?;
    let mut plain = PlainConditioner::read(&chain, transformer.arity()?)?;
    plain.keep(&mask);
    Ok((chain, plain))
}

impl PlainConditioner {
    fn read(chain: &Chain<f64>, arity: usize) -> Result<Self> {
        let tensor = |name: &str| {
            let mut found = None;
            chain.visit(&mut |full, _, tensor| {
                if full.ends_with(name) {
                    found = Some(tensor.values());
                }
            });
            found.with_context(|| format!("the layer has no tensor {name}"))
        };
        Ok(Self {
            dim: chain.dim(),
            arity,
            weight0: tensor("weight0")?,
            bias0: tensor("bias0")?,
            weight1: tensor("weight1")?,
            bias1: tensor("bias1")?,
        })
    }

    /// Sets to zero what the masks forbid. At the start weights that are used differ from zero, so
    /// that the features a unit sees can be read off `start`; theta_i sees the units of which none
    /// sees feature i or a later one.
    fn keep(&mut self, start: &Self) {
        let dim = self.dim;
        for (weight, &used) in self.weight0.iter_mut().zip(&start.weight0) {
            *weight = if used == 0.0 { 0.0 } else { *weight };
        }
        let sees = |unit: usize| {
            let row = &start.weight0[unit * dim..(unit + 1) * dim];
            row.iter().rposition(|&used| used != 0.0).map_or(0, |last| last + 1)
        };
        for (index, weight) in self.weight1.iter_mut().enumerate() {
            let (feature, unit) = (index / HIDDEN / self.arity, index % HIDDEN);
            *weight = if sees(unit) <= feature { *weight } else { 0.0 };
        }
    }

    /// Parameters of feature `i` for the features `x`, of which only those before `i` count.
    pub(crate) fn theta(&self, i: usize, x: &[f64]) -> Vec<f64> {
        let dot = |row: &[f64], v: &[f64]| row.iter().zip(v).map(|(a, b)| a * b).sum::<f64>();
        let hidden: Vec<f64> = self
            .weight0
            .chunks(self.dim)
            .zip(&self.bias0)
            .map(|(row, bias)| (dot(row, x) + bias).tanh())
            .collect();
        let rows = self.weight1.chunks(HIDDEN).zip(&self.bias1);
        let own = rows.skip(i * self.arity).take(self.arity);
        own.map(|(row, bias)| dot(row, &hidden) + bias).collect()
    }

    /// Writes the conditioner of feature `i` alone into a perceptron from all other features to its
    /// parameters.
    pub(crate) fn write_into(&self, i: usize, network: &mut impl Parameters<f64>) -> Result<()> {
        let others = |row: &[f64]| -> Vec<f64> {
            row.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, &w)| w).collect()
        };
        let weight0: Vec<f64> = self.weight0.chunks(self.dim).flat_map(others).collect();
        let own = i * self.arity..(i + 1) * self.arity;
        let weight1 = &self.weight1[own.start * HIDDEN..own.end * HIDDEN];
        let tensors: [(&str, &[f64]); 4] = [
            ("weight0", &weight0),
            ("bias0", &self.bias0),
            ("weight1", weight1),
            ("bias1", &self.bias1[own]),
        ];
        network.visit_mut(&mut |name, _, tensor| match tensors
            .iter()
            .find(|(end, _)| name.ends_with(end))
        {
            Some((_, values)) => set_values(tensor, values),
            None => Ok(()),
        })?;
        Ok(())
    }
}

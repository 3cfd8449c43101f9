//! A layer of a block neural autoregressive network: weight layout, normalisation and initial
//! values.

use std::ops::Range;

use flows_core::operation::LANES;
use flows_core::{Real, Stream};
use rand::RngExt;

/// Half the width of the interval over which the hidden units are spread initially.
const REACH: f64 = 4.0;

/// Slope of the steepest unit initially.
const STEEPEST: f64 = 2.0;

/// Initial size of the raw weights, relative to Xavier's.
const SHRINK: f64 = 0.1;

/// Shape of a layer. The units of feature d read the free inputs and the features up to d.
///
/// Weights are packed: the diagonal blocks, D times `(units, fan_in)`, then the blocks to their
/// left, `(units, before(d))` for d = 0, 1, ..; nothing is stored above the diagonal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) dim: usize,
    /// Inputs that belong to no feature: the context, at the first layer.
    pub(super) free: usize,
    /// Units of a feature in the level below.
    pub(super) fan_in: usize,
    /// Units of a feature.
    pub(super) units: usize,
}

impl Layer {
    /// Number of inputs to the left of the diagonal block of feature d.
    pub(super) fn before(&self, d: usize) -> usize {
        self.free + d * self.fan_in
    }

    /// Range of the diagonal block of feature d.
    pub(super) fn diagonal(&self, d: usize) -> Range<usize> {
        let size = self.units * self.fan_in;
        d * size..(d + 1) * size
    }

    /// Range of the blocks to its left.
    pub(super) fn left(&self, d: usize) -> Range<usize> {
        let earlier = self.free * d + self.fan_in * (d * d.saturating_sub(1) / 2);
        let start = self.units * (self.dim * self.fan_in + earlier);
        start..start + self.units * self.before(d)
    }

    /// Number of weights.
    pub(super) fn weights(&self) -> usize {
        self.left(self.dim).start
    }

    /// Number of units of all features.
    pub(super) fn rows(&self) -> usize {
        self.dim * self.units
    }

    /// Range, in the level below, of the values that only feature d reads.
    pub(super) fn source(&self, d: usize) -> Range<usize> {
        self.before(d) * LANES..(self.before(d) + self.fan_in) * LANES
    }

    /// Range, in the level below, of the tangents of feature d.
    pub(super) fn tangents(&self, d: usize) -> Range<usize> {
        d * self.fan_in * LANES..(d + 1) * self.fan_in * LANES
    }

    /// Range of the units of feature d in this layer's level, of values and tangents alike.
    pub(super) fn image(&self, d: usize) -> Range<usize> {
        d * self.units * LANES..(d + 1) * self.units * LANES
    }

    /// For every row: its index, and the ranges of its weights in the diagonal block and to its
    /// left.
    fn each_row(self) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
        (0..self.rows()).map(move |row| {
            let (d, i) = (row / self.units, row % self.units);
            let diagonal = self.diagonal(d).start + i * self.fan_in;
            let left = self.left(d).start + i * self.before(d);
            (row, diagonal..diagonal + self.fan_in, left..left + self.before(d))
        })
    }

    /// The weights W from the raw weights u and the log-gains g:
    ///
    /// ```text
    /// v = exp(u) in the diagonal block, u to its left;   W = e^g v / |v|   row by row
    /// ```
    pub(super) fn effective<E: Real>(self, raw: &[E], log_gain: &[E]) -> Vec<E> {
        narrow(&self.normalised(&wide(raw), &wide(log_gain)).0)
    }

    /// Backward pass: gradients of u and g from that of W. With G the gradient of W and q = G . W
    /// of a row, g receives q, weights to the left (e^g / |v|) H and those in the diagonal block W
    /// H, where H = G - q e^(-2g) W.
    pub(super) fn pull_effective<E: Real>(
        self,
        raw: &[E],
        log_gain: &[E],
        gradient: &[E],
    ) -> [Vec<E>; 2] {
        let gains = wide(log_gain);
        let (weights, scales) = self.normalised(&wide(raw), &gains);
        let (mut d_raw, mut d_gain) = (wide(gradient), vec![0.0; gains.len()]);
        for (row, diagonal, left) in self.each_row() {
            let entries = || diagonal.clone().chain(left.clone());
            let along: f64 = entries().map(|k| d_raw[k] * weights[k]).sum();
            let shrink = along * (-2.0 * gains[row]).exp();
            for k in entries() {
                let factor = if diagonal.contains(&k) { weights[k] } else { scales[row] };
                d_raw[k] = factor * (d_raw[k] - shrink * weights[k]);
            }
            d_gain[row] = along;
        }
        [narrow(&d_raw), narrow(&d_gain)]
    }

    /// W and the factor e^g / |v| of every row.
    fn normalised(self, raw: &[f64], gains: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut weights, mut scales) = (raw.to_vec(), Vec::with_capacity(gains.len()));
        for (row, diagonal, left) in self.each_row() {
            weights[diagonal.clone()].iter_mut().for_each(|u| *u = u.exp());
            let entries = || diagonal.clone().chain(left.clone());
            let square: f64 = entries().map(|k| weights[k].powi(2)).sum();
            let scale = gains[row].exp() / square.sqrt();
            entries().for_each(|k| weights[k] *= scale);
            scales.push(scale);
        }
        (weights, scales)
    }

    /// Initial raw weights, log-gains and biases, with which the network is near the identity.
    ///
    /// Unit k of n of a hidden layer starts as tanh(s (x - c_k)) with centres c_k spread evenly over
    /// [-R, R] and s = min(n / R, 2), whatever the layer: since
    /// ```text
    /// sum over k of (R / n) tanh(s (x - c_k))  ~  x   for |x| < R,
    /// ```
    /// the layer above recovers x if the weights of its diagonal block add up to R times the wanted
    /// slope, which the gains ensure. Raw weights are uniform as in the paper (Xavier), but a tenth
    /// in size: the centres already distinguish the units, and at full size the earlier features of
    /// a wide table would outweigh a feature's own.
    pub(super) fn start(self, hidden_below: bool, last: bool, rng: &mut Stream) -> [Vec<f64>; 3] {
        let n = self.units as f64;
        let slope = if last { 1.0 } else { (n / REACH).min(STEEPEST) };
        let sum = if hidden_below { slope * REACH } else { slope };
        let mut raw = vec![0.0; self.weights()];
        for (row, diagonal, left) in self.each_row() {
            let fan = self.units + self.fan_in + self.before(row / self.units);
            let bound = SHRINK * (6.0 / fan as f64).sqrt();
            diagonal.chain(left).for_each(|k| raw[k] = rng.random_range(-bound..bound));
        }
        let (unit, _) = self.normalised(&raw, &vec![0.0; self.rows()]);
        let gain = |diagonal: Range<usize>| (sum / unit[diagonal].iter().sum::<f64>()).ln();
        let gains = self.each_row().map(|(_, diagonal, _)| gain(diagonal)).collect();
        let centre = |row: usize| REACH * ((2 * (row % self.units) + 1) as f64 / n - 1.0);
        let bias = |row| if last { 0.0 } else { -slope * centre(row) };
        [raw, gains, (0..self.rows()).map(bias).collect()]
    }
}

fn wide<E: Real>(values: &[E]) -> Vec<f64> {
    values.iter().map(|v| v.as_f64()).collect()
}

fn narrow<E: Real>(values: &[f64]) -> Vec<E> {
    values.iter().map(|&v| E::of(v)).collect()
}

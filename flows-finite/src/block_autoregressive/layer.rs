//! One layer of a block neural autoregressive network: the layout of its weights, their
//! normalisation, and the values at which training starts.

use std::ops::Range;

use flows_core::operation::LANES;
use flows_core::{Real, Stream};
use rand::RngExt;

/// Half the width of the interval over which the units of a hidden layer are spread at the start.
const REACH: f64 = 4.0;

/// Steepest unit at the start.
const STEEPEST: f64 = 2.0;

/// Size of the raw weights at the start, against Xavier's.
const SHRINK: f64 = 0.1;

/// Shape of one layer. The units of feature d read the free inputs and the features up to d.
///
/// The weights are packed: the blocks on the diagonal, D times `(units, fan_in)`, then the blocks to
/// their left, `(units, before(d))` for d = 0, 1, ..; nothing is stored above the diagonal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) dim: usize,
    /// Inputs without a feature of their own: the context, at the first layer.
    pub(super) free: usize,
    /// Units of a feature in the level below.
    pub(super) fan_in: usize,
    /// Units of a feature.
    pub(super) units: usize,
}

impl Layer {
    /// Inputs to the left of the diagonal block of feature d.
    pub(super) fn before(&self, d: usize) -> usize {
        self.free + d * self.fan_in
    }

    /// Where the diagonal block of feature d is.
    pub(super) fn diagonal(&self, d: usize) -> Range<usize> {
        let size = self.units * self.fan_in;
        d * size..(d + 1) * size
    }

    /// Where the blocks to the left of it are.
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

    /// Where the values that only feature d reads are in the level below.
    pub(super) fn source(&self, d: usize) -> Range<usize> {
        self.before(d) * LANES..(self.before(d) + self.fan_in) * LANES
    }

    /// Where the tangents of feature d are in the level below.
    pub(super) fn tangents(&self, d: usize) -> Range<usize> {
        d * self.fan_in * LANES..(d + 1) * self.fan_in * LANES
    }

    /// Where the units of feature d are in this layer's own level, values and tangents alike.
    pub(super) fn image(&self, d: usize) -> Range<usize> {
        d * self.units * LANES..(d + 1) * self.units * LANES
    }

    /// For every row: its number, its weights in the diagonal block and those to the left.
    fn each_row(self) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
        (0..self.rows()).map(move |row| {
            let (d, i) = (row / self.units, row % self.units);
            let diagonal = self.diagonal(d).start + i * self.fan_in;
            let left = self.left(d).start + i * self.before(d);
            (row, diagonal..diagonal + self.fan_in, left..left + self.before(d))
        })
    }

    /// The weights W that the rows are multiplied by, from the raw weights u and the log-gains g:
    ///
    /// ```text
    /// v = exp(u) in the diagonal block, u to its left;   W = e^g v / |v|   row by row
    /// ```
    pub(super) fn effective<E: Real>(self, raw: &[E], log_gain: &[E]) -> Vec<E> {
        narrow(&self.normalised(&wide(raw), &wide(log_gain)).0)
    }

    /// The gradients of u and g from that of W: with G the gradient of W and q = G . W of a row, g
    /// receives q, a weight to the left (e^g / |v|) H and one in the diagonal block W H, where
    /// H = G - q e^(-2g) W.
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

    /// Raw weights, log-gains and biases with which the network is near the identity.
    ///
    /// Unit k of n of a hidden layer starts as tanh(s (x - c_k)) with centres c_k spread evenly over
    /// [-R, R] and s = min(n / R, 2), whatever the layer: since
    /// ```text
    /// sum over k of (R / n) tanh(s (x - c_k))  ~  x   for |x| < R,
    /// ```
    /// the layer above recovers x from it if the weights of its diagonal block add up to R times the
    /// slope wanted. The gains see to that. Raw weights are uniform as in the original (Xavier), but a
    /// tenth of it: the centres already tell the units apart, and with full size the earlier features
    /// of a wide table would outweigh a feature's own.
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

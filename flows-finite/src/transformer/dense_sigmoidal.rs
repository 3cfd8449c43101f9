//! The deep dense sigmoidal transformer of neural autoregressive flows.

use std::sync::Arc;

use flows_core::elementwise::vectorised;
use flows_core::lanes::add;
use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};
use serde::{Deserialize, Serialize};

use super::deep_sigmoidal::{raw_unit_slope, slopes};
use super::lanes::{Lanes, LogSum, exps, lanes, lns, rows, rows_mut, sigmoids};
use super::mixture::{Mixture, Unit, UnitGradient, check_count, spread};
use super::root::invert;
use super::{Inner, Outer, SharedTransformer, Transformer, TransformerConfig};

/// Settings of [`DenseSigmoidal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DenseSigmoidalConfig {
    /// Layers.
    pub layers: usize,
    /// Sigmoidal units of each layer.
    pub units: usize,
}

impl Default for DenseSigmoidalConfig {
    fn default() -> Self {
        Self { layers: 2, units: 8 }
    }
}

#[typetag::serde(name = "dense_sigmoidal")]
impl TransformerConfig for DenseSigmoidalConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer {
        Ok(Arc::new(DenseSigmoidal::new(self.layers, self.units)?))
    });
}

/// The deep dense sigmoidal transformer: L layers of K sigmoidal units with dense positive weights
/// on both sides.
///
/// A layer maps h to h', from one value to K, from K to K, and in the end to one value again:
/// ```text
/// z_j = a_j sum_m u_jm h_m + b_j,   h'_i = logit(sum_j w_ij sigmoid(z_j))
/// ```
/// with a > 0, and rows of u and of w that are positive and sum to 1; as in the authors'
/// code, the last layer has K units too. One layer is
/// [`DeepSigmoidal`](super::DeepSigmoidal).
///
/// Parameters of an element, layer by layer: raw u by rows (softmax; none for one input), K offsets
/// b, K raw slopes a (softplus, plus 1e-3), raw w by rows (softmax). The map goes from all reals onto
/// all reals and is a straight line far out.
///
/// It starts at slopes 1 and offsets spread evenly over (-1, 1); the inner rows of u and w favour
/// units with similar offsets, because equal rows would stay equal. There |y - x| < 0.2 L
/// everywhere, and y = x for K = 1.
///
/// # Accuracy
/// As [`DeepSigmoidal`](super::DeepSigmoidal); the Jacobians of the layers are multiplied in log
/// space.
///
/// # Cost
/// O(L K^2); the inverse is a root search.
///
/// # Reference
/// Huang, Krueger, Lacoste, Courville, *Neural Autoregressive Flows*, ICML 2018 (DDSF).
/// <https://arxiv.org/abs/1804.00779>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseSigmoidal {
    layers: usize,
    units: usize,
}

/// The parameters of one layer.
#[derive(Clone, Copy)]
struct Raw<'a, E> {
    inputs: &'a [Lanes<E>],
    offsets: &'a [Lanes<E>],
    slopes: &'a [Lanes<E>],
    outputs: &'a [Lanes<E>],
}

/// A feature between layers: its value and the logarithm of its slope by x; or their gradients.
#[derive(Clone, Copy)]
struct Feature<E> {
    value: Lanes<E>,
    log_slope: Lanes<E>,
}

/// A layer with its values.
struct Layer<'a, E> {
    raw: Raw<'a, E>,
    input: Vec<Feature<E>>,
    /// log u by rows.
    log_u: Vec<Lanes<E>>,
    /// sum_m u_jm h_m.
    seen: Vec<Feature<E>>,
    units: Vec<Unit<E>>,
}

impl DenseSigmoidal {
    /// A transformer of `layers` layers of `units` sigmoids.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless there are 1 to 500 units and 1 to 20 layers.
    pub fn new(layers: usize, units: usize) -> Result<Self> {
        if !(1..=20).contains(&layers) {
            let (name, requirement) = ("layers of a dense sigmoidal map", "between 1 and 20");
            return Err(Error::Parameter { name, requirement, value: layers as f64 });
        }
        Ok(Self { layers, units: check_count("units of a dense sigmoidal transformer", units)? })
    }

    /// Numbers of rows of raw u, of offsets and of slopes, and of raw w in a layer.
    fn shape(self, layer: usize) -> [usize; 3] {
        let square = self.units * self.units;
        let inputs = if layer == 0 { 0 } else { square };
        let outputs = if layer + 1 == self.layers { self.units } else { square };
        [inputs, self.units, outputs]
    }

    /// Splits `theta` into layers.
    #[inline(always)]
    fn split<E>(self, theta: &[E]) -> impl Iterator<Item = Raw<'_, E>> {
        let mut rest = rows(theta);
        (0..self.layers).map(move |layer| {
            let [first, units, last] = self.shape(layer);
            let (inputs, after) = rest.split_at(first);
            let (offsets, after) = after.split_at(units);
            let (slopes, after) = after.split_at(units);
            let (outputs, after) = after.split_at(last);
            rest = after;
            Raw { inputs, offsets, slopes, outputs }
        })
    }

    /// All layers, and y.
    #[inline(never)]
    fn evaluate<'a, E: Real>(self, x: &[E], theta: &'a [E]) -> (Vec<Layer<'a, E>>, Feature<E>) {
        vectorised(
            #[inline(always)]
            || {
                let zero = [E::zero(); LANES];
                let mut features = vec![Feature { value: rows(x)[0], log_slope: zero }];
                let mut layers = Vec::with_capacity(self.layers);
                for raw in self.split(theta) {
                    let layer = Layer::new(raw, features);
                    features = layer.output();
                    layers.push(layer);
                }
                (layers, features[0])
            },
        )
    }
}

impl<'a, E: Real> Layer<'a, E> {
    #[inline(always)]
    fn new(raw: Raw<'a, E>, input: Vec<Feature<E>>) -> Self {
        let (width, count) = (input.len(), raw.offsets.len());
        let log_u = log_rows(raw.inputs, width, count);
        let (mut seen, mut units) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (j, log_u) in log_u.chunks_exact(width).enumerate() {
            let mut value = [E::zero(); LANES];
            for (log_u, input) in log_u.iter().zip(&input) {
                let u = exps(*log_u);
                value = lanes(|i| u[i].mul_add(input.value[i], value[i]));
            }
            let log_slope = LogSum::new(
                width,
                #[inline(always)]
                |m| log_term(log_u, &input, m),
            )
            .total();
            let (slope, offset) = (slopes(&raw.slopes[j]), &raw.offsets[j]);
            let z = lanes(|i| slope[i].mul_add(value[i], offset[i]));
            let log = lns(slope);
            units.push(Unit::new(z, lanes(|i| log[i] + log_slope[i])));
            seen.push(Feature { value, log_slope });
        }
        Self { raw, input, log_u, seen, units }
    }

    #[inline(always)]
    fn output(&self) -> Vec<Feature<E>> {
        let mut output = Vec::new();
        for logits in self.raw.outputs.chunks_exact(self.units.len()) {
            let Mixture { value, log_slope, .. } = Mixture::new(logits, &self.units);
            output.push(Feature { value, log_slope });
        }
        output
    }

    /// Backward pass: from the gradient of the output, writes that of the parameters and returns
    /// that of the input.
    #[inline(always)]
    fn gradient(&self, outer: &[Feature<E>], d_raw: &mut [Lanes<E>]) -> Vec<Feature<E>> {
        let count = self.units.len();
        let (d_inputs, d_raw) = d_raw.split_at_mut(self.raw.inputs.len());
        let (d_offsets, d_raw) = d_raw.split_at_mut(count);
        let (d_slopes, d_outputs) = d_raw.split_at_mut(count);
        let mut d_units = UnitGradient::zeros(count);
        let all = self.raw.outputs.chunks_exact(count).zip(d_outputs.chunks_exact_mut(count));
        for (outer, (logits, d_logits)) in outer.iter().zip(all) {
            let mixture = Mixture::new(logits, &self.units);
            mixture.gradient(&outer.value, &outer.log_slope, d_logits, &mut d_units);
        }
        let mut d_seen = Vec::with_capacity(count);
        for (j, UnitGradient { z, log_slope }) in d_units.into_iter().enumerate() {
            let (raw, seen) = (&self.raw.slopes[j], &self.seen[j].value);
            let (slope, turn) = (slopes(raw), sigmoids(*raw));
            d_offsets[j] = z;
            d_slopes[j] = lanes(|i| (z[i] * seen[i] + log_slope[i] / slope[i]) * turn[i]);
            d_seen.push(Feature { value: lanes(|i| z[i] * slope[i]), log_slope });
        }
        self.input_gradient(&d_seen, d_inputs)
    }

    /// Backward pass of m_j = sum_m u_jm h_m and e_j = log dm_j/dx.
    ///
    /// With c_jm the share of feature m in the slope dm_j/dx, and through the softmax of u,
    /// ```text
    /// h_m receives u_jm dm_j,   log dh_m/dx receives c_jm de_j
    /// raw u_jm receives u_jm (h_m - m_j) dm_j + (c_jm - u_jm) de_j
    /// ```
    #[inline(always)]
    fn input_gradient(&self, d_seen: &[Feature<E>], d_raw: &mut [Lanes<E>]) -> Vec<Feature<E>> {
        let (width, zero) = (self.input.len(), [E::zero(); LANES]);
        let mut inner = vec![Feature { value: zero, log_slope: zero }; width];
        for (index, log_u) in self.log_u.iter().enumerate() {
            let (j, m) = (index / width, index % width);
            let (input, seen, outer, d_input) =
                (&self.input[m], &self.seen[j], &d_seen[j], &mut inner[m]);
            let u = exps(*log_u);
            let share = exps(lanes(|i| log_u[i] + input.log_slope[i] - seen.log_slope[i]));
            d_input.value = lanes(|i| u[i].mul_add(outer.value[i], d_input.value[i]));
            d_input.log_slope =
                lanes(|i| share[i].mul_add(outer.log_slope[i], d_input.log_slope[i]));
            if let Some(target) = d_raw.get_mut(index) {
                *target = lanes(|i| {
                    let through_value = u[i] * (input.value[i] - seen.value[i]) * outer.value[i];
                    through_value + (share[i] - u[i]) * outer.log_slope[i]
                });
            }
        }
        inner
    }
}

/// log u_m dh_m/dx.
#[inline(always)]
fn log_term<E: Real>(log_u: &[Lanes<E>], input: &[Feature<E>], m: usize) -> Lanes<E> {
    let (log_u, input) = (&log_u[m], &input[m]);
    lanes(|i| log_u[i] + input.log_slope[i])
}

/// Log-softmax of each of `count` rows of `width` values; a single weight is 1.
#[inline(always)]
fn log_rows<E: Real>(raw: &[Lanes<E>], width: usize, count: usize) -> Vec<Lanes<E>> {
    let mut logs = vec![[E::zero(); LANES]; width * count];
    for (logs, raw) in logs.chunks_exact_mut(width).zip(raw.chunks_exact(width)) {
        let sum = LogSum::new(
            width,
            #[inline(always)]
            |m| raw[m],
        );
        for (log, raw) in logs.iter_mut().zip(raw) {
            *log = sum.log_share(raw);
        }
    }
    logs
}

impl<E: Real> Transformer<E> for DenseSigmoidal {
    fn name(&self) -> &'static str {
        "dense sigmoidal"
    }

    fn arity(&self) -> usize {
        let rows = |layer| -> usize {
            let [inputs, units, outputs] = self.shape(layer);
            inputs + 2 * units + outputs
        };
        (0..self.layers).map(rows).sum()
    }

    fn initial(&self) -> Vec<f64> {
        let offsets: Vec<f64> = spread(self.units).collect();
        let leaning = || offsets.iter().flat_map(|a| offsets.iter().map(move |b| a * b));
        let mut theta = Vec::new();
        for layer in 0..self.layers {
            let [inputs, units, outputs] = self.shape(layer);
            theta.extend(leaning().take(inputs));
            theta.extend(&offsets);
            theta.extend(vec![raw_unit_slope(); units]);
            if layer + 1 == self.layers {
                theta.extend(vec![0.0; outputs]);
            } else {
                theta.extend(leaning());
            }
        }
        theta
    }

    fn closed_inverse(&self) -> bool {
        false
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let (_, output) = self.evaluate(x, theta);
        y.copy_from_slice(&output.value);
        add(log_slope, &output.log_slope);
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        invert(self, y, theta, x, log_slope)
    }

    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let (layers, _) = self.evaluate(x, theta);
        let [value, log_slope] = [outer.value, outer.log_slope].map(|values| rows(values)[0]);
        let mut d_features = vec![Feature { value, log_slope }];
        let mut d_theta = rows_mut(inner.theta);
        for (index, layer) in layers.iter().enumerate().rev() {
            let [first, units, last] = self.shape(index);
            let start = d_theta.len() - (first + 2 * units + last);
            let (before, d_raw) = d_theta.split_at_mut(start);
            d_features = vectorised(
                #[inline(always)]
                || layer.gradient(&d_features, d_raw),
            );
            d_theta = before;
        }
        inner.value.copy_from_slice(&d_features[0].value);
    }
}

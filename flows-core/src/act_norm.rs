//! Elementwise affine map with data-dependent initialisation (review, Section 3.4).

use crate::lanes::{add_lane_sums, lanes, lanes_mut, named, named_mut};
use crate::map::{Block, Pull};
use crate::tensor::columns;
use crate::{Batch, Error, HasLayout, Layout, Map, Real, Result, Scratch, Tensors, Values, Work};

/// Activation normalisation: x = exp(s) z + t, with one s and one t for each feature.
///
/// [`Bijector::initialise`](crate::Bijector::initialise) sets s and t so that the first batch has
/// mean 0 and standard deviation 1 in every feature of base space; afterwards they are trained.
///
/// No feature is scaled up by more than 1,000. One that hardly varies in the first batch, because what
/// varies is rare, would otherwise be divided by next to nothing, and the first row that differs be
/// thrown out of the numbers: a feature of deviation 1 has values up to sqrt(n) in n rows, so that in a
/// million rows none lands beyond 1e6, whose square single precision holds. Standardise features that
/// are narrower than 1e-3 by nature. A feature that is constant (as in a batch of one row) keeps its
/// scale.
///
/// # Reference
/// Kingma, Dhariwal, *Glow*, NeurIPS 2018, section 3.1. <https://arxiv.org/abs/1807.03039>
#[derive(Clone, Copy, Debug)]
pub struct ActNorm {
    dim: usize,
}

impl ActNorm {
    /// The identity, to be initialised from the first batch.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }
}

impl HasLayout for ActNorm {
    fn layout(&self) -> Vec<Layout> {
        vec![
            Layout::zeros("log_scale", 1, self.dim),
            Layout::zeros("shift", 1, self.dim),
            // 1 once initialised, so that resuming a run does not do it again.
            Layout::zeros("initialised", 1, 1).fixed(),
        ]
    }
}

/// Least deviation that a feature is scaled up from.
const LEAST_DEVIATION: f64 = 1e-3;

/// Mean and log standard deviation of a feature's values; an error if they are not finite.
fn mean_and_log_deviation(column: &[f64]) -> Result<[f64; 2]> {
    let rows = column.len() as f64;
    let mean = column.iter().sum::<f64>() / rows;
    let variance = column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / rows;
    if !mean.is_finite() {
        let row = column.iter().position(|v| !v.is_finite()).unwrap_or(0);
        let (quantity, advice) = ("input of act-norm", "check the data and earlier layers");
        return Err(Error::NonFinite { quantity, row, advice });
    }
    // A constant feature (one row, say) tells nothing of its scale.
    let deviation = if variance > 0.0 { variance.sqrt().max(LEAST_DEVIATION) } else { 1.0 };
    Ok([mean, deviation.ln()])
}

impl<E: Real> Map<E> for ActNorm {
    fn name(&self) -> &'static str {
        "act-norm"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn initialise(&self, tensors: &Tensors<E>, x: &Batch<E>) -> Result<Option<Vec<Vec<E>>>> {
        if tensors.values()[2] != [E::zero()] || x.rows() == 0 {
            return Ok(None);
        }
        let (dim, values) = (columns(x), x.values());
        let (mut log_scale, mut shift) = (Vec::with_capacity(dim), Vec::with_capacity(dim));
        for j in 0..dim {
            let column: Vec<f64> = values.iter().skip(j).step_by(dim).map(|v| v.as_f64()).collect();
            let [mean, log_deviation] = mean_and_log_deviation(&column)?;
            shift.push(E::of(mean));
            log_scale.push(E::of(log_deviation));
        }
        Ok(Some(vec![log_scale, shift, vec![E::one()]]))
    }

    fn forward(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        let [log_scale, shift, _] = named(at.parameters);
        let total: E = log_scale.iter().copied().sum();
        at.log_det.iter_mut().for_each(|sum| *sum += total);
        for (i, (&s, &t)) in log_scale.iter().zip(shift).enumerate() {
            let scale = s.exp();
            for (x, &z) in lanes_mut(at.value, i).iter_mut().zip(lanes(at.input, i)) {
                *x = z * scale + t;
            }
        }
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        let [log_scale, shift, _] = named(at.parameters);
        let total: E = log_scale.iter().copied().sum();
        at.log_det.iter_mut().for_each(|sum| *sum -= total);
        for (i, (&s, &t)) in log_scale.iter().zip(shift).enumerate() {
            let scale = (-s).exp();
            for (z, &x) in lanes_mut(at.value, i).iter_mut().zip(lanes(at.input, i)) {
                *z = (x - t) * scale;
            }
        }
        Ok(Work::default())
    }

    /// ds = sum of z e^s dx + d log-det, dt = sum of dx, dz = e^s dx.
    fn forward_gradient(&self, at: Pull<'_, '_, E>, _: &mut Scratch) -> Result<()> {
        let [log_scale, _, _] = named(at.parameters);
        let [d_log_scale, d_shift, _] = named_mut(at.gradients);
        let total: E = at.d_log_det.iter().copied().sum();
        for (i, &s) in log_scale.iter().enumerate() {
            let scale = s.exp();
            let outer = lanes(at.d_value, i);
            let along: E = outer.iter().zip(lanes(at.input, i)).map(|(&g, &z)| g * z * scale).sum();
            d_log_scale[i] += along + total;
            lanes_mut(at.d_input, i).iter_mut().zip(outer).for_each(|(d, &g)| *d = g * scale);
        }
        add_lane_sums(at.d_value, E::one(), d_shift);
        Ok(())
    }

    /// ds = -sum of z dz - d log-det, dt = -e^-s sum of dz, dx = e^-s dz.
    fn inverse_gradient(&self, at: Pull<'_, '_, E>, _: &mut Scratch) -> Result<()> {
        let [log_scale, _, _] = named(at.parameters);
        let [d_log_scale, d_shift, _] = named_mut(at.gradients);
        let total: E = at.d_log_det.iter().copied().sum();
        for (i, &s) in log_scale.iter().enumerate() {
            let scale = (-s).exp();
            let outer = lanes(at.d_value, i);
            let along: E = outer.iter().zip(lanes(at.value, i)).map(|(&g, &z)| g * z).sum();
            d_log_scale[i] -= along + total;
            lanes_mut(at.d_input, i).iter_mut().zip(outer).for_each(|(d, &g)| *d = g * scale);
        }
        add_lane_sums(at.d_input, -E::one(), d_shift);
        Ok(())
    }
}

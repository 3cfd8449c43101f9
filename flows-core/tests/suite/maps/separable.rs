//! Maps feature by feature, with and without a tensor.

use flows_core::lanes::{named, named_mut};
use flows_core::map::{Block, Pull};
use flows_core::operation::LANES;
use flows_core::{HasLayout, Layout, Map, Result, Scratch, Tensors, Work};

/// x = sinh z.
#[derive(Debug)]
pub(crate) struct Sinh {
    pub(crate) dim: usize,
}

impl HasLayout for Sinh {
    fn layout(&self) -> Vec<Layout> {
        Vec::new()
    }
}

impl Map<f64> for Sinh {
    fn name(&self) -> &'static str {
        "sinh"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn forward(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        assert!(at.context.is_empty(), "a map that takes no context was handed one");
        for (i, (x, z)) in at.value.iter_mut().zip(at.input).enumerate() {
            *x = z.sinh();
            at.log_det[i % LANES] += z.cosh().ln();
        }
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        for (i, (z, x)) in at.value.iter_mut().zip(at.input).enumerate() {
            *z = x.asinh();
            at.log_det[i % LANES] -= z.cosh().ln();
        }
        Ok(Work::default())
    }

    fn forward_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        for (i, (d, z)) in at.d_input.iter_mut().zip(at.input).enumerate() {
            *d = z.cosh() * at.d_value[i] + z.tanh() * at.d_log_det[i % LANES];
        }
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        for (i, (d, z)) in at.d_input.iter_mut().zip(at.value).enumerate() {
            *d = (at.d_value[i] - z.tanh() * at.d_log_det[i % LANES]) / z.cosh();
        }
        Ok(())
    }
}

/// x = exp(s) z with one learned s a feature, the exponentials being prepared.
#[derive(Debug)]
pub(crate) struct Scale {
    pub(crate) dim: usize,
}

impl HasLayout for Scale {
    fn layout(&self) -> Vec<Layout> {
        vec![Layout::zeros("log_scale", 1, self.dim)]
    }
}

impl Map<f64> for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn prepare(&self, tensors: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>> {
        Ok(vec![tensors[0].iter().map(|s| s.exp()).collect()])
    }

    /// ds = e^s times the gradient of e^s.
    fn pull_prepared(
        &self,
        _: &Tensors<f64>,
        prepared: &[Vec<f64>],
        gradient: &[Vec<f64>],
    ) -> Result<Option<Vec<Vec<f64>>>> {
        Ok(Some(vec![prepared[0].iter().zip(&gradient[0]).map(|(e, d)| e * d).collect()]))
    }

    fn forward(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        let [scale] = named(at.parameters);
        for (i, (x, z)) in at.value.iter_mut().zip(at.input).enumerate() {
            *x = scale[i / LANES] * z;
        }
        let total: f64 = scale.iter().map(|e| e.ln()).sum();
        at.log_det.iter_mut().for_each(|sum| *sum += total);
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        let [scale] = named(at.parameters);
        for (i, (z, x)) in at.value.iter_mut().zip(at.input).enumerate() {
            *z = x / scale[i / LANES];
        }
        let total: f64 = scale.iter().map(|e| e.ln()).sum();
        at.log_det.iter_mut().for_each(|sum| *sum -= total);
        Ok(Work::default())
    }

    fn forward_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        let ([scale], [d_scale]) = (named(at.parameters), named_mut(at.gradients));
        for (i, (d, z)) in at.d_input.iter_mut().zip(at.input).enumerate() {
            let feature = i / LANES;
            *d = scale[feature] * at.d_value[i];
            d_scale[feature] += at.d_value[i] * z + at.d_log_det[i % LANES] / scale[feature];
        }
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        let ([scale], [d_scale]) = (named(at.parameters), named_mut(at.gradients));
        for (i, (d, z)) in at.d_input.iter_mut().zip(at.value).enumerate() {
            let feature = i / LANES;
            *d = at.d_value[i] / scale[feature];
            d_scale[feature] -= (at.d_value[i] * z + at.d_log_det[i % LANES]) / scale[feature];
        }
        Ok(())
    }
}

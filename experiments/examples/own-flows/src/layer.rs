//! A layer: the hyperbolic sine with a learned scale for each feature.
//!
//! ```text
//! x = sinh(a z),   a = e^s,   log dx/dz = s + ln cosh(a z)
//! ```

use std::sync::Arc;

use flows_core::lanes::{lanes, lanes_mut, named};
use flows_core::map::{Block, Pull, Solve};
use flows_core::operation::LANES;
use flows_core::{
    Architecture, Bijector, Chain, HasLayout, Layer, Layout, Map, Real, Result, Scratch, Stream,
    Work,
};
use flows_finite::LuLinear;
use serde::{Deserialize, Serialize};

/// x = sinh(e^s z) for each feature.
#[derive(Clone, Debug)]
pub(crate) struct Sinh {
    dim: usize,
}

/// Learned: s of each feature, at first zero.
impl HasLayout for Sinh {
    fn layout(&self) -> Vec<Layout> {
        vec![Layout::zeros("log_scale", 1, self.dim)]
    }
}

impl<E: Real> Map<E> for Sinh {
    fn name(&self) -> &'static str {
        "sinh"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn forward(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        let [log_scale] = named(at.parameters);
        for (feature, &s) in log_scale.iter().enumerate() {
            let (z, x) = (lanes(at.input, feature), lanes_mut(at.value, feature));
            for lane in 0..LANES {
                let scaled = s.exp() * z[lane];
                x[lane] = scaled.sinh();
                at.log_det[lane] += s + scaled.cosh().ln();
            }
        }
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        let [log_scale] = named(at.parameters);
        for (feature, &s) in log_scale.iter().enumerate() {
            let (x, z) = (lanes(at.input, feature), lanes_mut(at.value, feature));
            for lane in 0..LANES {
                let scaled = x[lane].asinh();
                z[lane] = (-s).exp() * scaled;
                at.log_det[lane] -= s + scaled.cosh().ln();
            }
        }
        Ok(Work::default())
    }

    /// With g the gradient of x, l that of the log-det, and y = a z:
    /// ```text
    /// z receives  a (g cosh y + l tanh y),   s receives  y (g cosh y + l tanh y) + l
    /// ```
    fn forward_gradient(&self, at: Pull<'_, '_, E>, _: &mut Scratch) -> Result<()> {
        let [log_scale] = named(at.parameters);
        for (feature, &s) in log_scale.iter().enumerate() {
            let (z, g) = (lanes(at.input, feature), lanes(at.d_value, feature));
            let d_z = lanes_mut(at.d_input, feature);
            for lane in 0..LANES {
                let (scaled, l) = (s.exp() * z[lane], at.d_log_det[lane]);
                let along = g[lane] * scaled.cosh() + l * scaled.tanh();
                d_z[lane] = s.exp() * along;
                at.gradients[0][feature] += scaled * along + l;
            }
        }
        Ok(())
    }

    /// The inverse of the transposed Jacobian, diagonal here: the gradient of `inverse` follows from
    /// it and from that of `forward`.
    fn solve_transposed(
        &self,
        at: Solve<'_, E>,
        _: &mut Scratch,
        gradient: &mut [E],
    ) -> Result<()> {
        let [log_scale] = named(at.parameters);
        for (feature, &s) in log_scale.iter().enumerate() {
            let (z, g) = (lanes(at.input, feature), lanes_mut(gradient, feature));
            for lane in 0..LANES {
                g[lane] /= s.exp() * (s.exp() * z[lane]).cosh();
            }
        }
        Ok(())
    }
}

/// Linear layers and [`Sinh`] in turn: `kind = "sinh_flow"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SinhFlow {
    layers: usize,
}

impl SinhFlow {
    fn compose<E: Real>(&self, dim: usize, _: usize, rng: &mut Stream) -> Result<Chain<E>> {
        let mut parts: Vec<Box<dyn Bijector<E>>> = Vec::new();
        for _ in 0..self.layers {
            parts.push(Box::new(Layer::new(LuLinear::new(dim)?, rng)?));
            parts.push(Box::new(Layer::new(Sinh { dim }, rng)?));
        }
        Chain::new(dim, parts)
    }
}

#[typetag::serde(name = "sinh_flow")]
impl Architecture for SinhFlow {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        Ok((self.layers * dim * (dim + 2)) as f64)
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(Self { layers: flows_core::architecture::scaled_width(self.layers, factor) })
    }
}

#[cfg(test)]
mod tests {
    use flows_core::stream;
    use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb};

    use super::*;

    #[test]
    fn round_trip_log_det_and_gradients_agree_with_differences() {
        let rng = &mut stream(0, "init");
        let mut layer = Layer::<f64>::new(Sinh { dim: 3 }, rng).unwrap();
        perturb(&mut layer, 0.3, rng).unwrap();
        check_bijector(&mut layer, normal_point(1.0), Tolerance::default());
    }
}

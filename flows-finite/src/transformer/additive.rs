//! The additive transformer of NICE.

use std::sync::Arc;

use flows_core::elementwise::vectorised;
use flows_core::operation::LANES;
use flows_core::{Real, Result};
use serde::{Deserialize, Serialize};

use super::{Inner, Outer, SharedTransformer, Transformer, TransformerConfig};

/// Settings of [`Additive`]: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdditiveConfig {}

#[typetag::serde(name = "additive")]
impl TransformerConfig for AdditiveConfig {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer { Ok(Arc::new(Additive)) });
}

/// The additive transformer y = x + t: log-slope 0, so that a stack of them preserves volume.
///
/// The parameter of an element is the shift t. Round trips are exact to rounding.
///
/// # Reference
/// Dinh, Krueger, Bengio, *NICE: Non-linear Independent Components Estimation*, 2014.
/// <https://arxiv.org/abs/1410.8516>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Additive;

impl<E: Real> Transformer<E> for Additive {
    fn name(&self) -> &'static str {
        "additive"
    }

    fn arity(&self) -> usize {
        1
    }

    fn initial(&self) -> Vec<f64> {
        vec![0.0]
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], _log_slope: &mut [E]) -> Result<()> {
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    y[lane] = x[lane] + theta[lane];
                }
            },
        );
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], _log_slope: &mut [E]) -> Result<u64> {
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    x[lane] = y[lane] - theta[lane];
                }
            },
        );
        Ok(0)
    }

    fn forward_gradient(&self, _x: &[E], _theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        inner.value.copy_from_slice(outer.value);
        inner.theta.copy_from_slice(outer.value);
    }

    fn inverse_gradient(&self, _x: &[E], _theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        inner.value.copy_from_slice(outer.value);
        for (gradient, &value) in inner.theta.iter_mut().zip(outer.value) {
            *gradient = -value;
        }
    }
}

//! Fixed affine maps: a change of units.

use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};

use super::{Inner, Outer, Transformer};

/// A fixed affine map y = scale x + shift, scale > 0. It has no parameters.
///
/// For data in other units than the flow, or to move the interval of another fixed map. The
/// log-slope is log scale; one fused multiply-add an element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedAffine {
    scale: f64,
    shift: f64,
}

impl FixedAffine {
    /// The map of the given scale and shift.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless both are normal numbers in single precision (shift may be 0) and
    /// the scale is positive.
    pub fn new(scale: f64, shift: f64) -> Result<Self> {
        if !(scale > 0.0 && (scale as f32).is_normal()) {
            let (name, requirement) = ("scale of a fixed map", "positive and finite, also in f32");
            return Err(Error::Parameter { name, requirement, value: scale });
        }
        if !(shift as f32).is_finite() {
            let (name, requirement) = ("shift of a fixed map", "finite, also in f32");
            return Err(Error::Parameter { name, requirement, value: shift });
        }
        Ok(Self { scale, shift })
    }
}

impl<E: Real> Transformer<E> for FixedAffine {
    fn name(&self) -> &'static str {
        "fixed affine"
    }

    fn arity(&self) -> usize {
        0
    }

    fn initial(&self) -> Vec<f64> {
        Vec::new()
    }

    fn forward(&self, x: &[E], _: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let (scale, shift) = (E::of(self.scale), E::of(self.shift));
        let log_scale = E::of(self.scale.ln());
        for lane in 0..LANES {
            y[lane] = x[lane] * scale + shift;
            log_slope[lane] += log_scale;
        }
        Ok(())
    }

    fn inverse(&self, y: &[E], _: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        let (scale, shift) = (E::of(self.scale), E::of(self.shift));
        let log_scale = E::of(self.scale.ln());
        for lane in 0..LANES {
            x[lane] = (y[lane] - shift) / scale;
            log_slope[lane] -= log_scale;
        }
        Ok(0)
    }

    fn forward_gradient(&self, _: &[E], _: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let scale = E::of(self.scale);
        for (inner, &outer) in inner.value.iter_mut().zip(outer.value) {
            *inner = outer * scale;
        }
    }
}

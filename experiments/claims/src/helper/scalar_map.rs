//! A transformer with the same parameters at every point.

use std::sync::Arc;

use anyhow::Result;
use flows_core::Real;
use flows_core::operation::LANES;
use flows_finite::Transformer;

/// A transformer in either precision.
pub(crate) trait Both: Transformer<f32> + Transformer<f64> {}

impl<T: Transformer<f32> + Transformer<f64>> Both for T {}

/// An increasing map of the line.
#[derive(Clone, Debug)]
pub(crate) struct ScalarMap {
    transformer: Arc<dyn Both>,
    theta: Vec<f64>,
}

/// Images of points, log-slopes there, and what it took.
pub(crate) struct Image {
    pub(crate) value: Vec<f64>,
    pub(crate) log_slope: Vec<f64>,
    /// Most evaluations that the root search of any 128 points took, 0 for a formula.
    pub(crate) iterations: u64,
}

impl ScalarMap {
    /// At the parameters of the transformer's identity.
    pub(crate) fn identity(transformer: impl Both + 'static) -> Self {
        let theta = Transformer::<f64>::initial(&transformer);
        Self { transformer: Arc::new(transformer), theta }
    }

    /// With other parameters, made from the number of each and its value now.
    #[must_use]
    pub(crate) fn with(mut self, change: impl Fn(usize, f64) -> f64) -> Self {
        for (index, value) in self.theta.iter_mut().enumerate() {
            *value = change(index, *value);
        }
        self
    }

    /// tau, computed in the precision `E`.
    pub(crate) fn forward<E: Real>(&self, x: &[f64]) -> Result<Image>
    where
        dyn Both: Transformer<E>,
    {
        self.map(x, |x, theta: &[E], y, log_slope| {
            Transformer::<E>::forward(&*self.transformer, x, theta, y, log_slope).map(|()| 0)
        })
    }

    /// The inverse of tau, computed in the precision `E`.
    pub(crate) fn inverse<E: Real>(&self, y: &[f64]) -> Result<Image>
    where
        dyn Both: Transformer<E>,
    {
        self.map(y, |y, theta: &[E], x, log_slope| {
            Transformer::<E>::inverse(&*self.transformer, y, theta, x, log_slope)
        })
    }

    /// Block by block, the last one filled up with zeros.
    fn map<E: Real>(
        &self,
        points: &[f64],
        call: impl Fn(&[E], &[E], &mut [E], &mut [E]) -> flows_core::Result<u64>,
    ) -> Result<Image> {
        let theta: Vec<E> = self.theta.iter().flat_map(|&t| [E::of(t); LANES]).collect();
        let mut image = Image { value: Vec::new(), log_slope: Vec::new(), iterations: 0 };
        for part in points.chunks(LANES) {
            let mut block = [E::zero(); LANES];
            for (place, &point) in block.iter_mut().zip(part) {
                *place = E::of(point);
            }
            let (mut value, mut log_slope) = ([E::zero(); LANES], [E::zero(); LANES]);
            let iterations = call(&block, &theta, &mut value, &mut log_slope)?;
            image.iterations = image.iterations.max(iterations);
            image.value.extend(value[..part.len()].iter().map(|v| v.as_f64()));
            image.log_slope.extend(log_slope[..part.len()].iter().map(|v| v.as_f64()));
        }
        Ok(image)
    }
}

/// `count` points of equal distance from `low` to `high`.
pub(crate) fn evenly([low, high]: [f64; 2], count: usize) -> Vec<f64> {
    (0..count).map(|i| low + (high - low) * i as f64 / (count - 1) as f64).collect()
}

//! The uniform distribution on a box.

use rand::RngExt;

use crate::operation::{LANES, Operation, Recorded};
use crate::{Error, Real, Result, Scratch, Stream};

/// Uniform between `low` and `high` in every dimension; log-density minus infinity outside.
#[derive(Clone, Debug)]
pub struct UniformBox {
    pub(super) low: Vec<f64>,
    high: Vec<f64>,
}

impl UniformBox {
    pub(super) fn new(low: Vec<f64>, high: Vec<f64>) -> Result<Self> {
        if low.len() != high.len() {
            let op = "uniform box";
            return Err(Error::Dimension { op, expected: low.len(), got: high.len() });
        }
        for (&low, &high) in low.iter().zip(&high) {
            if !(low < high && (high - low).is_finite()) {
                let requirement = "above its low end, both finite";
                let name = "high end of a box";
                return Err(Error::Parameter { name, requirement, value: high });
            }
        }
        Ok(Self { low, high })
    }

    pub(super) fn sample<E: Real>(&self, rows: usize, rng: &mut Stream) -> Vec<E> {
        let dim = self.low.len();
        (0..rows * dim)
            .map(|i| E::of(rng.random_range(self.low[i % dim]..self.high[i % dim])))
            // Rounded like the ends, a draw stays between them.
            .collect()
    }
}

/// Constant inside, minus infinity outside; its gradient is zero.
pub(super) struct BoxLogDensity {
    low: Vec<f64>,
    high: Vec<f64>,
}

impl BoxLogDensity {
    pub(super) fn of(base: &UniformBox) -> Self {
        Self { low: base.low.clone(), high: base.high.clone() }
    }
}

impl<E: Real> Operation<E> for BoxLogDensity {
    fn name(&self) -> &'static str {
        "uniform log-density"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        _: &[&[E]],
        _: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        for ((&low, &high), z) in self.low.iter().zip(&self.high).zip(inputs[0].chunks(LANES)) {
            let inside = E::of(-(high - low).ln());
            for (sum, &z) in outputs[0].iter_mut().zip(z) {
                *sum +=
                    if z >= E::of(low) && z <= E::of(high) { inside } else { E::neg_infinity() };
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        _: Recorded<'_, E>,
        _: &[&[E]],
        _: &mut [&mut [E]],
        _: &mut [&mut [E]],
    ) -> Result<()> {
        Ok(())
    }
}

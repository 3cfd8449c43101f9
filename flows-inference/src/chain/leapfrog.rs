//! The leapfrog integrator of Hamiltonian dynamics as a bijector (review, Section 6.2.2).
//!
//! # Reference
//! Neal, *MCMC using Hamiltonian dynamics*, Handbook of Markov Chain Monte Carlo, 2011, Section 2.3.
//! <https://arxiv.org/abs/1206.1901>

use std::sync::Arc;

use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns, per_row};
use flows_core::{
    Batch, Bijector, Context, Error, Mapped, Parameters, Result, Tape, Target, Values, Work,
};

/// Steps of the leapfrog integrator on position q and momentum p, one after the other in a row of 2 d
/// features, for the Hamiltonian -log p~(q) + |p|^2 / 2:
///
/// ```text
/// p <- p + h / 2 grad log p~(q),   q <- q + h p,   p <- p + h / 2 grad log p~(q)
/// ```
///
/// Each line is a shear, so that the log-determinant is zero; the inverse takes the lines in reverse
/// with -h, which is the same map with the sign of p changed before and after.
///
/// The gradient of the map needs second derivatives of the target, which a [`Target`] does not give: the
/// map is not recorded on a tape.
///
/// # Cost
/// An evaluation of the target with its gradient a step and one more; they are counted as
/// [`iterations`](Work::iterations).
#[derive(Clone, Debug)]
pub struct Leapfrog {
    target: Arc<dyn Target>,
    step: f64,
    steps: usize,
}

impl Leapfrog {
    /// `steps` steps of size `step`, in units of the target's features.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the step is positive and finite, and there is at least one.
    pub fn new(target: Arc<dyn Target>, step: f64, steps: usize) -> Result<Self> {
        if !(step > 0.0 && step.is_finite()) {
            let (name, requirement) = ("step of the leapfrog integrator", "positive and finite");
            return Err(Error::Parameter { name, requirement, value: step });
        }
        if steps == 0 {
            let (name, requirement) = ("steps of the leapfrog integrator", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        Ok(Self { target, step, steps })
    }

    fn run(
        &self,
        input: &Batch<f64>,
        context: &Context<f64>,
        step: f64,
        tape: &Tape<f64>,
    ) -> Result<Mapped<f64>> {
        let name = "leapfrog integrator";
        let (dim, rows) = (self.target.dim(), input.rows());
        check_columns(name, input, 2 * dim)?;
        context.check(name, 0, rows)?;
        if tape.is_recording() {
            let advice = "it needs second derivatives of the target; map without a tape";
            return Err(Error::Unavailable { what: "the gradient of leapfrog steps", advice });
        }
        let values = input.values();
        let take = |first: usize| -> Vec<f64> {
            values.chunks(2 * dim).flat_map(|row| &row[first..first + dim]).copied().collect()
        };
        let (mut position, mut momentum) = (take(0), take(dim));
        let mut slope = self.slope(&position)?;
        for _ in 0..self.steps {
            shear(&mut momentum, 0.5 * step, &slope);
            shear(&mut position, step, &momentum);
            slope = self.slope(&position)?;
            shear(&mut momentum, 0.5 * step, &slope);
        }
        let parts = position.chunks(dim).zip(momentum.chunks(dim));
        let output: Vec<f64> = parts.flat_map(|(q, p)| q.iter().chain(p)).copied().collect();
        let work = Work::iterations(self.steps as u64 + 1);
        Ok(Mapped::new(batch(output, rows, 2 * dim)?, per_row(vec![0.0; rows])?, work))
    }

    fn slope(&self, position: &[f64]) -> Result<Vec<f64>> {
        let mut slope = vec![0.0; position.len()];
        self.target.evaluate(position, &mut slope)?;
        match slope.iter().position(|slope| !slope.is_finite()) {
            Some(place) => {
                let (row, advice) = (place / self.target.dim(), "take smaller steps");
                Err(Error::NonFinite { quantity: "gradient of the target", row, advice })
            }
            None => Ok(slope),
        }
    }
}

/// x <- x + h y
fn shear(x: &mut [f64], h: f64, y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += h * y);
}

impl Parameters<f64> for Leapfrog {
    fn visit(&self, _: &mut Visitor<'_, f64>) {}

    fn visit_mut(&mut self, _: &mut VisitorMut<'_, f64>) -> Result<()> {
        Ok(())
    }
}

impl Bijector<f64> for Leapfrog {
    fn dim(&self) -> usize {
        2 * self.target.dim()
    }

    /// # Errors
    /// As [`Bijector::forward`]; [`Error::Unavailable`] on a tape; [`Error::NonFinite`] with the row
    /// where the target's gradient is not finite; errors of the target.
    fn forward(
        &self,
        z: &Batch<f64>,
        context: &Context<f64>,
        tape: &mut Tape<f64>,
    ) -> Result<Mapped<f64>> {
        self.run(z, context, self.step, tape)
    }

    /// # Errors
    /// As [`forward`](Self::forward).
    fn inverse(
        &self,
        x: &Batch<f64>,
        context: &Context<f64>,
        tape: &mut Tape<f64>,
    ) -> Result<Mapped<f64>> {
        self.run(x, context, -self.step, tape)
    }
}

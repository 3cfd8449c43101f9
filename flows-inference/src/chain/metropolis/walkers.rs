//! Walkers: the states of Metropolis-Hastings chains that step together.

use flows_core::tensor::cast;
use flows_core::{Context, Error, Flow, Real, Result, Stream, Target, normals};
use rand::RngExt;

use super::Local;
use crate::Weighted;

/// Exponent of the step of the Robbins-Monro iteration that adapts step sizes; above 1/2 it converges.
const DECAY: f64 = 0.6;

/// Walkers with the density of the target where they are.
#[derive(Debug)]
pub(crate) struct Walkers<'a> {
    target: &'a dyn Target,
    local: Local,
    /// Unit of local steps, a feature.
    scale: Vec<f64>,
    points: Vec<f64>,
    log_density: Vec<f64>,
    /// Of MALA only.
    gradients: Vec<f64>,
    log_steps: Vec<f64>,
    adaptations: u64,
    evaluations: u64,
    undefined: u64,
}

impl<'a> Walkers<'a> {
    /// Walkers at `points`, row after row.
    pub(crate) fn new(
        target: &'a dyn Target,
        local: Local,
        scale: Vec<f64>,
        points: Vec<f64>,
    ) -> Result<Self> {
        let (dim, count) = (target.dim() as f64, points.len() / target.dim());
        let mut gradients = vec![0.0; points.len()];
        let log_density = match local {
            Local::RandomWalk => target.log_densities(&points)?,
            Local::Mala => target.evaluate(&points, &mut gradients)?,
        };
        let defined = |row: usize| {
            let slopes = gradients.chunks(target.dim()).nth(row);
            let finite = slopes.is_none_or(|slopes| slopes.iter().all(|g| g.is_finite()));
            log_density.get(row).is_some_and(|value| value.is_finite()) && finite
        };
        if let Some(row) = (0..count).find(|&row| !defined(row)) {
            let advice = "start the chain of that number where the target has a density";
            let quantity = "log-density at a starting point";
            return Err(Error::NonFinite { quantity, row, advice });
        }
        // The best sizes for a standard normal of many features (Roberts, Rosenthal 2001).
        let step: f64 = match local {
            Local::RandomWalk => 2.38 / dim.sqrt(),
            Local::Mala => 1.65 / dim.powf(1.0 / 6.0),
        };
        Ok(Self {
            target,
            local,
            scale,
            points,
            log_density,
            gradients,
            log_steps: vec![step.ln(); count],
            adaptations: 0,
            evaluations: count as u64,
            undefined: 0,
        })
    }

    pub(crate) fn points(&self) -> &[f64] {
        &self.points
    }

    pub(crate) fn log_density(&self) -> &[f64] {
        &self.log_density
    }

    /// Evaluations of the target, without those of a flow's draws.
    pub(crate) fn evaluations(&self) -> u64 {
        self.evaluations
    }

    /// Local proposals where the target could not be evaluated.
    pub(crate) fn undefined(&self) -> u64 {
        self.undefined
    }

    pub(crate) fn step_sizes(&self) -> Vec<f64> {
        self.log_steps.iter().map(|log_step| log_step.exp()).collect()
    }

    /// Sets the size of the local steps of all walkers.
    pub(crate) fn set_step(&mut self, size: f64) {
        self.log_steps.fill(size.ln());
    }

    /// Moves the logarithm of each walker's step size by the difference of the acceptance rate of its
    /// last step to the best one, less and less.
    pub(crate) fn adapt(&mut self, rates: &[f64]) {
        self.adaptations += 1;
        let gain = (self.adaptations as f64).powf(-DECAY);
        let best = self.local.acceptance();
        let steps = self.log_steps.iter_mut().zip(rates);
        steps.for_each(|(log_step, rate)| *log_step += gain * (rate - best));
    }

    /// A step of the independence sampler: walker i is offered row `first + i` of the flow's draws, and
    /// takes it with probability min(1, w'/w), w = p~/q. Says which did.
    pub(crate) fn global<E: Real>(
        &mut self,
        flow: &Flow<E>,
        proposals: &Weighted,
        first: usize,
        rng: &mut Stream,
    ) -> Result<Vec<bool>> {
        let dim = self.target.dim();
        let own = flow.evaluate(&cast::<E>(&self.points), &Context::none())?.0;
        let offers = proposals.log_weights.values().iter().zip(&proposals.log_proposal).skip(first);
        let rows = proposals.draws.chunks(dim).skip(first);
        let states = self.points.chunks_mut(dim).zip(&mut self.log_density).zip(own);
        let mut accepted = vec![false; self.log_steps.len()];
        for (((state, offer), row), accepted) in states.zip(offers).zip(rows).zip(&mut accepted) {
            let ((point, value), log_q) = state;
            let (log_weight, log_proposal) = offer;
            // Where the flow has no density the weight is infinite, and the walker stays.
            *accepted = rng.random::<f64>().ln() < log_weight - (*value - log_q);
            if *accepted {
                point.copy_from_slice(row);
                *value = log_weight + log_proposal;
            }
        }
        if self.local == Local::Mala {
            self.renew_gradients(&accepted)?;
        }
        Ok(accepted)
    }

    /// Gradients of the walkers that have taken a draw of the flow. Where there is none, the walker has
    /// no drift until it moves.
    fn renew_gradients(&mut self, moved: &[bool]) -> Result<()> {
        let dim = self.target.dim();
        let rows = || moved.iter().enumerate().filter(|(_, moved)| **moved).map(|(row, _)| row);
        let points: Vec<f64> =
            rows().flat_map(|row| &self.points[row * dim..(row + 1) * dim]).copied().collect();
        let (_, gradients) = self.evaluate(&points)?;
        for (row, gradient) in rows().zip(gradients.chunks(dim)) {
            self.gradients[row * dim..(row + 1) * dim].copy_from_slice(gradient);
        }
        Ok(())
    }

    /// A local step of every walker; says which moved, and the probabilities with which they would.
    pub(crate) fn local(&mut self, rng: &mut Stream) -> Result<(Vec<bool>, Vec<f64>)> {
        let dim = self.target.dim();
        let steps = self.step_sizes();
        let noise = normals::<f64>(self.points.len(), rng);
        let proposals: Vec<f64> = (0..self.points.len())
            .map(|place| {
                let unit = steps[place / dim] * self.scale[place % dim];
                let drift = 0.5 * unit * unit * self.gradients[place];
                self.points[place] + drift + unit * noise[place]
            })
            .collect();
        let (values, gradients) = self.evaluate(&proposals)?;
        let mut accepted = vec![false; steps.len()];
        let mut rates = vec![0.0; steps.len()];
        for (walker, step) in steps.iter().enumerate() {
            let row = walker * dim..(walker + 1) * dim;
            // log q(x | x') - log q(x' | x): zero without drift.
            let back = row.clone().map(|place| {
                let unit = step * self.scale[place % dim];
                let slopes = self.gradients[place] + gradients[place];
                let returned = noise[place] + 0.5 * unit * slopes;
                0.5 * (noise[place] * noise[place] - returned * returned)
            });
            let log_ratio = values[walker] - self.log_density[walker] + back.sum::<f64>();
            let log_ratio = if log_ratio.is_nan() { f64::NEG_INFINITY } else { log_ratio };
            rates[walker] = log_ratio.min(0.0).exp();
            accepted[walker] = rng.random::<f64>().ln() < log_ratio;
            if accepted[walker] {
                self.points[row.clone()].copy_from_slice(&proposals[row.clone()]);
                self.gradients[row.clone()].copy_from_slice(&gradients[row]);
                self.log_density[walker] = values[walker];
            }
        }
        Ok((accepted, rates))
    }

    /// Values, and gradients for MALA, at rows of points. A row that cannot be evaluated has no density,
    /// and counts as undefined.
    fn evaluate(&mut self, points: &[f64]) -> Result<(Vec<f64>, Vec<f64>)> {
        let dim = self.target.dim();
        self.evaluations += (points.len() / dim) as u64;
        let mut gradients = vec![0.0; points.len()];
        let mut values = match self.evaluate_together(points, &mut gradients) {
            Err(error) if is_of_a_point(&error) => {
                let rows = points.chunks(dim).zip(gradients.chunks_mut(dim));
                let alone =
                    rows.map(|(point, gradient)| match self.evaluate_together(point, gradient) {
                        Err(error) if is_of_a_point(&error) => Ok(f64::NAN),
                        values => Ok(values?.first().copied().unwrap_or(f64::NAN)),
                    });
                alone.collect::<Result<Vec<f64>>>()?
            }
            values => values?,
        };
        for (value, gradient) in values.iter_mut().zip(gradients.chunks_mut(dim)) {
            let defined = *value < f64::INFINITY && gradient.iter().all(|slope| slope.is_finite());
            if !defined {
                self.undefined += 1;
                *value = f64::NEG_INFINITY;
                gradient.fill(0.0);
            }
        }
        Ok((values, gradients))
    }

    fn evaluate_together(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        match self.local {
            Local::RandomWalk => self.target.log_densities(points),
            Local::Mala => self.target.evaluate(points, gradients),
        }
    }
}

/// Whether an error tells of one point, where numbers overflow or a solver gives up.
fn is_of_a_point(error: &Error) -> bool {
    matches!(
        error,
        Error::NonFinite { .. } | Error::NotConverged { .. } | Error::Stopped { row: Some(_), .. }
    )
}

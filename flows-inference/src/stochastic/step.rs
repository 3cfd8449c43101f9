//! Markov chain steps as layers.

use flows_core::{Error, Result, Stream, normals};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Paths;
use crate::annealed::path::{GeometricPath, States};

/// Random-walk Metropolis steps for q^(1-t) p~^t: normal proposals, accepted by the ratio of the
/// densities. They are in detailed balance, so that an accepted step from x to y has
/// S = log f(x) - log f(y) for the density f that they aim at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metropolis {
    /// Steps, at least 1.
    pub steps: usize,
    /// Standard deviation of a proposal in every feature, above 0.
    pub scale: f64,
    /// t, from 0 at the flow to 1 at the target.
    pub fraction: f64,
}

/// Unadjusted overdamped Langevin steps for f = q^(1-t) p~^t,
///
/// ```text
/// y = x + h grad log f(x) + sqrt(2 h) n,   n ~ N(0, I)
/// S = (|n|^2 - |m|^2) / 2,   x = y + h grad log f(y) + sqrt(2 h) m
/// ```
///
/// Every step is taken; S accounts for what a coarse step does to the density. A path that a step too
/// coarse for its point sends out of the range of numbers has weight zero, which is what its weight
/// underflows to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Langevin {
    /// Steps, at least 1.
    pub steps: usize,
    /// h, above 0.
    pub step_size: f64,
    /// t, from 0 at the flow to 1 at the target.
    pub fraction: f64,
}

fn check(steps: usize, (name, size): (&'static str, f64), fraction: f64) -> Result<()> {
    let checks = [
        ("steps of a stochastic layer", "at least 1", steps as f64, steps > 0),
        (name, "positive and finite", size, size > 0.0 && size.is_finite()),
        (
            "fraction of a stochastic layer",
            "between 0 and 1",
            fraction,
            (0.0..=1.0).contains(&fraction),
        ),
    ];
    for (name, requirement, value, holds) in checks {
        if !holds {
            return Err(Error::Parameter { name, requirement, value });
        }
    }
    Ok(())
}

impl Metropolis {
    pub(super) fn check(&self) -> Result<()> {
        check(self.steps, ("scale of Metropolis steps", self.scale), self.fraction)
    }

    pub(super) fn pass(
        &self,
        path: &GeometricPath<'_>,
        paths: &mut Paths,
        rng: &mut Stream,
    ) -> Result<()> {
        let mut states = path.evaluate(std::mem::take(&mut paths.points))?;
        for _ in 0..self.steps {
            let noise: Vec<f64> = normals(states.points.len(), rng);
            let points = states.points.iter().zip(noise).map(|(x, n)| x + self.scale * n);
            let proposed = path.evaluate(points.collect())?;
            let before = states.log_density(self.fraction);
            let after = proposed.log_density(self.fraction);
            for (row, (before, after)) in before.into_iter().zip(after).enumerate() {
                let uniform: f64 = rng.random();
                // A point outside of the support goes wherever the density is above zero.
                let accepted = after > f64::NEG_INFINITY && uniform < (after - before).exp();
                if accepted {
                    states.replace(row, &proposed);
                    paths.log_proposal[row] += after - before;
                }
            }
        }
        paths.points = states.points;
        Ok(())
    }
}

impl Langevin {
    pub(super) fn check(&self) -> Result<()> {
        check(self.steps, ("step size of Langevin steps", self.step_size), self.fraction)
    }

    pub(super) fn pass(
        &self,
        path: &GeometricPath<'_>,
        paths: &mut Paths,
        rng: &mut Stream,
    ) -> Result<()> {
        let (h, width) = (self.step_size, (2.0 * self.step_size).sqrt());
        let drift = |states: &States| states.slopes(self.fraction).map(|slope| h * slope).collect();
        let mut states = path.evaluate(std::mem::take(&mut paths.points))?;
        let mut there: Vec<f64> = drift(&states);
        for _ in 0..self.steps {
            let noise: Vec<f64> = normals(states.points.len(), rng);
            let moves = there.iter().zip(&noise).map(|(drift, n)| drift + width * n);
            let mut points: Vec<f64> =
                states.points.iter().zip(moves).map(|(x, step)| x + step).collect();
            let stopped = states.hold_runaways(&mut points);
            let dim = states.dim;
            states = path.evaluate(points)?;
            let back: Vec<f64> = drift(&states);
            // x - y - h grad log f(y) over sqrt(2 h).
            let backward = there.iter().zip(&back).zip(&noise);
            let backward: Vec<f64> =
                backward.map(|((there, back), n)| -(there + back) / width - n).collect();
            let rows = noise.chunks(dim).zip(backward.chunks(dim));
            for (log_q, (n, m)) in paths.log_proposal.iter_mut().zip(rows) {
                let squares = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
                *log_q -= 0.5 * (squares(n) - squares(m));
                if log_q.is_nan() {
                    *log_q = f64::INFINITY;
                }
            }
            for row in stopped {
                paths.log_proposal[row] = f64::INFINITY;
            }
            there = back;
        }
        paths.points = states.points;
        Ok(())
    }
}

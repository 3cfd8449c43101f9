//! Laplace's approximation: the normal at a mode of a density with its curvature.
//!
//! ```text
//! q = N(m, (-H)^-1),   grad log p~(m) = 0,   H = the Hessian of log p~ at m
//! ```
//! It says where a density lies and how wide it is, from which a flow starts; alone it is the simplest
//! approximation of a posterior.
//!
//! # Reference
//! Tierney, Kadane, *Accurate Approximations for Posterior Moments and Marginal Densities*, JASA 81, 1986.

use flows_core::{Error, Result, Target};
use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

/// Most steps of the search for a mode.
const STEPS: usize = 200;

/// Expected gain of a Newton step in nats below which a mode has been found.
const GAIN: f64 = 1e-9;

/// Largest damping, relative to the diagonal of the Hessian, before the search is given up.
const MOST_DAMPING: f64 = 1e12;

/// The normal at a mode.
#[derive(Clone, Debug, PartialEq)]
pub struct Laplace {
    /// The mode m.
    pub mode: Vec<f64>,
    /// The lower triangular L of the covariance L L^T, row after row.
    pub factor: Vec<f64>,
    /// log p~(m) + log det L + D/2 log 2 pi: what log Z is if the density is normal, in nats.
    pub log_normaliser: f64,
    /// Evaluations of the density with its gradient.
    pub evaluations: u64,
}

impl Laplace {
    /// Searches a mode from `start` by Newton's method, damped as Levenberg and Marquardt do, with the
    /// Hessian by central differences of the gradient, over steps of 6e-6 of a coordinate, or of 1 near
    /// zero: a mode narrower than that at zero is not resolved.
    ///
    /// # Cost
    /// 2 D evaluations and a D x D factorisation a step; some ten steps from where the density is not
    /// flat.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless `start` has the density's features; those of the density;
    /// [`Error::Stopped`] where no mode with a negative definite Hessian is found: the density is zero at
    /// the start, it grows without bound, or it is flat.
    pub fn at_mode(target: &dyn Target, start: &[f64]) -> Result<Self> {
        let (expected, got) = (target.dim(), start.len());
        if expected != got {
            return Err(Error::Dimension { op: "start of the search for a mode", expected, got });
        }
        let mut search = Search { target, evaluations: 0 };
        let mut at = DVector::from_column_slice(start);
        let (mut value, mut gradient) = search.evaluate(&at)?;
        if !value.is_finite() {
            return Err(stopped(0, "the density is zero there"));
        }
        let mut damping = 1e-3;
        for step in 0..STEPS {
            let precision = -search.hessian(&at, &gradient)?;
            if let Some(curvature) = Cholesky::new(precision.clone()) {
                let newton = curvature.solve(&gradient);
                if 0.5 * newton.dot(&gradient) < GAIN {
                    return search.normal(at, value, &curvature);
                }
            }
            let scale = precision.diagonal().map(|p| p.abs().max(1e-12));
            loop {
                let damped = &precision + DMatrix::from_diagonal(&(&scale * damping));
                let proposal = Cholesky::new(damped).map(|factor| &at + factor.solve(&gradient));
                if let Some(proposal) = proposal {
                    let (found, slope) = search.evaluate(&proposal)?;
                    if found >= value && slope.iter().all(|s| s.is_finite()) {
                        (at, value, gradient) = (proposal, found, slope);
                        damping = (damping * 0.1).max(1e-12);
                        break;
                    }
                }
                damping *= 10.0;
                if damping > MOST_DAMPING {
                    return Err(stopped(step, "no step raises the density"));
                }
            }
        }
        Err(stopped(STEPS, "it has no mode, or is flat"))
    }
}

struct Search<'a> {
    target: &'a dyn Target,
    evaluations: u64,
}

impl Search<'_> {
    fn evaluate(&mut self, at: &DVector<f64>) -> Result<(f64, DVector<f64>)> {
        let mut gradient = vec![0.0; at.len()];
        let values = self.target.evaluate(at.as_slice(), &mut gradient)?;
        self.evaluations += 1;
        let value = values.first().copied().unwrap_or(f64::NAN);
        Ok((value, DVector::from_vec(gradient)))
    }

    /// Central differences of the gradient, symmetrised, at distances of the cube root of the unit of
    /// rounding times the size of each coordinate or one over the size of its slope.
    fn hessian(&mut self, at: &DVector<f64>, gradient: &DVector<f64>) -> Result<DMatrix<f64>> {
        let dim = at.len();
        let steps: Vec<f64> = at
            .iter()
            .zip(gradient)
            .map(|(x, g)| f64::EPSILON.cbrt() * x.abs().max(1.0 / g.abs().max(1.0)))
            .collect();
        let mut points = Vec::with_capacity(2 * dim * dim);
        for (feature, step) in steps.iter().enumerate() {
            for sign in [1.0, -1.0] {
                let mut moved = at.clone();
                moved[feature] += sign * step;
                points.extend_from_slice(moved.as_slice());
            }
        }
        let mut slopes = vec![0.0; points.len()];
        self.target.evaluate(&points, &mut slopes)?;
        self.evaluations += 2 * dim as u64;
        let pairs = slopes.chunks_exact(2 * dim).zip(&steps);
        let columns: Vec<f64> = pairs
            .flat_map(|(pair, step)| {
                let (up, down) = pair.split_at(dim);
                up.iter().zip(down).map(|(u, d)| (u - d) / (2.0 * step)).collect::<Vec<_>>()
            })
            .collect();
        let hessian = DMatrix::from_column_slice(dim, dim, &columns);
        Ok(0.5 * (&hessian + hessian.transpose()))
    }

    fn normal(
        &self,
        mode: DVector<f64>,
        value: f64,
        curvature: &Cholesky<f64, Dyn>,
    ) -> Result<Laplace> {
        let dim = mode.len();
        let Some(covariance) = Cholesky::new(curvature.inverse()) else {
            return Err(stopped(0, "its curvature at the mode is singular"));
        };
        let factor = covariance.l();
        let log_det: f64 = factor.diagonal().iter().map(|l| l.ln()).sum();
        let constant = 0.5 * dim as f64 * std::f64::consts::TAU.ln();
        Ok(Laplace {
            mode: mode.as_slice().to_vec(),
            // Stored column by column, so that its transpose is row after row.
            factor: factor.transpose().as_slice().to_vec(),
            log_normaliser: value + log_det + constant,
            evaluations: self.evaluations,
        })
    }
}

fn stopped(step: usize, status: &str) -> Error {
    Error::Stopped {
        method: "the search for a mode of the density",
        row: None,
        reached: format!("step {step}"),
        status: status.into(),
        advice: "start the flow without Laplace's approximation",
    }
}

//! The geometric path between two densities.

use flows_core::{Error, Result, Target};

/// The unnormalised densities f^(1-t) g^t between f, `from`, and g, `to`.
pub(crate) struct GeometricPath<'a> {
    pub(crate) from: &'a dyn Target,
    pub(crate) to: &'a dyn Target,
}

/// Points with both log-densities and their gradients.
#[derive(Clone)]
pub(crate) struct States {
    pub(crate) dim: usize,
    pub(crate) points: Vec<f64>,
    pub(crate) from: Vec<f64>,
    pub(crate) to: Vec<f64>,
    from_slopes: Vec<f64>,
    to_slopes: Vec<f64>,
}

impl GeometricPath<'_> {
    /// Both log-densities of points stored one after another.
    pub(crate) fn evaluate(&self, points: Vec<f64>) -> Result<States> {
        let (mut from_slopes, mut to_slopes) = (vec![0.0; points.len()], vec![0.0; points.len()]);
        let from = self.from.evaluate(&points, &mut from_slopes)?;
        let to = self.to.evaluate(&points, &mut to_slopes)?;
        Ok(States { dim: self.from.dim(), points, from, to, from_slopes, to_slopes })
    }
}

impl States {
    /// The same states, unless a density is neither finite nor zero.
    pub(crate) fn checked(self) -> Result<Self> {
        let of_proposal = ("log-density of the flow at a draw", "train it for longer or in f64");
        let of_target = ("log-density of the target", "give minus infinity outside the support");
        for (values, (quantity, advice)) in [(&self.from, of_proposal), (&self.to, of_target)] {
            let wrong = |v: &f64| v.is_nan() || *v == f64::INFINITY;
            if let Some(row) = values.iter().position(wrong) {
                return Err(Error::NonFinite { quantity, row, advice });
            }
        }
        Ok(self)
    }

    /// log f^(1-t) g^t of each state; minus infinity where it is not finite, so that no chain goes there:
    /// beyond t = 1 the density is infinite where f underflows.
    pub(crate) fn log_density(&self, t: f64) -> Vec<f64> {
        let ends = self.from.iter().zip(&self.to);
        let values = ends.map(|(from, to)| (1.0 - t) * from + t * to);
        values.map(|v| if v.is_finite() { v } else { f64::NEG_INFINITY }).collect()
    }

    /// Its gradient.
    pub(crate) fn slopes(&self, t: f64) -> impl Iterator<Item = f64> + '_ {
        let ends = self.from_slopes.iter().zip(&self.to_slopes);
        ends.map(move |(from, to)| (1.0 - t) * from + t * to)
    }

    /// Adds the change of the log-density as t grows by `step`. A state outside of the support of the
    /// target has weight zero for good.
    pub(crate) fn add_increments(&self, log_weights: &mut [f64], step: f64) {
        for (weight, (from, to)) in log_weights.iter_mut().zip(self.from.iter().zip(&self.to)) {
            let increment = step * (to - from);
            *weight += if increment.is_nan() { f64::NEG_INFINITY } else { increment };
        }
    }

    /// Puts rows whose next point is beyond 1e30, or is no number, back to these states, and says which:
    /// their densities and squares would overflow.
    pub(crate) fn hold_runaways(&self, points: &mut [f64]) -> Vec<usize> {
        let rows = points.chunks_exact_mut(self.dim).zip(self.points.chunks_exact(self.dim));
        let mut stopped = Vec::new();
        for (row, (point, start)) in rows.enumerate() {
            if !point.iter().all(|x| x.abs() < 1e30) {
                point.copy_from_slice(start);
                stopped.push(row);
            }
        }
        stopped
    }

    /// Takes over one row of others.
    pub(crate) fn replace(&mut self, row: usize, others: &Self) {
        let columns = row * self.dim..(row + 1) * self.dim;
        self.from[row] = others.from[row];
        self.to[row] = others.to[row];
        for (mine, other) in [
            (&mut self.points, &others.points),
            (&mut self.from_slopes, &others.from_slopes),
            (&mut self.to_slopes, &others.to_slopes),
        ] {
            mine[columns.clone()].copy_from_slice(&other[columns.clone()]);
        }
    }
}

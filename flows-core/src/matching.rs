//! Conditional flow matching: regression of the vector field of a continuous flow.

mod assignment;
mod pairing;
mod path;

use rand::RngExt;
use serde::{Deserialize, Serialize};

pub use pairing::{MinibatchOt, Pairing};
pub use path::{OptimalTransport, ProbabilityPath, VariancePreserving, Weights};

use crate::{Error, Real, Result, Stream};

/// Conditional flow matching: the distribution of the points and velocities that a field is
/// regressed on.
///
/// A base draw x0 and a data row x1 are joined by a path x_s, and the field v that minimises
///
/// ```text
/// E |v(s, x_s) - dx_s/ds|^2,   s uniform, (x0, x1) from the coupling
/// ```
///
/// is E[dx_s/ds | x_s]: integrated from s = 0 to 1 it carries the base to the data, without a
/// solver in training.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `path` | optimal transport, `sigma_min` 1e-4 | x_s between x0 and x1 | see [`ProbabilityPath`] |
/// | `coupling` | independent | which x0 meets which x1 | see [`Pairing`] |
///
/// # Reference
/// Lipman, Chen, Ben-Hamu, Nickel, Le, *Flow Matching for Generative Modeling*, ICLR 2023.
/// <https://arxiv.org/abs/2210.02747>; Tong, Fatras, Malkin, Huguet, Zhang, Rector-Brooks, Wolf,
/// Bengio, *Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal
/// Transport*, TMLR 2024. <https://arxiv.org/abs/2302.00482>
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowMatching {
    /// How x_s runs from x0 to x1.
    pub path: ProbabilityPath,
    /// Which x0 meets which x1.
    pub coupling: Pairing,
}

/// Points and velocities of the regression, a row for each data row.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs<E> {
    /// s of each row, in [0, 1).
    pub times: Vec<E>,
    /// x_s, row by row.
    pub points: Vec<E>,
    /// dx_s/ds, row by row.
    pub velocities: Vec<E>,
}

impl FlowMatching {
    /// # Errors
    /// [`Error::Parameter`] for a value outside its range.
    pub fn check(&self) -> Result<()> {
        self.path.check()?;
        self.coupling.check()
    }

    /// Draws one pair for each row of base draws `x0` and data `x1`, both row by row with `dim`
    /// columns.
    ///
    /// The pairing permutes rows of x0 only: row i of the pairs belongs to row i of `x1` and its
    /// context.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting outside its range or values that do not fill whole rows;
    /// [`Error::Rows`] unless there are as many base draws as data rows; [`Error::NonFinite`] for a
    /// value, or a sum of squared distances, that is not finite.
    pub fn draw<E: Real>(
        &self,
        x0: &[E],
        x1: &[E],
        dim: usize,
        rng: &mut Stream,
    ) -> Result<Pairs<E>> {
        self.check()?;
        check_rows(x0, x1, dim)?;
        check_finite("base draw x0", x0, dim)?;
        check_finite("data row x1", x1, dim)?;
        let x0 = self.coupling.pair(x0, x1, dim)?;
        let times = spaced_times(x1.len() / dim, self.path.end::<E>(), rng);
        Ok(self.path.pairs(times, &x0, x1, dim))
    }
}

/// Stratified times: end ((shift + i/n) mod 1) for i = 0 .. n-1, with one uniform shift.
///
/// Each time is uniform and independent of its row, so a mean over the rows is unbiased in any
/// order. Since each of n equal intervals holds one time, the variance that is due to s alone is of
/// order n^-2 for a loss smooth in s, not n^-1 (Kingma, Salimans, Poole, Ho, *Variational Diffusion
/// Models*, NeurIPS 2021, appendix I.1, <https://arxiv.org/abs/2107.00630>).
fn spaced_times<E: Real>(rows: usize, end: f64, rng: &mut Stream) -> Vec<E> {
    let shift = rng.random_range(0.0..1.0);
    let time = |i: usize| E::of(end * (shift + i as f64 / rows as f64).fract());
    (0..rows).map(time).collect()
}

fn check_rows<E>(x0: &[E], x1: &[E], dim: usize) -> Result<()> {
    if dim == 0 {
        let (name, requirement) = ("columns of flow matching", "at least 1");
        return Err(Error::Parameter { name, requirement, value: 0.0 });
    }
    for (name, x) in [("number of values in x0", x0), ("number of values in x1", x1)] {
        if !x.len().is_multiple_of(dim) {
            let requirement = "a multiple of the number of columns";
            return Err(Error::Parameter { name, requirement, value: x.len() as f64 });
        }
    }
    let [got, expected] = [x0, x1].map(|x| x.len() / dim);
    if got != expected {
        return Err(Error::Rows { op: "base draws of flow matching", expected, got });
    }
    Ok(())
}

fn check_finite<E: Real>(quantity: &'static str, x: &[E], dim: usize) -> Result<()> {
    match x.iter().position(|value| !value.is_finite()) {
        Some(at) => {
            let advice = "remove rows that are not finite";
            Err(Error::NonFinite { quantity, row: at / dim, advice })
        }
        None => Ok(()),
    }
}

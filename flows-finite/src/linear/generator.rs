//! Parametrisations of orthogonal matrices, with hand-derived gradients (review, Appendix B).
//!
//! Everything is in double precision, so that a matrix is orthogonal to rounding in the precision
//! of the flow.

use flows_core::{Error, Real, Result, Stream, normals};
use nalgebra::{DMatrix, DVector};

/// Parametrisation of an orthogonal matrix Q by unconstrained parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// Q = exp(A) with A skew-symmetric: every rotation.
    ///
    /// Golinski, Lezcano-Casado, Rainforth, *Improving Normalizing Flows via Better Orthogonal
    /// Parameterizations*, INNF workshop at ICML 2019.
    Exponential,
    /// Q = (I + A) (I - A)^-1 with A skew-symmetric: every rotation without the eigenvalue -1,
    /// which A approaches only as it grows without bound.
    ///
    /// Cayley, *Sur quelques proprietes des determinants gauches*, Crelle's Journal 32, 1846;
    /// Golinski et al., as above.
    Cayley,
    /// Q = H_K .. H_2 H_1 with H_k = I - 2 v_k v_k^T / |v_k|^2, K reflections: det Q = (-1)^K, and
    /// every orthogonal matrix of that determinant if K is at least the number of features less one.
    ///
    /// Tomczak, Welling, *Improving Variational Auto-Encoders using Householder Flow*, 2016.
    /// <https://arxiv.org/abs/1611.09630>
    Householder(usize),
}

/// The backward pass of the parametrisation: the gradient of the parameters from that of Q.
type Pull = Box<dyn FnOnce(DMatrix<f64>) -> Vec<f64>>;

impl Generator {
    /// # Errors
    /// [`Error::Parameter`] without features or without reflections.
    pub(crate) fn check(self, dim: usize) -> Result<()> {
        let (rows, columns) = self.shape(dim);
        for (name, count) in [("features of an orthogonal map", columns), ("reflections", rows)] {
            if count == 0 {
                return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
            }
        }
        Ok(())
    }

    /// Shape of the parameters: the strict lower part of A, or one reflection a row.
    pub(crate) fn shape(self, dim: usize) -> (usize, usize) {
        match self {
            Self::Exponential | Self::Cayley => (dim, dim),
            Self::Householder(reflections) => (reflections, dim),
        }
    }

    /// Name of the parameters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exponential | Self::Cayley => "skew",
            Self::Householder(_) => "reflections",
        }
    }

    /// Initial parameters, as [`Orthogonal`](super::Orthogonal) describes.
    pub(crate) fn start(self, dim: usize, rng: &mut Stream) -> Vec<f64> {
        match self {
            Self::Exponential | Self::Cayley => vec![0.0; dim * dim],
            Self::Householder(reflections) => {
                let pairs =
                    (0..reflections.div_ceil(2)).map(|_| normals::<f64>(dim, rng).repeat(2));
                pairs.flatten().take(reflections * dim).collect()
            }
        }
    }

    /// Q row by row, in the precision of the parameters.
    pub(crate) fn rows<E: Real>(self, dim: usize, parameters: &[E]) -> Result<Vec<E>> {
        let (matrix, _) = self.matrix(dim, &wide(parameters))?;
        // Row-major here, column-major in nalgebra.
        Ok(matrix.transpose().iter().map(|&v| E::of(v)).collect())
    }

    /// Backward pass of [`rows`](Self::rows), from the gradient of the first rows of Q; that of the
    /// others is zero.
    pub(crate) fn pull_rows<E: Real>(
        self,
        dim: usize,
        parameters: &[E],
        gradient: &[E],
    ) -> Result<Vec<E>> {
        let (_, pull) = self.matrix(dim, &wide(parameters))?;
        let entry = |i, j| gradient.get(i * dim + j).map_or(0.0, |g: &E| g.as_f64());
        Ok(pull(DMatrix::from_fn(dim, dim, entry)).into_iter().map(E::of).collect())
    }

    /// Q and its backward pass.
    fn matrix(self, dim: usize, parameters: &[f64]) -> Result<(DMatrix<f64>, Pull)> {
        let (matrix, pull) = match self {
            Self::Exponential => exponential(skew(dim, parameters)?),
            Self::Cayley => cayley(&skew(dim, parameters)?)?,
            Self::Householder(_) => householder(dim, parameters)?,
        };
        // One step of Newton and Schulz towards the nearest orthogonal matrix squares the distance,
        // which grows with the norm of A and with K.
        let gram = matrix.tr_mul(&matrix);
        Ok((&matrix * (DMatrix::identity(dim, dim) * 1.5 - gram * 0.5), pull))
    }
}

fn wide<E: Real>(values: &[E]) -> Vec<f64> {
    values.iter().map(|v| v.as_f64()).collect()
}

/// A = T - T^T, with T the strict lower part of the parameters.
fn skew(dim: usize, parameters: &[f64]) -> Result<DMatrix<f64>> {
    let lower = DMatrix::from_row_slice(dim, dim, parameters);
    let a = DMatrix::from_fn(dim, dim, |i, j| match i.cmp(&j) {
        std::cmp::Ordering::Greater => lower[(i, j)],
        std::cmp::Ordering::Equal => 0.0,
        std::cmp::Ordering::Less => -lower[(j, i)],
    });
    let value = a.norm();
    // Beyond, an angle modulo one turn is rounding: 1e8 times 1e-16.
    if value <= 1e8 {
        return Ok(a);
    }
    let (name, requirement) = ("norm of a skew-symmetric generator", "at most 1e8");
    Err(Error::Parameter { name, requirement, value })
}

/// Backward pass of [`skew`]: the gradient of the strict lower part, row by row, from that of A.
fn strict_lower(gradient: &DMatrix<f64>) -> Vec<f64> {
    let n = gradient.nrows();
    let entry = |i, j| if j < i { gradient[(i, j)] - gradient[(j, i)] } else { 0.0 };
    (0..n * n).map(|e| entry(e / n, e % n)).collect()
}

/// exp(A) = exp(A / 2^s)^(2^s) by scaling and squaring, the inner one by its series.
///
/// With ad X = A X - X A and phi(x) = (e^x - 1) / x, the derivative in the direction E is
/// exp(A) phi(-ad) E, and its adjoint takes the gradient G to
/// ```text
/// phi(ad) Q^T G,   phi(ad) = (1 + exp(ad / 2)) / 2 phi(ad / 2),   exp(ad) X = Q X Q^T
/// ```
/// so the gradient needs the matrices exp(A / 2^k) on the way to Q.
fn exponential(a: DMatrix<f64>) -> (DMatrix<f64>, Pull) {
    let n = a.nrows();
    // Singular values of A come in pairs: the largest is at most |A|_F / sqrt(2). Scaled below 1/2.
    let halvings = (a.norm() * std::f64::consts::SQRT_2).max(1.0).log2().ceil() as i32;
    let small = a * 0.5_f64.powi(halvings);
    let mut term = DMatrix::identity(n, n);
    let mut q = term.clone();
    // 0.5^15 / 15! = 2e-17.
    for k in 1..15 {
        term = &small * term / f64::from(k);
        q += &term;
    }
    let mut roots = Vec::new();
    for _ in 0..halvings {
        let square = &q * &q;
        roots.push(std::mem::replace(&mut q, square));
    }
    let result = q.clone();
    let pull = move |gradient: DMatrix<f64>| {
        // ad keeps skew-symmetric matrices apart from symmetric ones, and A takes only the former.
        let along = q.tr_mul(&gradient);
        let mut term = (&along - along.transpose()) * 0.5;
        let mut sum = term.clone();
        // |ad| is at most 1: 1 / 19! = 8e-18.
        for k in 2..19 {
            let left = &small * term;
            term = (&left - left.transpose()) / f64::from(k);
            sum += &term;
        }
        for root in roots {
            sum = (&root * &sum * root.transpose() + sum) * 0.5;
        }
        strict_lower(&sum)
    };
    (result, Box::new(pull))
}

/// With B = (I - A)^-1, Q = 2 B - I and dQ = 2 B dA B: A receives 2 B^T G B^T.
fn cayley(a: &DMatrix<f64>) -> Result<(DMatrix<f64>, Pull)> {
    let n = a.nrows();
    let identity = DMatrix::identity(n, n);
    // No singular value of I - A is below 1, so this fails only beyond the range of numbers.
    let inverse = (&identity - a).lu().try_inverse().ok_or_else(|| {
        let (name, requirement) = ("norm of a skew-symmetric generator", "finite");
        Error::Parameter { name, requirement, value: a.norm() }
    })?;
    let q = &inverse * 2.0 - identity;
    let pull = move |gradient| {
        let transposed = inverse.transpose();
        strict_lower(&(&transposed * gradient * &transposed * 2.0))
    };
    Ok((q, Box::new(pull)))
}

/// The product of the reflections, first to last. A reflection is its own inverse, so the backward
/// pass needs only Q:
/// ```text
/// Q_{k-1} = H_k Q_k,   G_{k-1} = H_k G_k,   M = G_k Q_{k-1}^T
/// v_k receives -2 (I - u u^T) (M + M^T) u / |v|,   u = v_k / |v_k|
/// ```
fn householder(dim: usize, parameters: &[f64]) -> Result<(DMatrix<f64>, Pull)> {
    let mut q = DMatrix::identity(dim, dim);
    let mut reflections = Vec::new();
    for v in parameters.chunks_exact(dim) {
        let (u, length) = unit(v)?;
        reflect(&mut q, &u);
        reflections.push((u, length));
    }
    let result = q.clone();
    let pull = move |mut gradient: DMatrix<f64>| {
        let mut parts = Vec::new();
        for (u, length) in reflections.iter().rev() {
            reflect(&mut q, u);
            let sum = &gradient * q.tr_mul(u) + &q * gradient.tr_mul(u);
            parts.push((&sum - u * u.dot(&sum)) * (-2.0 / length));
            reflect(&mut gradient, u);
        }
        parts.iter().rev().flat_map(|part| part.iter().copied()).collect()
    };
    Ok((result, Box::new(pull)))
}

/// The direction and the length of a vector.
fn unit(v: &[f64]) -> Result<(DVector<f64>, f64)> {
    let v = DVector::from_column_slice(v);
    let largest = v.amax();
    // Scaled first, so that no square overflows or underflows.
    let scaled = v / largest;
    let length = scaled.norm();
    if length.is_finite() && largest.is_finite() {
        return Ok((scaled / length, length * largest));
    }
    let (name, requirement) = ("length of a reflection's vector", "positive and finite");
    Err(Error::Parameter { name, requirement, value: largest })
}

/// (I - 2 u u^T) M in place.
fn reflect(matrix: &mut DMatrix<f64>, u: &DVector<f64>) {
    let along = matrix.tr_mul(u);
    matrix.ger(-2.0, u, &along, 1.0);
}

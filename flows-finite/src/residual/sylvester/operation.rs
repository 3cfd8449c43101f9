//! The kernels of Sylvester flows over a block of rows.

use std::convert::Infallible;

use flows_core::elementwise::{ln, map, tanh, vectorised};
use flows_core::matmul::{Destination, Matrix, product};
use flows_core::operation::{LANES, Operation, Recorded};
use flows_core::{Error, Real, Result, Tally};

use crate::linear::factors::{Factor, Triangle, add_lane_sums, shift};
use crate::residual::tanh_root;

/// Largest diagonal entry of R and of R~: their product stays above -0.998, so that the slope of a
/// unit stays above 0.002, whatever rounding does to a saturated tanh.
const DIAGONAL: f64 = 0.999;

/// x = z + Q R tanh(R~ Q^T z + b), or back; the parameters are Q^T (in the first rows of its
/// tensor), R, R~ and b.
pub(super) struct SylvesterOperation<const INVERSE: bool> {
    pub(super) dim: usize,
    pub(super) units: usize,
    pub(super) iterations: Tally,
}

/// A point of the flow: z, y = Q^T z, h = tanh(R~ y + b) and r = R h.
#[derive(Default)]
pub(super) struct Point<E> {
    z: Vec<E>,
    y: Vec<E>,
    h: Vec<E>,
    r: Vec<E>,
}

/// Q^T, R and R~.
struct Parts<'a, E> {
    frame: Matrix<'a, E>,
    r: Factor<E>,
    r_tilde: Factor<E>,
    dim: usize,
    units: usize,
}

impl<'a, E: Real> Parts<'a, E> {
    fn new(dim: usize, units: usize, parameters: &[&'a [E]]) -> Self {
        let factor = |entries: &[E]| {
            let diagonal = entries.iter().step_by(units + 1);
            let diagonal = diagonal.map(|d| E::of(DIAGONAL) * d.tanh()).collect();
            Factor::new(Triangle::Upper, entries, diagonal)
        };
        let (r, r_tilde) = (factor(parameters[1]), factor(parameters[2]));
        Self { frame: Matrix::new(parameters[0], units, dim), r, r_tilde, dim, units }
    }

    /// c_i = R_ii R~_ii
    fn slopes(&self) -> Vec<E> {
        self.r.diagonal().iter().zip(self.r_tilde.diagonal()).map(|(&r, &s)| r * s).collect()
    }

    /// Q^T v
    fn coordinates(&self, v: &[E]) -> Vec<E> {
        let mut out = vec![E::zero(); self.units * LANES];
        product(self.frame, Matrix::new(v, self.dim, LANES), &mut out, Destination::Replace);
        out
    }

    /// v += Q u
    fn add_span(&self, u: &[E], v: &mut [E]) {
        let u = Matrix::new(u, self.units, LANES);
        product(self.frame.transposed(), u, v, Destination::Add);
    }

    /// The point over `z`.
    fn at(&self, z: &[E], bias: &[E]) -> Point<E> {
        let y = self.coordinates(z);
        let mut h = y.clone();
        self.r_tilde.multiply(&mut h);
        shift(&mut h, E::one(), bias);
        map(&mut h, tanh);
        let mut r = h.clone();
        self.r.multiply(&mut r);
        Point { z: z.to_vec(), y, h, r }
    }

    /// The point whose image is `x`, and the evaluations of tanh that it took.
    fn below(&self, x: &[E], bias: &[E]) -> Result<(Point<E>, u64)> {
        let mut y = self.coordinates(x);
        let mut a = y.clone();
        self.r_tilde.multiply(&mut a);
        shift(&mut a, E::one(), bias);
        let mut h = vec![E::zero(); a.len()];
        let mut evaluations = 0;
        let mut r = eliminate([&self.r_tilde, &self.r], &mut a, &mut h, |_, c, a, h| {
            evaluations += tanh_root::solve("Sylvester flow", c, a)?;
            h.copy_from_slice(a);
            map(h, tanh);
            Ok::<(), Error>(())
        })?;
        let mut z = x.to_vec();
        negate(&mut r);
        self.add_span(&r, &mut z);
        add(&mut y, &r);
        negate(&mut r);
        Ok((Point { z, y, h, r }, evaluations))
    }

    /// `sign` times the sum of log(1 + s_i c_i), s = 1 - h^2.
    fn log_det(&self, h: &[E], sign: E, log_det: &mut [E]) {
        for (h, c) in h.chunks_exact(LANES).zip(self.slopes()) {
            vectorised(
                #[inline(always)]
                || {
                    for (total, &h) in log_det.iter_mut().zip(h) {
                        *total += sign * ln((E::one() - h * h).mul_add(c, E::one()));
                    }
                },
            );
        }
    }

    /// With l the gradient of the log-det, those of a and of c:
    /// ```text
    /// -2 l h s c / (1 + s c),   sum over lanes of l s / (1 + s c)
    /// ```
    fn log_det_gradient(&self, h: &[E], l: &[E]) -> (Vec<E>, Vec<E>) {
        let mut a = h.to_vec();
        let mut slopes = self.slopes();
        for (row, c) in a.chunks_exact_mut(LANES).zip(&mut slopes) {
            let mut sums = [E::zero(); LANES];
            vectorised(
                #[inline(always)]
                || {
                    for ((value, sum), &l) in row.iter_mut().zip(&mut sums).zip(l) {
                        let s = E::one() - *value * *value;
                        *sum = l * s / s.mul_add(*c, E::one());
                        *value = -(*value + *value) * *sum * *c;
                    }
                },
            );
            *c = sums.iter().copied().sum();
        }
        (a, slopes)
    }

    /// From the gradients g of x and l of the log-det to that of z, in place of g; adds those of the
    /// parameters.
    fn pull(&self, point: &Point<E>, g: &mut [E], l: &[E], parameters: &mut [&mut [E]]) {
        let [d_frame, d_r, d_r_tilde, d_bias] = parameters else {
            return;
        };
        let (dim, units) = (self.dim, self.units);
        let r = Matrix::new(&point.r, units, LANES);
        product(r, Matrix::new(g, dim, LANES).transposed(), d_frame, Destination::Add);
        let mut gradient = self.coordinates(g);
        let diagonal = self.r.pull_product(&point.h, &mut gradient, d_r);
        let (curvature, d_slopes) = self.log_det_gradient(&point.h, l);
        for ((value, &h), &e) in gradient.iter_mut().zip(&point.h).zip(&curvature) {
            *value = (E::one() - h * h).mul_add(*value, e);
        }
        add_lane_sums(&gradient, E::one(), d_bias);
        let diagonal_tilde = self.r_tilde.pull_product(&point.y, &mut gradient, d_r_tilde);
        let z = Matrix::new(&point.z, dim, LANES).transposed();
        product(Matrix::new(&gradient, units, LANES), z, d_frame, Destination::Add);
        self.add_span(&gradient, g);
        let (r, r_tilde) = (self.r.diagonal(), self.r_tilde.diagonal());
        let inner = |value: E| E::of(DIAGONAL) - value * value / E::of(DIAGONAL);
        for i in 0..units {
            d_r[i * (units + 1)] += (diagonal[i] + r_tilde[i] * d_slopes[i]) * inner(r[i]);
            let along = diagonal_tilde[i] + r[i] * d_slopes[i];
            d_r_tilde[i * (units + 1)] += along * inner(r_tilde[i]);
        }
    }

    /// G = J^-T (g - l d log det / dz), the gradient of x from those of z and of minus the log-det,
    /// by the implicit function theorem. With J = I + Q R S R~ Q^T, S = diag(s), and e as in
    /// [`log_det_gradient`](Self::log_det_gradient),
    /// ```text
    /// G = g - Q R~^T (e + w),   w = S u,   u + R^T R~^T w = R^T (Q^T g - R~^T e)
    /// ```
    fn implicit(&self, h: &[E], g: &[E], l: &[E]) -> Vec<E> {
        let (r, r_tilde) = (self.r.transposed(), self.r_tilde.transposed());
        let (mut back, _) = self.log_det_gradient(h, l);
        r_tilde.multiply(&mut back);
        negate(&mut back);
        let mut u = self.coordinates(g);
        add(&mut u, &back);
        r.multiply(&mut u);
        let mut w = vec![E::zero(); u.len()];
        let Ok(mut rest) = eliminate([&r, &r_tilde], &mut u, &mut w, |i, c, u, w| {
            for ((w, u), &h) in w.iter_mut().zip(u).zip(&h[i * LANES..]) {
                let s = E::one() - h * h;
                *w = s * *u / s.mul_add(c, E::one());
            }
            Ok::<(), Infallible>(())
        });
        negate(&mut rest);
        add(&mut back, &rest);
        let mut gradient = g.to_vec();
        self.add_span(&back, &mut gradient);
        gradient
    }
}

/// Solves u + F G w = t, where F and G are triangular on the same side and `unit` knows, for every
/// row i, how u_i and w_i hang together: from (i, F_ii G_ii, t') it writes w_i, where t' is what
/// u_i + F_ii G_ii w_i has to be, and may keep its own scratch in t'. Returns G w.
fn eliminate<E: Real, X>(
    [f, g]: [&Factor<E>; 2],
    t: &mut [E],
    w: &mut [E],
    mut unit: impl FnMut(usize, E, &mut [E], &mut [E]) -> Result<(), X>,
) -> Result<Vec<E>, X> {
    let mut v = vec![E::zero(); t.len()];
    for i in f.rows() {
        let (own_f, own_g) = (f.diagonal()[i], g.diagonal()[i]);
        let (inner, outer) = (g.others(i, w), f.others(i, &v));
        let lanes = i * LANES..(i + 1) * LANES;
        let (t, w, v) = (&mut t[lanes.clone()], &mut w[lanes.clone()], &mut v[lanes]);
        for ((t, &inner), &outer) in t.iter_mut().zip(&inner).zip(&outer) {
            *t = *t - outer - own_f * inner;
        }
        unit(i, own_f * own_g, t, w)?;
        for ((v, &inner), &w) in v.iter_mut().zip(&inner).zip(w.iter()) {
            *v = inner + own_g * w;
        }
    }
    Ok(v)
}

fn negate<E: Real>(values: &mut [E]) {
    for value in values {
        *value = -*value;
    }
}

fn add<E: Real>(sum: &mut [E], terms: &[E]) {
    for (sum, &term) in sum.iter_mut().zip(terms) {
        *sum += term;
    }
}

impl<E: Real, const INVERSE: bool> Operation<E> for SylvesterOperation<INVERSE> {
    type Workspace = Point<E>;

    fn name(&self) -> &'static str {
        "Sylvester flow"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim, 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        workspace: &mut Point<E>,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [value, log_det] = outputs else {
            return Ok(());
        };
        let parts = Parts::new(self.dim, self.units, parameters);
        if INVERSE {
            let (point, evaluations) = parts.below(inputs[0], parameters[3])?;
            self.iterations.note(evaluations);
            value.copy_from_slice(&point.z);
            *workspace = point;
        } else {
            *workspace = parts.at(inputs[0], parameters[3]);
            value.copy_from_slice(inputs[0]);
            parts.add_span(&workspace.r, value);
        }
        let sign = if INVERSE { -E::one() } else { E::one() };
        parts.log_det(&workspace.h, sign, log_det);
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, Point<E>>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let parts = Parts::new(self.dim, self.units, block.parameters);
        let (point, g, l) = (&*block.workspace, output_gradients[0], output_gradients[1]);
        if INVERSE {
            // With G the gradient of x, that of the parameters is the forward one of (-G, -l).
            let mut gradient = parts.implicit(&point.h, g, l);
            input_gradients[0].copy_from_slice(&gradient);
            negate(&mut gradient);
            let l: Vec<E> = l.iter().map(|&l| -l).collect();
            parts.pull(point, &mut gradient, &l, parameter_gradients);
        } else {
            input_gradients[0].copy_from_slice(g);
            parts.pull(point, input_gradients[0], l, parameter_gradients);
        }
    }
}

//! The continuous planar flow.

use flows_core::activation::Activation;
use flows_core::elementwise::vectorised;
use flows_core::lanes::{add, add_product, named, named_mut};
use flows_core::matmul::{Destination, Matrix, product};
use flows_core::operation::LANES;
use flows_core::{HasLayout, Layout, Real, Result, Scratch};

use crate::field::dense::{Dense, DenseGradients, pull_bias};
use crate::field::time_gate::{multiply, opening, pull_product};
use crate::field::{FieldGradients, FieldInput, FieldKernel, Structure};
use crate::lane_sums::{dot, total};
use crate::requirement::require_positive;

/// A sum of M planar fields with time-dependent gates,
/// ```text
/// f = sum_m s_m u_m tanh(w_m . z + v_m . context + b_m),   s_m = sigmoid(g_m t + c_m)
/// tr J = sum_m s_m tanh'(.) (u_m . w_m)
/// ```
/// whose trace is exact at the cost of the velocity.
///
/// Tensors: `weight` (w, v) `(M, dim + context)`, `bias` b, `gate_slope` g and `gate_bias` c
/// `(1, M)`, `direction` u `(dim, M)`, the last layer.
///
/// Cost of a row: O(M (dim + context)), widened by one for each tangent.
///
/// # Reference
/// Chen, Rubanova, Bettencourt, Duvenaud, *Neural Ordinary Differential Equations*, NeurIPS 2018,
/// section 4, equations 10 and 11. <https://arxiv.org/abs/1806.07366>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanarField {
    dim: usize,
    context_dim: usize,
    width: usize,
}

/// Scratch of an evaluation.
#[derive(Debug, Default)]
struct PlanarWorkspace<E> {
    /// tanh and its tangents, `(M, stride)`.
    bent: Vec<E>,
    /// The same times s.
    gated: Vec<E>,
}

impl PlanarField {
    /// A field of `width` planar terms.
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) if `dim` or `width` is 0.
    pub fn new(dim: usize, context_dim: usize, width: usize) -> Result<Self> {
        require_positive(&[("dimension", dim), ("width", width)])?;
        Ok(Self { dim, context_dim, width })
    }

    fn inputs(&self) -> usize {
        self.dim + self.context_dim
    }

    fn planes<T>(&self, [weight, bias, slope, gate_bias, direction]: [T; 5]) -> Planes<T> {
        let (dim, inputs, width) = (self.dim, self.inputs(), self.width);
        Planes { dim, inputs, width, weight, bias, slope, gate_bias, direction }
    }
}

impl HasLayout for PlanarField {
    fn layout(&self) -> Vec<Layout> {
        let (width, inputs) = (self.width, self.inputs());
        let part = |name: &str, rows: usize, columns: usize, fan_in: usize| {
            Layout::uniform(name, rows, columns, fan_in).in_last_layer(name == "direction")
        };
        vec![
            part("weight", width, inputs, inputs),
            part("bias", 1, width, inputs),
            part("gate_slope", 1, width, 1),
            part("gate_bias", 1, width, 1),
            part("direction", self.dim, width, width),
        ]
    }
}

impl<E: Real> FieldKernel<E> for PlanarField {
    fn dim(&self) -> usize {
        self.dim
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    fn structure(&self) -> Structure {
        Structure::Closed
    }

    fn left(&self, tangents: usize, _: bool) -> Option<usize> {
        Some(2 * self.width * (1 + tangents) * LANES)
    }

    fn forward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        velocity: &mut [E],
    ) {
        let (stride, planes) = (at.stride(), self.planes(named(parameters)));
        let PlanarWorkspace { bent, gated, .. } = scratch.or_default::<PlanarWorkspace<E>>();
        bent.resize(self.width * stride, E::zero());
        planes.dense().forward((at.state, at.context), bent, stride);
        Activation::Tanh.keep(bent, planes.bias, LANES, stride);
        gated.clear();
        gated.extend_from_slice(bent);
        let (velocity, row) = velocity.split_at_mut(self.dim * stride);
        planes.gate(at.time, gated, stride);
        let gated = Matrix::new(&*gated, self.width, stride);
        product(planes.directions(), gated, velocity, Destination::Replace);
        if at.structure.is_some() {
            planes.trace(at.time, bent, row);
        }
    }

    fn backward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        gradients: FieldGradients<'_, '_, E>,
    ) {
        let (stride, planes) = (at.stride(), self.planes(named(parameters)));
        let FieldGradients { velocity, time, state, context, parameters: sums, buffers } =
            gradients;
        let [d_gated, d_context] = buffers.or_default::<[Vec<E>; 2]>();
        let mut into = self.planes(named_mut(sums));
        let PlanarWorkspace { bent, gated } = scratch.left::<PlanarWorkspace<E>>();
        let (velocity, row) = velocity.split_at(self.dim * stride);
        let zeros = [E::zero(); LANES];
        let tau = if at.structure.is_some() { row } else { &zeros };
        let outer = Matrix::new(velocity, self.dim, stride);
        let turned = Matrix::new(&*gated, self.width, stride).transposed();
        product(outer, turned, into.direction, Destination::Add);
        d_gated.resize(self.width * stride, E::zero());
        product(planes.directions().transposed(), outer, d_gated, Destination::Replace);
        planes.pull((at.time, time), (tau, bent), d_gated, stride, &mut into);
        let into = DenseGradients { weight: into.weight, source: state, extras: d_context };
        planes.dense().backward((at.state, at.context), d_gated, into, stride);
        add(context, d_context);
    }
}

/// Weights, gates and directions of the planes, or their gradients, which are added to.
struct Planes<T> {
    dim: usize,
    /// Columns of the weight.
    inputs: usize,
    width: usize,
    weight: T,
    bias: T,
    slope: T,
    gate_bias: T,
    direction: T,
}

impl<'a, E: Real> Planes<&'a [E]> {
    fn dense(&self) -> Dense<'a, E> {
        Dense::new(self.weight, self.width, [self.dim, self.inputs - self.dim])
    }

    fn directions(&self) -> Matrix<'a, E> {
        Matrix::new(self.direction, self.dim, self.width)
    }

    /// w and u of one plane, feature by feature.
    #[inline(always)]
    fn plane(&self, unit: usize) -> impl Iterator<Item = (E, E)> {
        let w = &self.weight[unit * self.inputs..][..self.dim];
        let u = self.direction[unit..].iter().step_by(self.width);
        w.iter().copied().zip(u.copied())
    }

    /// The gate s of one plane.
    #[inline(always)]
    fn opening(&self, unit: usize, time: &[E]) -> [E; LANES] {
        opening(self.slope[unit], self.gate_bias[unit], time)
    }

    /// Multiplies values and tangents by s.
    fn gate(&self, time: &[E], rows: &mut [E], stride: usize) {
        vectorised(
            #[inline(always)]
            || {
                for (unit, row) in rows.chunks_exact_mut(stride).enumerate() {
                    multiply(row, &self.opening(unit, time));
                }
            },
        );
    }

    /// The trace, `sum s D (u . w)` with D = 1 - T^2.
    fn trace(&self, time: &[E], bent: &[E], trace: &mut [E]) {
        vectorised(
            #[inline(always)]
            || {
                trace.fill(E::zero());
                for (unit, bent) in bent.chunks_exact(LANES).enumerate() {
                    let opening = self.opening(unit, time);
                    let kappa: E = self.plane(unit).map(|(w, u)| w * u).sum();
                    for ((trace, &t), &s) in trace.iter_mut().zip(bent).zip(&opening) {
                        *trace += s * (E::one() - t * t) * kappa;
                    }
                }
            },
        );
    }

    /// Turns the gradient G of s T and its tangents into that of the argument of T, in place, with
    /// tau the gradient of the trace, D = 1 - T^2 and kappa = u . w:
    /// ```text
    /// dT = s G - 2 tau s kappa T,   ds = sum over value and tangents of T G + tau D kappa
    /// dg = sum of ds s' t,   dc = sum of ds s',   dt = sum of ds s' g,   s' = s (1 - s)
    /// dkappa = sum of tau s D,   du = dkappa w,   dw = dkappa u
    /// ```
    fn pull(
        &self,
        (time, d_time): (&[E], &mut [E]),
        (tau, bent): (&[E], &[E]),
        gradient: &mut [E],
        stride: usize,
        into: &mut Planes<&mut [E]>,
    ) {
        vectorised(
            #[inline(always)]
            || {
                let rows = bent.chunks_exact(stride).zip(gradient.chunks_exact_mut(stride));
                for (unit, (bent, outer)) in rows.enumerate() {
                    let opening = self.opening(unit, time);
                    let mut d_opening = pull_product(bent, outer, &opening);
                    let at = (&opening, tau, bent);
                    self.pull_trace(unit, at, outer, &mut d_opening, into);
                    for (d_opening, &s) in d_opening.iter_mut().zip(&opening) {
                        *d_opening *= s * (E::one() - s);
                    }
                    into.slope[unit] += dot(&d_opening, time);
                    into.gate_bias[unit] += total(&d_opening);
                    add_product(d_time, &d_opening, &[self.slope[unit]; LANES]);
                }
            },
        );
        Activation::Tanh.pull(bent, gradient, LANES, stride);
        pull_bias(gradient, stride, into.bias);
    }

    /// Adds the terms of the trace to dT, ds, du and dw of one plane.
    #[inline(always)]
    fn pull_trace(
        &self,
        unit: usize,
        (opening, tau, bent): (&[E; LANES], &[E], &[E]),
        outer: &mut [E],
        d_opening: &mut [E; LANES],
        into: &mut Planes<&mut [E]>,
    ) {
        let kappa: E = self.plane(unit).map(|(w, u)| w * u).sum();
        let mut straight = [E::zero(); LANES];
        for lane in 0..LANES {
            let (t, s) = (bent[lane], opening[lane]);
            let bend = tau[lane] * (E::one() - t * t);
            straight[lane] = bend * s;
            outer[lane] -= E::of(2.0) * tau[lane] * s * kappa * t;
            d_opening[lane] += bend * kappa;
        }
        let d_kappa = total(&straight);
        for (feature, (w, u)) in self.plane(unit).enumerate() {
            into.weight[unit * self.inputs + feature] += d_kappa * u;
            into.direction[feature * self.width + unit] += d_kappa * w;
        }
    }
}

//! Planar flow: a shift along one direction that depends on one projection (review, Section 3.3.2).

mod scalar;

use flows_core::elementwise::{ln, sigmoid, softplus, vectorised};
use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns, columns};
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Mapped, Mode, Parameters, Real, Result, Role, SplitTape,
    Stream, Tally, Values, Work, derive, normals,
};

use scalar::{Unit, solve};

/// z' = z + v tanh(w.z + b).
///
/// ```text
/// v = v_u + (c - 1 - w.v_u) w / |w|^2,   c = 1 + w.v = softplus(w.v_u) > 0
/// log|det dz'/dz| = log(1 + (c - 1) (1 - tanh^2))
/// ```
/// w (`weight`), v_u (`direction`) and b (`bias`) are learned. With c > 0 the map is invertible for
/// all their values; c is at least epsilon, and where w vanishes v = v_u. It starts as the
/// identity, with w from N(0, 1/D), v_u = log(e - 1) w / |w|^2 and b = 0.
///
/// Forward is a formula. The inverse is a monotone Newton search on the projection,
/// a + (c - 1) tanh(a + b) = w.z', to the rounding of this equation, and z = z' - v tanh(a + b) to
/// that of z' and v; a row that does not get there (its input is not finite) is
/// [`Error::NotConverged`](flows_core::Error::NotConverged). Both cost O(D). The context is
/// ignored.
///
/// # Reference
/// Rezende, Mohamed, *Variational Inference with Normalizing Flows*, ICML 2015, eq. 10-12 and
/// appendix A.1. <https://arxiv.org/abs/1505.05770> With w / |w|^2, as w.v = c - 1 requires; some
/// implementations divide by |w|.
#[derive(Debug)]
pub struct Planar<E: Real> {
    /// `(1, dim)`
    weight: Batch<E>,
    /// `(1, dim)`
    direction: Batch<E>,
    /// `(1, 1)`
    bias: Batch<E>,
}

impl<E: Real> Planar<E> {
    /// The identity, with a random hyperplane.
    ///
    /// # Errors
    /// Never in practice; [`Error::Tensor`](flows_core::Error::Tensor) is the tensor library's.
    pub fn new(dim: usize, rng: &mut Stream) -> Result<Self> {
        let size = 1.0 / (dim as f64).sqrt();
        let weight: Vec<f64> = normals::<f64>(dim, rng).iter().map(|n| size * n).collect();
        let square: f64 = weight.iter().map(|w| w * w).sum();
        let at_rest = (std::f64::consts::E - 1.0).ln() / square.max(f64::MIN_POSITIVE);
        let direction = weight.iter().map(|w| E::of(at_rest * w)).collect();
        let weight = weight.iter().map(|&w| E::of(w)).collect();
        Ok(Self {
            weight: batch(weight, 1, dim)?,
            direction: batch(direction, 1, dim)?,
            bias: batch(vec![E::zero()], 1, 1)?,
        })
    }

    /// v and then c, `(1, dim + 1)`.
    fn shear<T: Mode<E>>(&self, tape: &mut T) -> Result<Batch<E>> {
        let (w, raw) = (self.weight.values(), self.direction.values());
        let shear = Shear::new(&w, &raw);
        let mut values: Vec<E> = w.iter().zip(&raw).map(|(&w, &v)| v + shear.along * w).collect();
        values.push(shear.stretch);
        let shape = (values, 1, w.len() + 1);
        let backward = move |outer: &[E]| shear.gradient(&w, &raw, outer);
        derive(&[&self.weight, &self.direction], shape, backward, tape)
    }

    fn map<T: Mode<E>, const INVERSE: bool>(&self, input: Batch<E, T>) -> Result<Mapped<E, T>> {
        check_columns("planar", &input, columns(&self.weight))?;
        let (input, mut tape) = input.split_tape();
        let shear = self.shear(&mut tape)?;
        let iterations = Tally::default();
        let operation = PlanarOperation::<INVERSE> {
            dim: columns(&self.weight),
            iterations: iterations.clone(),
        };
        let parameters = [self.weight.clone(), shear, self.bias.clone()];
        let mut outputs = apply(operation, &[&input], &parameters, &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        let work = Work { iterations: iterations.largest(), ..Work::default() };
        Ok(Mapped::new(outputs.remove(0), log_det, tape, work))
    }
}

impl<E: Real> Parameters<E> for Planar<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        f("weight", Role::Learned, &self.weight);
        f("direction", Role::Learned, &self.direction);
        f("bias", Role::Learned, &self.bias);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        f("weight", Role::Learned, &mut self.weight)?;
        f("direction", Role::Learned, &mut self.direction)?;
        f("bias", Role::Learned, &mut self.bias)
    }
}

impl<E: Real> Bijector<E> for Planar<E> {
    fn dim(&self) -> usize {
        columns(&self.weight)
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::ClosedForm, inverse: Cost::Iterative }
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, false>(z)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, true>(x)
    }
}

/// v = v_u + k w and c from u = w.v_u and n = |w|^2: k = (c - 1 - u)/n, c = softplus(u).
struct Shear<E> {
    /// u
    dot: E,
    /// n; none where it vanishes, and then k = 0 and c = 1 + u.
    square: Option<E>,
    /// k
    along: E,
    /// c
    stretch: E,
}

impl<E: Real> Shear<E> {
    fn new(w: &[E], raw: &[E]) -> Self {
        let dot: E = w.iter().zip(raw).map(|(&w, &v)| w * v).sum();
        let square: E = w.iter().map(|&w| w * w).sum();
        if square < E::min_positive_value() {
            return Self { dot, square: None, along: E::zero(), stretch: E::one() + dot };
        }
        let stretch = softplus(dot).max(E::epsilon());
        let along = (stretch - E::one() - dot) / square;
        Self { dot, square: Some(square), along, stretch }
    }

    /// From the gradients of v and c, G and h, those of w and v_u: with
    /// ```text
    /// du = -(G.w) sigmoid(-u) / n + h sigmoid(u),   dn = -(G.w) k / n
    /// dw = k G + du v_u + 2 dn w,                   dv_u = G + du w
    /// ```
    fn gradient(&self, w: &[E], raw: &[E], outer: &[E]) -> Vec<Vec<E>> {
        let (d_v, d_stretch) = outer.split_at(w.len());
        let d_stretch: E = d_stretch.iter().copied().sum();
        let along: E = d_v.iter().zip(w).map(|(&g, &w)| g * w).sum();
        let (d_dot, twice_d_square) = match self.square {
            None => (d_stretch, E::zero()),
            Some(square) => (
                d_stretch * sigmoid(self.dot) - along * sigmoid(-self.dot) / square,
                -E::of(2.0) * along * self.along / square,
            ),
        };
        let terms = d_v.iter().zip(w.iter().zip(raw));
        let d_w = terms.map(|(&g, (&w, &v))| self.along * g + d_dot * v + twice_d_square * w);
        let d_raw = d_v.iter().zip(w).map(|(&g, &w)| g + d_dot * w);
        vec![d_w.collect(), d_raw.collect()]
    }
}

struct PlanarOperation<const INVERSE: bool> {
    dim: usize,
    iterations: Tally,
}

impl<E: Real, const INVERSE: bool> Operation<E> for PlanarOperation<INVERSE> {
    /// s = w.z + b of each lane.
    type Workspace = Vec<E>;

    fn name(&self) -> &'static str {
        "planar"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim, 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        projections: &mut Vec<E>,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let ([value, log_det], [weight, shear, bias]) = (outputs, parameters) else {
            return Ok(());
        };
        let (direction, stretch) = (&shear[..self.dim], shear[self.dim]);
        let mut s = project(weight, inputs[0]).map(|a| a + bias[0]);
        if INVERSE {
            self.iterations.note(solve(&mut s, stretch)?);
        }
        let sign = if INVERSE { -E::one() } else { E::one() };
        vectorised(
            #[inline(always)]
            || {
                let mut shift = [E::zero(); LANES];
                for lane in 0..LANES {
                    let unit = Unit::new(s[lane], stretch);
                    shift[lane] = sign * unit.value;
                    log_det[lane] = sign * ln(unit.slope);
                }
                let features = inputs[0].chunks_exact(LANES).zip(value.chunks_exact_mut(LANES));
                for ((input, output), &v) in features.zip(direction) {
                    for lane in 0..LANES {
                        output[lane] = v.mul_add(shift[lane], input[lane]);
                    }
                }
            },
        );
        projections.clear();
        projections.extend_from_slice(&s);
        Ok(())
    }

    // With g and l the gradients of value and log-det, t = tanh s, q = 1 - t^2, S = 1 + (c-1) q,
    // and e = l d log S/ds = -2 l (c-1) t q / S, the gradient d of s is, forward,
    //     d = q g.v + e,                        dz = g + d w,   dv = t g,     dc = l q / S
    // For the inverse z solves z + v tanh(w.z + b) = z'. By the implicit function theorem it has
    // the forward gradients of -y, where (I + v q w^T)^T y = g - e w (l counts with the opposite
    // sign), besides those of the log-det at fixed z. The matrix is I plus rank one: by Sherman and
    // Morrison
    //     y.v = (g.v - e (c-1)) / S,   d = -e - q y.v
    //     dz' = y = g + d w,   dv = -t y,   dc = -l q / S
    // In both directions dw = d z and db = d.
    fn backward(
        &self,
        block: Recorded<'_, E, Vec<E>>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let ([d_value, d_log_det], [weight, shear, _]) = (output_gradients, block.parameters)
        else {
            return;
        };
        let [d_weight, d_shear, d_bias] = parameter_gradients else {
            return;
        };
        let (direction, stretch) = (&shear[..self.dim], shear[self.dim]);
        let along = project(direction, d_value);
        let [t, d, d_stretch] =
            unit_gradients::<E, INVERSE>(block.workspace, stretch, &along, d_log_det);
        d_bias[0] += d.iter().copied().sum();
        d_shear[self.dim] += d_stretch.iter().copied().sum();
        for feature in 0..self.dim {
            let lanes = feature * LANES..(feature + 1) * LANES;
            let (w, v) = (weight[feature], direction[feature]);
            let (input, outer) = (&block.inputs[0][lanes.clone()], &d_value[lanes.clone()]);
            let inner = &mut input_gradients[0][lanes];
            for lane in 0..LANES {
                inner[lane] = d[lane].mul_add(w, outer[lane]);
                let z = if INVERSE { input[lane] - v * t[lane] } else { input[lane] };
                d_weight[feature] += d[lane] * z;
                d_shear[feature] += t[lane] * if INVERSE { -inner[lane] } else { outer[lane] };
            }
        }
    }
}

/// tanh s and the gradients of s and c, of each lane.
fn unit_gradients<E: Real, const INVERSE: bool>(
    s: &[E],
    stretch: E,
    along: &[E; LANES],
    d_log_det: &[E],
) -> [[E; LANES]; 3] {
    let [mut t, mut d, mut d_stretch] = [[E::zero(); LANES]; 3];
    vectorised(
        #[inline(always)]
        || {
            for lane in 0..LANES {
                let unit = Unit::new(s[lane], stretch);
                t[lane] = unit.value;
                (d[lane], d_stretch[lane]) = unit.gradient::<INVERSE>(along[lane], d_log_det[lane]);
            }
        },
    );
    [t, d, d_stretch]
}

/// The projection of each lane on `weights`.
fn project<E: Real>(weights: &[E], block: &[E]) -> [E; LANES] {
    let mut sum = [E::zero(); LANES];
    vectorised(
        #[inline(always)]
        || {
            for (&weight, values) in weights.iter().zip(block.chunks_exact(LANES)) {
                for lane in 0..LANES {
                    sum[lane] = weight.mul_add(values[lane], sum[lane]);
                }
            }
        },
    );
    sum
}

//! Planar flows: a shift along one direction by a function of one projection (review, Section
//! 3.3.2).

use flows_core::elementwise::{ln, sigmoid, softplus, vectorised};
use flows_core::lanes::{add, named, named_mut};
use flows_core::map::{Block, Pull, Solve};
use flows_core::operation::LANES;
use flows_core::{
    Cost, Costs, HasLayout, Layout, Map, Real, Result, Scratch, Stream, Tensors, Work, normals,
};

use super::tanh_root::{Unit, solve};

/// A planar flow: z' = z + v tanh(w.z + b).
///
/// ```text
/// v = v_u + (c - 1 - w.v_u) w / |w|^2,   c = 1 + w.v = softplus(w.v_u) > 0
/// log|det dz'/dz| = log(1 + (c - 1) (1 - tanh^2))
/// ```
/// w (`weight`), v_u (`direction`) and b (`bias`) are learned. With c > 0 the map is invertible for
/// all their values; c is at least epsilon, and if w vanishes v = v_u. It starts at the identity,
/// with w from N(0, 1/D), v_u = log(e - 1) w / |w|^2 and b = 0.
///
/// Forward is a formula. The inverse is a monotone Newton search on the projection, a + (c - 1)
/// tanh(a + b) = w.z', to the rounding of this equation, and z = z' - v tanh(a + b); if it does not
/// converge (the input is not finite), the error is
/// [`Error::NotConverged`](flows_core::Error::NotConverged). Both cost O(D).
///
/// # Reference
/// Rezende, Mohamed, *Variational Inference with Normalizing Flows*, ICML 2015, eq. 10-12 and
/// appendix A.1. <https://arxiv.org/abs/1505.05770> With w / |w|^2, as w.v = c - 1 requires; some
/// implementations divide by |w|.
#[derive(Clone, Copy, Debug)]
pub struct Planar {
    dim: usize,
}

impl Planar {
    /// A layer of `dim` features at the identity, with a random hyperplane.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }

    /// `value = input + sign v tanh s`, and `sign` times the log-det, for s = w.z + b of each lane.
    fn shift<E: Real>(at: Block<'_, E>, s: &[E; LANES], sign: E) {
        let [_, direction, stretch, _] = named(at.parameters);
        let Block { input, value, log_det, .. } = at;
        vectorised(
            #[inline(always)]
            || {
                let mut shift = [E::zero(); LANES];
                for lane in 0..LANES {
                    let unit = Unit::new(s[lane], stretch[0]);
                    shift[lane] = sign * unit.value;
                    log_det[lane] += sign * ln(unit.slope);
                }
                let features = input.chunks_exact(LANES).zip(value.chunks_exact_mut(LANES));
                for ((input, output), &v) in features.zip(direction) {
                    for lane in 0..LANES {
                        output[lane] = v.mul_add(shift[lane], input[lane]);
                    }
                }
            },
        );
    }
}

impl HasLayout for Planar {
    fn layout(&self) -> Vec<Layout> {
        vec![
            Layout::zeros("weight", 1, self.dim),
            Layout::zeros("direction", 1, self.dim),
            Layout::zeros("bias", 1, 1),
        ]
    }
}

/// The prepared values are w, v, c and b. A pass leaves w.z + b of each lane.
impl<E: Real> Map<E> for Planar {
    fn name(&self) -> &'static str {
        "planar"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::ClosedForm, inverse: Cost::Iterative }
    }

    fn start(&self, rng: &mut Stream) -> Result<Vec<Vec<f64>>> {
        let size = 1.0 / (self.dim as f64).sqrt();
        let weight: Vec<f64> = normals::<f64>(self.dim, rng).iter().map(|n| size * n).collect();
        let square: f64 = weight.iter().map(|w| w * w).sum();
        let at_rest = (std::f64::consts::E - 1.0).ln() / square.max(f64::MIN_POSITIVE);
        let direction = weight.iter().map(|w| at_rest * w).collect();
        Ok(vec![weight, direction, vec![0.0]])
    }

    fn prepare(&self, mut tensors: Vec<Vec<E>>) -> Result<Vec<Vec<E>>> {
        let shear = Shear::new(&tensors[0], &tensors[1]);
        let v = tensors[0].iter().zip(&tensors[1]).map(|(&w, &v)| v + shear.along * w).collect();
        tensors[1] = v;
        tensors.insert(2, vec![shear.stretch]);
        Ok(tensors)
    }

    fn pull_prepared(
        &self,
        tensors: &Tensors<E>,
        _: &[Vec<E>],
        gradient: &[Vec<E>],
    ) -> Result<Option<Vec<Vec<E>>>> {
        let values = tensors.values();
        let shear = Shear::new(&values[0], &values[1]);
        let [mut d_weight, d_direction] =
            shear.gradient(&values[0], &values[1], (&gradient[1], gradient[2][0]));
        add(&mut d_weight, &gradient[0]);
        Ok(Some(vec![d_weight, d_direction, gradient[3].clone()]))
    }

    fn forward(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let [weight, _, _, bias] = named(at.parameters);
        let s = project(weight, at.input).map(|a| a + bias[0]);
        keep(&s, scratch);
        Self::shift(at, &s, E::one());
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let [weight, _, stretch, bias] = named(at.parameters);
        let mut s = project(weight, at.input).map(|a| a + bias[0]);
        let iterations = solve("planar", &mut s, stretch[0])?;
        keep(&s, scratch);
        Self::shift(at, &s, -E::one());
        Ok(Work::iterations(iterations))
    }

    // With g and l the gradients of value and log-det, t = tanh s, q = 1 - t^2 and S = 1 + (c-1) q,
    // the gradient of s is
    //     d = q g.v - 2 l (c-1) t q / S
    //     dz = g + d w,   dw = d z,   db = d,   dv = t g,   dc = l q / S
    fn forward_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let [weight, direction, stretch, _] = named(at.parameters);
        let [d_weight, d_direction, d_stretch, d_bias] = named_mut(at.gradients);
        let Pull { input, d_value, d_log_det, d_input, .. } = at;
        let (s, along) = (scratch.left::<Vec<E>>(), project(direction, d_value));
        vectorised(
            #[inline(always)]
            || {
                let [mut t, mut d, mut d_c] = [[E::zero(); LANES]; 3];
                for lane in 0..LANES {
                    let unit = Unit::new(s[lane], stretch[0]);
                    t[lane] = unit.value;
                    (d[lane], d_c[lane]) = unit.gradient(along[lane], d_log_det[lane]);
                }
                d_bias[0] += d.iter().copied().sum();
                d_stretch[0] += d_c.iter().copied().sum();
                let blocks = input.chunks_exact(LANES).zip(d_value.chunks_exact(LANES));
                let blocks = blocks.zip(d_input.chunks_exact_mut(LANES)).enumerate();
                for (feature, ((z, outer), inner)) in blocks {
                    for lane in 0..LANES {
                        inner[lane] = d[lane].mul_add(weight[feature], outer[lane]);
                        d_weight[feature] += d[lane] * z[lane];
                        d_direction[feature] += t[lane] * outer[lane];
                    }
                }
            },
        );
        Ok(())
    }

    /// (I + q w v^T)^-1 g = g - (q g.v / S) w, by Sherman and Morrison.
    fn solve_transposed(
        &self,
        at: Solve<'_, E>,
        scratch: &mut Scratch,
        gradient: &mut [E],
    ) -> Result<()> {
        let [weight, direction, stretch, _] = named(at.parameters);
        let (s, mut along) = (scratch.left::<Vec<E>>(), project(direction, gradient));
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    let unit = Unit::new(s[lane], stretch[0]);
                    along[lane] *= -unit.steepness / unit.slope;
                }
                for (gradient, &w) in gradient.chunks_exact_mut(LANES).zip(weight) {
                    for lane in 0..LANES {
                        gradient[lane] = along[lane].mul_add(w, gradient[lane]);
                    }
                }
            },
        );
        Ok(())
    }
}

fn keep<E: Real>(s: &[E; LANES], scratch: &mut Scratch) {
    let kept: &mut Vec<E> = scratch.or_default();
    kept.clear();
    kept.extend_from_slice(s);
}

/// v = v_u + k w and c from u = w.v_u and n = |w|^2: k = (c - 1 - u)/n, c = softplus(u).
struct Shear<E> {
    /// u
    dot: E,
    /// n; `None` if it vanishes, and then k = 0 and c = 1 + u.
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

    /// Backward pass: from the gradients G of v and h of c to those of w and v_u:
    /// ```text
    /// du = -(G.w) sigmoid(-u) / n + h sigmoid(u),   dn = -(G.w) k / n
    /// dw = k G + du v_u + 2 dn w,                   dv_u = G + du w
    /// ```
    fn gradient(&self, w: &[E], raw: &[E], (d_v, d_stretch): (&[E], E)) -> [Vec<E>; 2] {
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
        [d_w.collect(), d_raw.collect()]
    }
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

//! E(n)- and permutation-equivariant vector fields.

use flows_core::elementwise::vectorised;
use flows_core::lanes::{add, named, named_mut};
use flows_core::operation::LANES;
use flows_core::{HasLayout, Layout, Real, Result, Scratch};

use crate::field::radial_functions::{RadialFunctions, Strength};
use crate::field::{FieldGradients, FieldInput, FieldKernel, Structure};
use crate::requirement::require_positive;

/// Central pairwise forces between particles:
/// ```text
/// v_i = sum over j != i of phi(|x_i - x_j|^2, t) (x_i - x_j)
/// phi(q, t) = sum_k (a_k + c_k t) exp(-(beta_k (rho - mu_k))^2 / 2),   rho = sqrt(1 + q) - 1
/// ```
/// The state is (x_1, .., x_n), particle by particle. The field is equivariant under translations,
/// rotations, reflections and permutations of the particles; with an invariant base the density is
/// rotations, reflections and permutations of the particles; with an invariant base the density is
/// invariant. It leaves the centre of mass where it is.
/// The radial functions are Gaussians in rho, which is about the distance less 1 far away and q / 2
/// nearby, so that the field is smooth where two particles meet, unlike with Gaussians of the
/// distance.
///
/// Tensors: `weight` a and `weight_slope` c `(1, K)`, the last layer, `centre` mu and `sharpness`
/// beta, one over the width, `(1, K)`.
///
/// The trace is exact: `2 sum over pairs of (2 q phi' + d phi)`, phi' the derivative in q. Cost of
/// a row: O(n^2 (K + d)), and O(n^2 d) a tangent; the backward pass recomputes the pairs. There is
/// no conditioning.
///
/// # Reference
/// Köhler, Klein, Noé, *Equivariant Flows: Exact Likelihood Generative Models for Symmetric
/// Densities*, ICML 2020. <https://arxiv.org/abs/2006.02425>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EquivariantField {
    particles: usize,
    space: usize,
    functions: usize,
}

/// Buffers of one pair of particles.
#[derive(Debug, Default)]
struct EquivariantWorkspace<E> {
    /// x_i - x_j with tangents, `(d, stride)`.
    between: Vec<E>,
    /// The pair's part of v_i with tangents, or the gradient of `between`.
    share: Vec<E>,
    /// G_i - G_j, G the gradient of the velocity.
    outer: Vec<E>,
}

impl EquivariantField {
    /// A field of `particles` particles in `space` dimensions, with `functions` radial functions.
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) if one of these is 0.
    pub fn new(particles: usize, space: usize, functions: usize) -> Result<Self> {
        let radial = ("radial functions", functions);
        require_positive(&[("particles", particles), ("space", space), radial])?;
        Ok(Self { particles, space, functions })
    }

    /// Each pair of particles once.
    fn pairs(&self) -> impl Iterator<Item = [usize; 2]> {
        let particles = self.particles;
        (0..particles).flat_map(move |i| (i + 1..particles).map(move |j| [i, j]))
    }
}

impl HasLayout for EquivariantField {
    fn layout(&self) -> Vec<Layout> {
        let part = |name: &str, fan_in: usize, last: bool| {
            Layout::uniform(name, 1, self.functions, fan_in).in_last_layer(last)
        };
        vec![
            part("weight", self.functions, true),
            part("weight_slope", self.functions, true),
            part("centre", 1, false),
            part("sharpness", 1, false),
        ]
    }
}

impl<E: Real> FieldKernel<E> for EquivariantField {
    fn dim(&self) -> usize {
        self.particles * self.space
    }

    fn structure(&self) -> Structure {
        Structure::Closed
    }

    fn left(&self, tangents: usize, _: bool) -> Option<usize> {
        Some(3 * self.space * (1 + tangents) * LANES)
    }

    fn forward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        velocity: &mut [E],
    ) {
        let (stride, functions) = (at.stride(), RadialFunctions::of(named(parameters)));
        let EquivariantWorkspace { between, share, .. } =
            scratch.or_default::<EquivariantWorkspace<E>>();
        let block = self.space * stride;
        share.resize(block, E::zero());
        velocity.fill(E::zero());
        let (velocity, trace) = velocity.split_at_mut(self.particles * block);
        let space = E::of(self.space as f64);
        vectorised(
            #[inline(always)]
            || {
                for pair in self.pairs() {
                    difference(at.state, pair, block, between);
                    let strength = functions.strength(&square(between, stride), at.time);
                    force(&strength, between, share, stride);
                    scatter(share, pair, block, velocity);
                    if at.structure.is_some() {
                        add_trace(&strength, space, trace);
                    }
                }
            },
        );
    }

    fn backward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        scratch: &mut Scratch,
        gradients: FieldGradients<'_, '_, E>,
    ) {
        let (stride, functions) = (at.stride(), RadialFunctions::of(named(parameters)));
        let FieldGradients { velocity, time, state, parameters: sums, .. } = gradients;
        let mut sums = RadialFunctions::of(named_mut(sums));
        let EquivariantWorkspace { between, share, outer } =
            scratch.left::<EquivariantWorkspace<E>>();
        let block = self.space * stride;
        share.resize(block, E::zero());
        state.fill(E::zero());
        let (velocity, row) = velocity.split_at(self.particles * block);
        let zeros = [E::zero(); LANES];
        let tau = if at.structure.is_some() { row } else { &zeros };
        let space = E::of(self.space as f64);
        vectorised(
            #[inline(always)]
            || {
                for pair in self.pairs() {
                    difference(at.state, pair, block, between);
                    difference(velocity, pair, block, outer);
                    let strength = functions.strength(&square(between, stride), at.time);
                    let pulled = pull_force(&strength, between, outer, share, stride);
                    let pulled = pull_trace(&strength, (tau, space), pulled);
                    pull_square(&strength, (&pulled, tau), between, share, stride);
                    functions.pull(&strength, (at.time, &mut *time), &pulled, &mut sums);
                    scatter(share, pair, block, state);
                }
            },
        );
    }
}

/// Gradients of phi and of its derivative in q.
type Pulled<E> = [[E; LANES]; 2];

/// Part i less part j.
#[inline(always)]
fn difference<E: Real>(parts: &[E], [i, j]: [usize; 2], block: usize, out: &mut Vec<E>) {
    out.clear();
    let (first, second) = (&parts[i * block..][..block], &parts[j * block..][..block]);
    out.extend(first.iter().zip(second).map(|(&first, &second)| first - second));
}

/// Adds to part i and subtracts from part j.
#[inline(always)]
fn scatter<E: Real>(share: &[E], [i, j]: [usize; 2], block: usize, parts: &mut [E]) {
    add(&mut parts[i * block..][..block], share);
    for (part, &share) in parts[j * block..][..block].iter_mut().zip(share) {
        *part -= share;
    }
}

/// q = |x|^2
#[inline(always)]
fn square<E: Real>(between: &[E], stride: usize) -> [E; LANES] {
    inner(between, between, stride, [0, 0])
}

/// The inner product of one group of lanes of x with one of y, over the features.
#[inline(always)]
fn inner<E: Real>(x: &[E], y: &[E], stride: usize, [a, b]: [usize; 2]) -> [E; LANES] {
    let mut sum = [E::zero(); LANES];
    for (x, y) in x.chunks_exact(stride).zip(y.chunks_exact(stride)) {
        let (x, y) = (&x[a * LANES..][..LANES], &y[b * LANES..][..LANES]);
        flows_core::lanes::add_product(&mut sum, x, y);
    }
    sum
}

/// phi x, and of a tangent x' of x: `2 (x . x') phi' x + phi x'`.
#[inline(always)]
fn force<E: Real>(strength: &Strength<E>, between: &[E], share: &mut [E], stride: usize) {
    for group in 0..stride / LANES {
        let along = inner(between, between, stride, [0, group]);
        for (x, share) in between.chunks_exact(stride).zip(share.chunks_exact_mut(stride)) {
            let (moved, share) = (&x[group * LANES..][..LANES], &mut share[group * LANES..]);
            for lane in 0..LANES {
                let stretch = E::of(2.0) * along[lane] * strength.slope[lane] * x[lane];
                let stretch = if group == 0 { E::zero() } else { stretch };
                share[lane] = strength.value[lane] * moved[lane] + stretch;
            }
        }
    }
}

/// The contribution of a pair to the trace, `2 (2 q phi' + d phi)`.
#[inline(always)]
fn add_trace<E: Real>(strength: &Strength<E>, space: E, trace: &mut [E]) {
    let two = E::of(2.0);
    for (lane, trace) in trace.iter_mut().enumerate() {
        let stretch = two * strength.square[lane] * strength.slope[lane];
        *trace += two * (stretch + space * strength.value[lane]);
    }
}

/// With g = G_i - G_j, primes for tangents and q' = 2 x . x', the contribution of a pair to the
/// velocity's gradient is
/// ```text
/// L = phi F + phi' F',   F = g . x + sum g' . x',   F' = sum q' (g' . x)
/// dx' = phi g' + 2 phi' (g' . x) x,   dx = phi g + sum phi' (2 (g' . x) x' + q' g') + 2 dq x
/// ```
/// Writes dx' and dx without the term of dq, and returns F and F'.
#[inline(always)]
fn pull_force<E: Real>(
    strength: &Strength<E>,
    between: &[E],
    outer: &[E],
    share: &mut [E],
    stride: usize,
) -> Pulled<E> {
    let mut value = inner(outer, between, stride, [0, 0]);
    let mut slope = [E::zero(); LANES];
    for (g, share) in outer.chunks_exact(stride).zip(share.chunks_exact_mut(stride)) {
        for lane in 0..LANES {
            share[lane] = strength.value[lane] * g[lane];
        }
    }
    for group in 1..stride / LANES {
        add(&mut value, &inner(outer, between, stride, [group, group]));
        let across = inner(outer, between, stride, [group, 0]).map(|v| v + v);
        let along = inner(between, between, stride, [0, group]).map(|v| v + v);
        for lane in 0..LANES {
            slope[lane] += E::of(0.5) * along[lane] * across[lane];
        }
        let rows = between.chunks_exact(stride).zip(outer.chunks_exact(stride));
        for ((x, g), share) in rows.zip(share.chunks_exact_mut(stride)) {
            for lane in 0..LANES {
                let (at, phi) = (group * LANES + lane, strength.slope[lane]);
                share[lane] += phi * (across[lane] * x[at] + along[lane] * g[at]);
                share[at] = strength.value[lane] * g[at] + phi * across[lane] * x[lane];
            }
        }
    }
    [value, slope]
}

/// Adds the gradient of the trace, of weight tau: `2 tau d` to F and `4 tau q` to F'.
#[inline(always)]
fn pull_trace<E: Real>(
    strength: &Strength<E>,
    (tau, space): (&[E], E),
    [mut value, mut slope]: Pulled<E>,
) -> Pulled<E> {
    for lane in 0..LANES {
        value[lane] += E::of(2.0) * tau[lane] * space;
        slope[lane] += E::of(4.0) * tau[lane] * strength.square[lane];
    }
    [value, slope]
}

/// Adds to dx the term of q: `2 dq x` with `dq = phi' F + phi'' F' + 4 tau phi'`.
#[inline(always)]
fn pull_square<E: Real>(
    strength: &Strength<E>,
    ([value, slope], tau): (&Pulled<E>, &[E]),
    between: &[E],
    share: &mut [E],
    stride: usize,
) {
    let mut twice = [E::zero(); LANES];
    for lane in 0..LANES {
        let steep = strength.slope[lane] * (value[lane] + E::of(4.0) * tau[lane]);
        twice[lane] = E::of(2.0) * (steep + strength.curvature[lane] * slope[lane]);
    }
    for (x, share) in between.chunks_exact(stride).zip(share.chunks_exact_mut(stride)) {
        flows_core::lanes::add_product(&mut share[..LANES], &twice, &x[..LANES]);
    }
}

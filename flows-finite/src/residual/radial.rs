//! Radial flows: contraction or expansion around a point (review, Section 3.3.2).

mod radial_map;

use flows_core::elementwise::{ln, sigmoid, softplus, vectorised};
use flows_core::lanes::{add_product, named, named_mut};
use flows_core::map::{Block, Pull, Solve};
use flows_core::operation::LANES;
use flows_core::{
    Direction, HasLayout, Layout, Map, Real, Result, Scratch, Stream, Tensors, Work, normals,
};

use radial_map::{RadialMap, solve};

/// A radial flow: z' = z + beta / (alpha + r) (z - z0),  r = |z - z0|.
///
/// ```text
/// alpha = softplus(alpha_u),   beta = -alpha + gamma,   gamma = softplus(beta_u)
/// r' = r (gamma + r) / (alpha + r),   r = ((r' - gamma) + sqrt((r' - gamma)^2 + 4 alpha r')) / 2
/// log|det dz'/dz| = (D - 1) log((gamma + r)/(alpha + r)) + log(1 + alpha beta / (alpha + r)^2)
/// ```
/// z0 (`centre`), alpha_u (`alpha`) and beta_u (`beta`) are learned; beta > -alpha makes the map
/// invertible for all their values. It starts at the identity, alpha = 1 and beta = 0, around a
/// point from N(0, I). Both directions are formulas of cost O(D), without cancellation or
/// overflowing squares; at r = 0 the log-det has a kink, whose gradient is taken as 0. alpha and
/// gamma are at least epsilon.
///
/// # Reference
/// Tabak, Turner, *A Family of Nonparametric Density Estimation Algorithms*, Comm. Pure Appl. Math.
/// 66(2), 2013; Rezende, Mohamed, *Variational Inference with Normalizing Flows*, ICML 2015, eq. 14
/// and appendix A.2. <https://arxiv.org/abs/1505.05770>
#[derive(Clone, Copy, Debug)]
pub struct Radial {
    dim: usize,
}

/// Intermediate values of each lane.
#[derive(Debug, Default)]
struct Ray<E> {
    /// d = z - z0, `(dim, LANES)`
    distance: Vec<E>,
    /// r = |d|
    radius: Vec<E>,
}

impl Radial {
    /// A layer of `dim` features at the identity, around a random point.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }

    /// D - 1
    fn across<E: Real>(&self) -> E {
        E::of(self.dim as f64 - 1.0)
    }

    // z' - z = (z - z0) beta / (alpha + r),   z - z' = -(z' - z0) beta / (gamma + r)
    fn run<E: Real>(&self, direction: Direction, at: Block<'_, E>, scratch: &mut Scratch) {
        let [centre, radii] = named(at.parameters);
        let Block { input, value, log_det, .. } = at;
        let Ray { distance, radius } = scratch.or_default();
        let (across, inverse) = (self.across::<E>(), direction == Direction::Inverse);
        distance.resize(input.len(), E::zero());
        radius.resize(LANES, E::zero());
        vectorised(
            #[inline(always)]
            || {
                let features = input.chunks_exact(LANES).zip(distance.chunks_exact_mut(LANES));
                for ((input, distance), &z0) in features.zip(centre) {
                    for lane in 0..LANES {
                        distance[lane] = input[lane] - z0;
                    }
                }
            },
        );
        lengths(distance, radius);
        vectorised(
            #[inline(always)]
            || {
                let [mut pull, mut shrink] = [[E::one(); LANES]; 2];
                for lane in 0..LANES {
                    if inverse {
                        radius[lane] = solve(radius[lane], radii);
                    }
                    let ring = RadialMap::new(radius[lane], radii);
                    let total = across * ln(ring.scale) + ln(ring.slope);
                    log_det[lane] += if inverse { -total } else { total };
                    let beta = ring.image - ring.base;
                    pull[lane] = if inverse { -beta / ring.image } else { beta / ring.base };
                    shrink[lane] = if inverse { ring.base / ring.image } else { E::one() };
                }
                let features = input.chunks_exact(LANES).zip(value.chunks_exact_mut(LANES));
                let features = features.zip(distance.chunks_exact_mut(LANES));
                for ((input, output), distance) in features {
                    for lane in 0..LANES {
                        output[lane] = distance[lane].mul_add(pull[lane], input[lane]);
                        distance[lane] *= shrink[lane];
                    }
                }
            },
        );
    }
}

impl HasLayout for Radial {
    fn layout(&self) -> Vec<Layout> {
        vec![
            Layout::zeros("centre", 1, self.dim),
            Layout::zeros("alpha", 1, 1),
            Layout::zeros("beta", 1, 1),
        ]
    }
}

/// The prepared values are z0 and, in one slice, alpha and gamma.
impl<E: Real> Map<E> for Radial {
    fn name(&self) -> &'static str {
        "radial"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn start(&self, rng: &mut Stream) -> Result<Vec<Vec<f64>>> {
        let one = vec![(std::f64::consts::E - 1.0).ln()];
        Ok(vec![normals(self.dim, rng), one.clone(), one])
    }

    fn prepare(&self, mut tensors: Vec<Vec<E>>) -> Result<Vec<Vec<E>>> {
        let raw = tensors.split_off(1).concat();
        tensors.push(raw.into_iter().map(|raw| softplus(raw).max(E::epsilon())).collect());
        Ok(tensors)
    }

    fn pull_prepared(
        &self,
        tensors: &Tensors<E>,
        _: &[Vec<E>],
        gradient: &[Vec<E>],
    ) -> Result<Option<Vec<Vec<E>>>> {
        let raw = tensors.values().split_off(1).concat();
        let slopes = gradient[1].iter().zip(raw).map(|(&g, raw)| vec![g * sigmoid(raw)]);
        Ok(Some([gradient[0].clone()].into_iter().chain(slopes).collect()))
    }

    fn forward(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        self.run(Direction::Forward, at, scratch);
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        self.run(Direction::Inverse, at, scratch);
        Ok(Work::default())
    }

    // With g the gradient of z' and k the factor that d is stretched by,
    //     dd = k g + (gradient of r) d / r,   dz = dd,   dz0 = g - dd
    fn forward_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let [_, radii] = named(at.parameters);
        let [d_centre, d_radii] = named_mut(at.gradients);
        let Pull { d_value, d_log_det, d_input, .. } = at;
        let Ray { distance, radius } = scratch.left();
        let (across, along) = (self.across::<E>(), along(distance, d_value));
        vectorised(
            #[inline(always)]
            || {
                let [mut factor, mut turn, mut d_alpha, mut d_gamma] = [[E::zero(); LANES]; 4];
                for lane in 0..LANES {
                    let ring = RadialMap::new(radius[lane], radii);
                    let (d_r, alpha, gamma) = ring.gradient(along[lane], across, d_log_det[lane]);
                    (factor[lane], turn[lane]) = (ring.scale, d_r / divisor(radius[lane]));
                    (d_alpha[lane], d_gamma[lane]) = (alpha, gamma);
                }
                d_radii[0] += d_alpha.iter().copied().sum();
                d_radii[1] += d_gamma.iter().copied().sum();
                let blocks = distance.chunks_exact(LANES).zip(d_value.chunks_exact(LANES));
                let blocks = blocks.zip(d_input.chunks_exact_mut(LANES)).enumerate();
                for (feature, ((distance, outer), inner)) in blocks {
                    for lane in 0..LANES {
                        inner[lane] = factor[lane] * outer[lane] + turn[lane] * distance[lane];
                        d_centre[feature] += outer[lane] - inner[lane];
                    }
                }
            },
        );
        Ok(())
    }

    /// J = k I + (S - k) u u^T with u = d / r, so J^-T g = g / k + (1/S - 1/k) (u.g) u.
    fn solve_transposed(
        &self,
        at: Solve<'_, E>,
        scratch: &mut Scratch,
        gradient: &mut [E],
    ) -> Result<()> {
        let [_, radii] = named(at.parameters);
        let Ray { distance, radius } = scratch.left();
        let mut turn = along(distance, gradient);
        vectorised(
            #[inline(always)]
            || {
                let mut factor = [E::zero(); LANES];
                for lane in 0..LANES {
                    let ring = RadialMap::new(radius[lane], radii);
                    factor[lane] = ring.scale.recip();
                    turn[lane] = ring.turn() * (turn[lane] / divisor(radius[lane]));
                }
                let blocks = gradient.chunks_exact_mut(LANES).zip(distance.chunks_exact(LANES));
                for (gradient, distance) in blocks {
                    for lane in 0..LANES {
                        gradient[lane] =
                            factor[lane] * gradient[lane] + turn[lane] * distance[lane];
                    }
                }
            },
        );
        Ok(())
    }
}

/// A length that is safe to divide by: the quotient must not overflow, for 0 times it has to be 0.
#[inline(always)]
fn divisor<E: Real>(length: E) -> E {
    length.max(E::min_positive_value().sqrt())
}

/// |d| of each lane, scaled by the largest coordinate, because squares could overflow.
fn lengths<E: Real>(distance: &[E], lengths: &mut [E]) {
    let (mut largest, mut sum) = ([E::min_positive_value(); LANES], [E::zero(); LANES]);
    vectorised(
        #[inline(always)]
        || {
            for distance in distance.chunks_exact(LANES) {
                for lane in 0..LANES {
                    let size = distance[lane].abs();
                    largest[lane] = if size > largest[lane] { size } else { largest[lane] };
                }
            }
            for distance in distance.chunks_exact(LANES) {
                for lane in 0..LANES {
                    let ratio = distance[lane] / largest[lane];
                    sum[lane] = ratio.mul_add(ratio, sum[lane]);
                }
            }
            for lane in 0..LANES {
                lengths[lane] = largest[lane] * sum[lane].sqrt();
            }
        },
    );
}

/// The projection of the gradient on d, of each lane.
fn along<E: Real>(distance: &[E], gradient: &[E]) -> [E; LANES] {
    let mut sum = [E::zero(); LANES];
    for (d, g) in distance.chunks_exact(LANES).zip(gradient.chunks_exact(LANES)) {
        add_product(&mut sum, d, g);
    }
    sum
}

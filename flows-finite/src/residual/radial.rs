//! Radial flow: contraction or expansion around a point (review, Section 3.3.2).

mod ring;

use flows_core::elementwise::{ln, sigmoid, softplus, vectorised};
use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns, columns};
use flows_core::{
    Batch, Bijector, Context, Costs, Mapped, Mode, Parameters, Real, Result, Role, SplitTape,
    Stream, Values, Work, derive, normals,
};

use ring::Ring;

/// z' = z + beta / (alpha + r) (z - z0),  r = |z - z0|.
///
/// ```text
/// alpha = softplus(alpha_u),   beta = -alpha + gamma,   gamma = softplus(beta_u)
/// r' = r (gamma + r) / (alpha + r),   r = ((r' - gamma) + sqrt((r' - gamma)^2 + 4 alpha r')) / 2
/// log|det dz'/dz| = (D - 1) log((gamma + r)/(alpha + r)) + log(1 + alpha beta / (alpha + r)^2)
/// ```
/// z0 (`centre`), alpha_u (`alpha`) and beta_u (`beta`) are learned; beta > -alpha makes the map
/// invertible for all their values. It starts as the identity, alpha = 1 and beta = 0, around a
/// point from N(0, I). Both directions are formulas of cost O(D), without cancellation and without
/// squares that overflow; at r = 0 the log-det has a kink, whose gradient is taken as 0. alpha and
/// gamma are at least epsilon. The context is ignored.
///
/// # Reference
/// Tabak, Turner, *A Family of Nonparametric Density Estimation Algorithms*, Comm. Pure Appl. Math.
/// 66(2), 2013; Rezende, Mohamed, *Variational Inference with Normalizing Flows*, ICML 2015, eq. 14
/// and appendix A.2. <https://arxiv.org/abs/1505.05770>
#[derive(Debug)]
pub struct Radial<E: Real> {
    /// `(1, dim)`
    centre: Batch<E>,
    /// `(1, 1)`
    alpha: Batch<E>,
    /// `(1, 1)`
    beta: Batch<E>,
}

impl<E: Real> Radial<E> {
    /// The identity, around a random point.
    ///
    /// # Errors
    /// Never in practice; [`Error::Tensor`](flows_core::Error::Tensor) is the tensor library's.
    pub fn new(dim: usize, rng: &mut Stream) -> Result<Self> {
        let one = || batch(vec![E::of((std::f64::consts::E - 1.0).ln())], 1, 1);
        Ok(Self { centre: batch(normals(dim, rng), 1, dim)?, alpha: one()?, beta: one()? })
    }

    /// alpha and gamma, `(1, 2)`.
    fn radii<T: Mode<E>>(&self, tape: &mut T) -> Result<Batch<E>> {
        let raw = [self.alpha.values(), self.beta.values()].concat();
        let values = raw.iter().map(|&raw| softplus(raw).max(E::epsilon())).collect();
        let backward = move |outer: &[E]| {
            outer.iter().zip(raw).map(|(&g, raw)| vec![g * sigmoid(raw)]).collect()
        };
        derive(&[&self.alpha, &self.beta], (values, 1, 2), backward, tape)
    }

    fn map<T: Mode<E>, const INVERSE: bool>(&self, input: Batch<E, T>) -> Result<Mapped<E, T>> {
        check_columns("radial", &input, columns(&self.centre))?;
        let (input, mut tape) = input.split_tape();
        let parameters = [self.centre.clone(), self.radii(&mut tape)?];
        let operation = RadialOperation::<INVERSE> { dim: columns(&self.centre) };
        let mut outputs = apply(operation, &[&input], &parameters, &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        Ok(Mapped::new(outputs.remove(0), log_det, tape, Work::default()))
    }
}

impl<E: Real> Parameters<E> for Radial<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        f("centre", Role::Learned, &self.centre);
        f("alpha", Role::Learned, &self.alpha);
        f("beta", Role::Learned, &self.beta);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        f("centre", Role::Learned, &mut self.centre)?;
        f("alpha", Role::Learned, &mut self.alpha)?;
        f("beta", Role::Learned, &mut self.beta)
    }
}

impl<E: Real> Bijector<E> for Radial<E> {
    fn dim(&self) -> usize {
        columns(&self.centre)
    }

    fn costs(&self) -> Costs {
        Costs::CLOSED_FORM
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, false>(z)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, true>(x)
    }
}

struct RadialOperation<const INVERSE: bool> {
    dim: usize,
}

impl<E: Real, const INVERSE: bool> Operation<E> for RadialOperation<INVERSE> {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "radial"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim, 1]
    }

    // z' - z = (z - z0) beta / (alpha + r),   z - z' = -(z' - z0) beta / (gamma + r)
    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let ([value, log_det], [centre, radii]) = (outputs, parameters) else {
            return Ok(());
        };
        let across = E::of(self.dim as f64 - 1.0);
        let lengths = lengths(inputs[0], centre);
        let mut pull = [E::zero(); LANES];
        vectorised(
            #[inline(always)]
            || {
                for lane in 0..LANES {
                    let ring = Ring::new::<INVERSE>(lengths[lane], radii);
                    let total = across * ln(ring.scale) + ln(ring.slope);
                    log_det[lane] = if INVERSE { -total } else { total };
                    let beta = ring.image - ring.base;
                    pull[lane] = if INVERSE { -beta / ring.image } else { beta / ring.base };
                }
                let features = inputs[0].chunks_exact(LANES).zip(value.chunks_exact_mut(LANES));
                for ((input, output), &z0) in features.zip(centre.iter()) {
                    for lane in 0..LANES {
                        output[lane] = (input[lane] - z0).mul_add(pull[lane], input[lane]);
                    }
                }
            },
        );
        Ok(())
    }

    // With d the distance vector of the input from z0, R its length, f = k or 1/k the factor that
    // it is stretched by, and g the gradient of the output:
    //     dd = f g + (gradient of R) d / R,   dz = dd,   dz0 = g - dd
    fn backward(
        &self,
        block: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let ([d_value, d_log_det], [centre, radii]) = (output_gradients, block.parameters) else {
            return;
        };
        let [d_centre, d_radii] = parameter_gradients else {
            return;
        };
        let lengths = lengths(block.inputs[0], centre);
        let along = along(block.inputs[0], centre, d_value);
        let across = E::of(self.dim as f64 - 1.0);
        let [factor, turn, d_alpha, d_gamma] =
            ring_gradients::<E, INVERSE>(&lengths, radii, across, &along, d_log_det);
        d_radii[0] += d_alpha.iter().copied().sum();
        d_radii[1] += d_gamma.iter().copied().sum();
        for feature in 0..self.dim {
            let lanes = feature * LANES..(feature + 1) * LANES;
            let (input, outer) = (&block.inputs[0][lanes.clone()], &d_value[lanes.clone()]);
            let inner = &mut input_gradients[0][lanes];
            for lane in 0..LANES {
                let distance = input[lane] - centre[feature];
                inner[lane] = factor[lane] * outer[lane] + turn[lane] * distance;
                d_centre[feature] += outer[lane] - inner[lane];
            }
        }
    }
}

/// |z - z0| of each lane, from the ratios to the largest coordinate: squares could overflow.
fn lengths<E: Real>(z: &[E], centre: &[E]) -> [E; LANES] {
    let (mut largest, mut sum) = ([E::min_positive_value(); LANES], [E::zero(); LANES]);
    vectorised(
        #[inline(always)]
        || {
            for (z, &z0) in z.chunks_exact(LANES).zip(centre) {
                for lane in 0..LANES {
                    let size = (z[lane] - z0).abs();
                    largest[lane] = if size > largest[lane] { size } else { largest[lane] };
                }
            }
            for (z, &z0) in z.chunks_exact(LANES).zip(centre) {
                for lane in 0..LANES {
                    let ratio = (z[lane] - z0) / largest[lane];
                    sum[lane] = ratio.mul_add(ratio, sum[lane]);
                }
            }
            for lane in 0..LANES {
                sum[lane] = largest[lane] * sum[lane].sqrt();
            }
        },
    );
    sum
}

/// The projection of the gradient on the distance from the centre, of each lane.
fn along<E: Real>(z: &[E], centre: &[E], gradient: &[E]) -> [E; LANES] {
    let mut sum = [E::zero(); LANES];
    let values = z.chunks_exact(LANES).zip(gradient.chunks_exact(LANES));
    for ((z, gradient), &z0) in values.zip(centre) {
        for lane in 0..LANES {
            sum[lane] += (z[lane] - z0) * gradient[lane];
        }
    }
    sum
}

/// The factor f, the gradient of the length divided by the length, and the gradients of alpha and
/// gamma, of each lane.
fn ring_gradients<E: Real, const INVERSE: bool>(
    lengths: &[E; LANES],
    radii: &[E],
    across: E,
    along: &[E; LANES],
    d_log_det: &[E],
) -> [[E; LANES]; 4] {
    let [mut factor, mut turn, mut d_alpha, mut d_gamma] = [[E::zero(); LANES]; 4];
    // Of a length that is divided by: the quotient must not overflow, for 0 times it has to be 0.
    let least = E::min_positive_value().sqrt();
    vectorised(
        #[inline(always)]
        || {
            for lane in 0..LANES {
                let ring = Ring::new::<INVERSE>(lengths[lane], radii);
                factor[lane] = if INVERSE { ring.scale.recip() } else { ring.scale };
                let (d_length, alpha, gamma) =
                    ring.gradient::<INVERSE>(along[lane], across, d_log_det[lane]);
                turn[lane] = d_length / lengths[lane].max(least);
                (d_alpha[lane], d_gamma[lane]) = (alpha, gamma);
            }
        },
    );
    [factor, turn, d_alpha, d_gamma]
}

//! A mixture of normals: a base with several modes (review, Section 5.5).

mod expectation;
mod log_density;

use rand::RngExt;

use self::log_density::LogDensity;
use crate::operation::{LANES, Operation, Recorded, apply};
use crate::parameters::{Role, Visitor, VisitorMut};
use crate::tape::Tape;
use crate::tensor::{Batch, Values, batch, columns, set_values};
use crate::{Error, Real, Result, Scratch, Stream, normals};

/// K normals with diagonal covariance, all learned:
///
/// ```text
/// log p(z) = ln sum_k w_k N(z; m_k, diag(e^s_k)^2),   w = softmax(logits)
/// ```
///
/// A diffeomorphism of one mode onto several leaves mass in between; with a mode each there is none
/// to leave.
///
/// A draw is m_k + e^s_k u for a component k that was drawn, and so is differentiable in location and
/// scale, but not in the weights: their gradient is that of the score, f(z) d/dw log p(z), which
/// [`reverse_kl`](crate::reverse_kl) and [`mmd`](crate::objective::mmd) add (unbiased; f less the mean
/// of the other rows, so that it vanishes where f is constant).
///
/// The fit is by expectation-maximisation, from the present parameters and from a k-means++ start, and
/// keeps what is best: it never lowers the likelihood. A row costs K D operations, a fit at most 400
/// times that. Scales stay above 1e-3 of a column's deviation, or a component could take a single row.
///
/// # Reference
/// Dempster, Laird, Rubin, *Maximum likelihood from incomplete data via the EM algorithm*, Journal of
/// the Royal Statistical Society B 1977; Arthur, Vassilvitskii, *k-means++*, SODA 2007.
#[derive(Clone, Debug)]
pub struct Mixture<E: Real> {
    /// `(1, K)`
    logits: Batch<E>,
    /// `(K, dim)`
    location: Batch<E>,
    /// `(K, dim)`
    log_scale: Batch<E>,
}

impl<E: Real> Mixture<E> {
    pub(super) fn new(dim: usize, components: usize, rng: &mut Stream) -> Result<Self> {
        if components == 0 {
            let name = "components of a mixture";
            return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
        }
        let zeros = |rows, dim| batch(vec![E::zero(); rows * dim], rows, dim);
        let location = batch(normals(components * dim, rng), components, dim)?;
        let (logits, log_scale) = (zeros(1, components)?, zeros(components, dim)?);
        Ok(Self { logits, location, log_scale })
    }

    pub(super) fn dim(&self) -> usize {
        columns(&self.location)
    }

    pub(super) fn log_density(&self, z: &Batch<E>, tape: &mut Tape<E>) -> Result<Batch<E>> {
        let parameters = [self.logits.clone(), self.location.clone(), self.log_scale.clone()];
        Ok(apply(LogDensity, &[z], &parameters, tape)?.remove(0))
    }

    /// Log-density at fixed points as a function of the weights alone.
    pub(super) fn weight_score(&self, z: &Batch<E>, tape: &mut Tape<E>) -> Result<Batch<E>> {
        let fixed = |t: &Batch<E>| batch(t.values(), t.rows(), columns(t));
        let parameters = [self.logits.clone(), fixed(&self.location)?, fixed(&self.log_scale)?];
        Ok(apply(LogDensity, &[&fixed(z)?], &parameters, tape)?.remove(0))
    }

    pub(super) fn draw(
        &self,
        rows: usize,
        tape: &mut Tape<E>,
        rng: &mut Stream,
    ) -> Result<Batch<E>> {
        let dim = self.dim();
        let weights = self.weights();
        let component = |_| {
            let mut left: f64 = rng.random();
            let mut passed = |weight: &f64| {
                left -= weight;
                left >= 0.0
            };
            // Weights that sum to a little less than 1 leave the rest to the last component.
            E::of(weights.iter().position(|w| !passed(w)).unwrap_or(weights.len() - 1) as f64)
        };
        let components = batch((0..rows).map(component).collect(), rows, 1)?;
        let noise = batch(normals(rows * dim, rng), rows, dim)?;
        let parameters = [self.location.clone(), self.log_scale.clone()];
        Ok(apply(Draw { dim }, &[&noise, &components], &parameters, tape)?.remove(0))
    }

    pub(super) fn fit(&mut self, z: &Batch<E>) -> Result<()> {
        let wide = |t: &Batch<E>| t.values().iter().map(|v| v.as_f64()).collect::<Vec<f64>>();
        let now = expectation::Components {
            log_weights: self.weights().iter().map(|w| w.ln()).collect(),
            location: wide(&self.location),
            log_scale: wide(&self.log_scale),
        };
        let best = expectation::fit(&wide(z), self.dim(), now)?;
        let narrow = |values: &[f64]| values.iter().map(|&v| E::of(v)).collect::<Vec<E>>();
        set_values(&mut self.logits, &narrow(&best.log_weights))?;
        set_values(&mut self.location, &narrow(&best.location))?;
        set_values(&mut self.log_scale, &narrow(&best.log_scale))
    }

    pub(super) fn visit(&self, f: &mut Visitor<'_, E>) {
        f("logits", Role::Learned, &self.logits);
        f("location", Role::Learned, &self.location);
        f("log_scale", Role::Learned, &self.log_scale);
    }

    pub(super) fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        f("logits", Role::Learned, &mut self.logits)?;
        f("location", Role::Learned, &mut self.location)?;
        f("log_scale", Role::Learned, &mut self.log_scale)
    }

    fn weights(&self) -> Vec<f64> {
        let logits: Vec<f64> = self.logits.values().iter().map(|v| v.as_f64()).collect();
        let total = expectation::log_sum_exp(&logits);
        logits.iter().map(|l| (l - total).exp()).collect()
    }
}

/// z = m_k + e^s_k u for fixed u and k, the second input: d/dm_k = g, d/ds_k = g u e^s_k.
struct Draw {
    dim: usize,
}

impl<E: Real> Operation<E> for Draw {
    fn name(&self) -> &'static str {
        "draws of a mixture"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let blocks = inputs[0].chunks_exact(LANES).zip(outputs[0].chunks_exact_mut(LANES));
        for (i, (noise, z)) in blocks.enumerate() {
            for ((z, &noise), &k) in z.iter_mut().zip(noise).zip(inputs[1]) {
                let at = k.as_f64() as usize * self.dim + i;
                *z = noise * parameters[1][at].exp() + parameters[0][at];
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        _: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()> {
        let noise = block.inputs[0].chunks_exact(LANES);
        for (i, (noise, outer)) in noise.zip(output_gradients[0].chunks_exact(LANES)).enumerate() {
            for ((&noise, &outer), &k) in noise.iter().zip(outer).zip(block.inputs[1]) {
                let at = k.as_f64() as usize * self.dim + i;
                parameter_gradients[0][at] += outer;
                parameter_gradients[1][at] += outer * noise * block.parameters[1][at].exp();
            }
        }
        Ok(())
    }
}

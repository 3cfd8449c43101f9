//! Neural transport (NeuTra): Markov chains in the base space of a flow (review, Section 6.2.2).
//!
//! # Reference
//! Hoffman, Sountsov, Dillon, Langmore, Tran, Vasudevan, *NeuTra-lizing Bad Geometry in Hamiltonian
//! Monte Carlo Using Neural Transport*, 2019. <https://arxiv.org/abs/1903.03704>

use flows_core::tensor::batch;
use flows_core::{Batch, Context, Cost, Error, Flow, Result, Tape, Target, Values, target};

use super::chains::Chains;
use super::exact::check_exact;

/// Points evaluated at a time, which bounds the memory of the tape.
const CHUNK: usize = 1024;

/// The pullback of a target to the base space of a flow x = T(u): the density of u where x has that of
/// the target,
///
/// ```text
/// log p~(T(u)) + log |det J_T(u)|
/// ```
///
/// It is close to the base where the flow is close to the target, and has the normaliser of the target.
/// Outside of the support of the base it is zero.
#[derive(Clone, Copy, Debug)]
pub struct Pullback<'a> {
    flow: &'a Flow<f64>,
    target: &'a dyn Target,
}

impl<'a> Pullback<'a> {
    /// The pullback by a flow, which has to be set for reporting.
    ///
    /// # Cost
    /// An evaluation takes one of the target and a pass of the flow forward and back. Autoregressive
    /// flows whose formula is in the density direction go forward feature by feature.
    ///
    /// # Errors
    /// [`Error::Dimension`] if flow and target differ in dimension or the flow needs a context;
    /// [`Error::Unavailable`] where the forward direction is missing or an iterative search, where
    /// log-determinants are estimates, or where the image of a point depends on the batch.
    pub fn new(flow: &'a Flow<f64>, target: &'a dyn Target) -> Result<Self> {
        let (bijector, expected) = (flow.bijector(), flow.dim());
        if expected != target.dim() {
            return Err(Error::Dimension { op: "pullback", expected, got: target.dim() });
        }
        if bijector.context_dim() > 0 {
            let (op, got) = ("context of a pullback", 0);
            return Err(Error::Dimension { op, expected: bijector.context_dim(), got });
        }
        if bijector.costs().forward > Cost::Integrated {
            let what = "the pullback by a flow without a formula from base to data";
            let advice = "each evaluation would search for T(u), if it can; turn the flow round, so \
                          that its formula is in the sampling direction";
            return Err(Error::Unavailable { what, advice });
        }
        check_exact(flow)?;
        Ok(Self { flow, target })
    }

    /// Images x = T(u) of chains in base space, with their log-densities under the target.
    ///
    /// # Errors
    /// As [`Bijector::forward`](flows_core::Bijector::forward); [`Error::Dimension`] for draws of
    /// another dimension.
    pub fn push(&self, chains: &Chains) -> Result<Chains> {
        let dim = self.flow.dim();
        let push = |(points, values): (&Vec<Vec<f64>>, &Vec<f64>)| {
            let mut images = Vec::with_capacity(points.len());
            let mut log_density = Vec::with_capacity(points.len());
            for (points, values) in points.chunks(CHUNK).zip(values.chunks(CHUNK)) {
                let u = batch(points.concat(), points.len(), dim)?;
                let mapped =
                    self.flow.bijector().forward(&u, &Context::none(), &mut Tape::none())?;
                images.extend(mapped.value.values().chunks(dim).map(<[f64]>::to_vec));
                let log_det = mapped.log_det.values();
                log_density.extend(values.iter().zip(log_det).map(|(value, l)| value - l));
            }
            Ok((images, log_density))
        };
        let pushed: Vec<(Vec<Vec<f64>>, Vec<f64>)> =
            chains.draws.iter().zip(&chains.log_density).map(push).collect::<Result<_>>()?;
        let (draws, log_density) = pushed.into_iter().unzip();
        Ok(Chains { draws, log_density })
    }

    /// Pre-images u of points x, stored one after another: starting points in base space.
    ///
    /// # Errors
    /// As [`Bijector::inverse`](flows_core::Bijector::inverse); [`Error::Tensor`] unless the values
    /// fill whole rows.
    pub fn pull(&self, points: &[f64]) -> Result<Vec<f64>> {
        let mut pulled = Vec::with_capacity(points.len());
        let dim = self.flow.dim();
        for points in points.chunks(CHUNK * dim) {
            let x = batch(points.to_vec(), points.len() / dim, dim)?;
            let mapped = self.flow.bijector().inverse(&x, &Context::none(), &mut Tape::none())?;
            pulled.extend(mapped.value.values());
        }
        Ok(pulled)
    }

    /// Images x = T(u) of points, stored one after another.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_points(&self, points: &[f64]) -> Result<Vec<f64>> {
        let mut images = Vec::with_capacity(points.len());
        let dim = self.flow.dim();
        for points in points.chunks(CHUNK * dim) {
            let u = batch(points.to_vec(), points.len() / dim, dim)?;
            images.extend(self.flow.bijector().image(&u, &Context::none())?.0.values());
        }
        Ok(images)
    }

    /// The sum of both terms at each row u, minus infinity outside of the base's support.
    fn sums(&self, u: &Batch<f64>, log_target: &[f64], log_det: &[f64]) -> Result<Vec<f64>> {
        let base = self.flow.base().log_prob(u, &mut Tape::none())?.values();
        let terms = log_target.iter().zip(log_det).zip(&base);
        let sum = |((log_target, log_det), base): ((&f64, &f64), &f64)| match *base {
            f64::NEG_INFINITY => f64::NEG_INFINITY,
            _ => log_target + log_det,
        };
        let sums: Vec<f64> = terms.map(sum).collect();
        match sums.iter().position(|sum| sum.is_nan() || *sum == f64::INFINITY) {
            Some(row) => {
                let advice = "the point is far from those that the flow was trained on";
                Err(Error::NonFinite { quantity: "pulled-back log-density", row, advice })
            }
            None => Ok(sums),
        }
    }

    fn with_gradient(&self, u: &Batch<f64>) -> Result<(Vec<f64>, Vec<f64>)> {
        let mut tape = Tape::recording();
        let mapped = self.flow.bijector().forward(u, &Context::none(), &mut tape)?;
        let log_target = target::log_density(self.target, &mapped.value, &mut tape)?;
        let sums = self.sums(u, &log_target.values(), &mapped.log_det.values())?;
        // Outside of the support the gradient is zero by convention.
        let inside: Vec<f64> = sums.iter().map(|v| f64::from(u8::from(v.is_finite()))).collect();
        let mut gradients = tape.backward(|gradients| {
            gradients.add(&log_target, &inside)?;
            gradients.add(&mapped.log_det, &inside)
        })?;
        Ok((sums, gradients.take(u)?))
    }

    fn without_gradient(&self, u: &Batch<f64>) -> Result<Vec<f64>> {
        let mapped = self.flow.bijector().forward(u, &Context::none(), &mut Tape::none())?;
        let log_target = self.target.log_densities(&mapped.value.values())?;
        self.sums(u, &log_target, &mapped.log_det.values())
    }
}

impl Target for Pullback<'_> {
    fn dim(&self) -> usize {
        self.flow.dim()
    }

    /// Not a number, with its gradient, where the flow or the target cannot be evaluated;
    /// [`evaluate`](Self::evaluate) tells why.
    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        target::at_point(self, point, gradient)
    }

    fn evaluate(&self, points: &[f64], gradients: &mut [f64]) -> Result<Vec<f64>> {
        let dim = self.flow.dim();
        let mut all = Vec::with_capacity(points.len() / dim);
        let chunks = points.chunks(CHUNK * dim).zip(gradients.chunks_mut(CHUNK * dim));
        for (points, gradients) in chunks {
            let u = batch(points.to_vec(), points.len() / dim, dim)?;
            let evaluated = self.with_gradient(&u).map_err(|e| e.in_rows_from(all.len()))?;
            gradients.copy_from_slice(&evaluated.1);
            all.extend(evaluated.0);
        }
        Ok(all)
    }

    fn is_cheaper_together(&self) -> bool {
        true
    }

    fn log_densities(&self, points: &[f64]) -> Result<Vec<f64>> {
        let dim = self.flow.dim();
        let mut all = Vec::with_capacity(points.len() / dim);
        for points in points.chunks(CHUNK * dim) {
            let u = batch(points.to_vec(), points.len() / dim, dim)?;
            all.extend(self.without_gradient(&u).map_err(|e| e.in_rows_from(all.len()))?);
        }
        Ok(all)
    }
}

//! Stochastic normalizing flows: bijectors with Markov chain steps between them.

mod step;

use flows_core::tensor::{batch, cast};
use flows_core::{
    Bijector, Context, Error, Flow, Mapped, Real, Result, Stream, Tape, Target, Values,
};

pub use self::step::{Langevin, Metropolis};
use crate::annealed::density::FlowDensity;
use crate::annealed::path::GeometricPath;
use crate::{LogWeights, Weighted};

/// Rows drawn and weighted at a time, as [`Weighted::draw`] does.
const CHUNK: usize = 4096;

/// A layer of a stochastic normalizing flow.
#[derive(Debug)]
pub enum StochasticLayer<E: Real> {
    /// A deterministic layer, from base to data.
    Bijector(Box<dyn Bijector<E>>),
    /// Random-walk Metropolis steps.
    Metropolis(Metropolis),
    /// Unadjusted Langevin steps.
    Langevin(Langevin),
}

/// A stochastic normalizing flow: draws of a flow pass through further layers, bijectors and steps of
/// Markov chains, which move mass where a diffeomorphism cannot.
///
/// The steps of a layer aim at the density q(x)^(1-t) p~(x)^t at a fraction t of the way from the density q
/// of the flow to the target. (In the paper the way begins at the base, before the first bijector; with
/// a flow that was trained alone it would lead back.) A draw has the path weight
///
/// ```text
/// log w = log p~(x) - log q(x_0) + sum over layers of S
/// ```
///
/// with x_0 the first point and S, in nats, the log-det of a bijector or
/// the logarithm of the probabilities of the backward and of the forward step. Since the layers' own
/// densities need not be known, that of the result is not either, but the expectation of w is Z.
///
/// # Reference
/// Wu, Köhler, Noé, *Stochastic normalizing flows*, NeurIPS 2020, Sections 3 and 4.
/// <https://arxiv.org/abs/2002.06707>
#[derive(Debug)]
pub struct StochasticFlow<'a, E: Real> {
    flow: &'a Flow<E>,
    layers: Vec<StochasticLayer<E>>,
}

impl<'a, E: Real> StochasticFlow<'a, E> {
    /// A flow and the layers behind it, which may be none.
    ///
    /// # Errors
    /// [`Error::Dimension`] if a bijector has another dimension than the flow; [`Error::Unavailable`] if it
    /// needs a context; [`Error::Parameter`] for a setting of a layer that is out of its range.
    pub fn new(flow: &'a Flow<E>, layers: Vec<StochasticLayer<E>>) -> Result<Self> {
        for layer in &layers {
            match layer {
                StochasticLayer::Bijector(bijector) => check_bijector(&**bijector, flow.dim())?,
                StochasticLayer::Metropolis(metropolis) => metropolis.check()?,
                StochasticLayer::Langevin(langevin) => langevin.check()?,
            }
        }
        Ok(Self { flow, layers })
    }

    /// The flow before the first layer.
    #[must_use]
    pub fn flow(&self) -> &'a Flow<E> {
        self.flow
    }

    /// The layers behind it.
    pub fn layers(&self) -> &[StochasticLayer<E>] {
        &self.layers
    }

    /// Draws `rows` points and weighs them by their paths. The field `log_proposal` has log q(x_0) less the
    /// sum of S, in nats: what log p~ minus the log-weight is.
    ///
    /// Without layers it is [`Weighted::draw`], bit for bit.
    ///
    /// # Cost
    /// For each draw, beside the bijectors, an evaluation of flow and target with gradients a step, and one
    /// more a layer of steps.
    ///
    /// # Errors
    /// [`Error::Dimension`] if flow and target differ; those of the layers and of the target;
    /// [`Error::NonFinite`] with the number of the draw for a path without a weight; [`Error::Caller`]
    /// where all weights are zero.
    pub fn draw(&self, target: &dyn Target, rows: usize, rng: &mut Stream) -> Result<Weighted> {
        let (expected, got) = (self.flow.dim(), target.dim());
        if expected != got {
            return Err(Error::Dimension { op: "target density", expected, got });
        }
        let (mut draws, mut log_proposal) = (Vec::new(), Vec::new());
        let mut log_weights = Vec::with_capacity(rows);
        let mut work = flows_core::Work::default();
        while log_weights.len() < rows {
            let done = log_weights.len();
            let count = CHUNK.min(rows - done);
            let none = &mut Tape::none();
            let drawn = self.flow.sample_and_log_prob(count, &Context::none(), none, rng)?;
            work += drawn.work;
            let mut paths = Paths {
                points: drawn.value.values().iter().map(|v| v.as_f64()).collect(),
                log_proposal: drawn.log_prob.values().iter().map(|v| v.as_f64()).collect(),
            };
            let from = FlowDensity::new(self.flow);
            let path = GeometricPath { from: &from, to: target };
            for layer in &self.layers {
                let passed = layer.pass(&path, &mut paths, rng);
                work += passed.map_err(|error| error.in_rows_from(done))?;
            }
            work += from.work();
            let log_target = target.log_densities(&paths.points);
            let log_target = log_target.map_err(|error| error.in_rows_from(done))?;
            log_weights.extend(log_target.iter().zip(&paths.log_proposal).map(|(p, q)| p - q));
            draws.extend(paths.points);
            log_proposal.extend(paths.log_proposal);
        }
        Ok(Weighted { draws, log_proposal, log_weights: LogWeights::new(log_weights)?, work })
    }
}

impl<E: Real> StochasticLayer<E> {
    fn pass(
        &self,
        path: &GeometricPath<'_>,
        paths: &mut Paths,
        rng: &mut Stream,
    ) -> Result<flows_core::Work> {
        match self {
            Self::Bijector(bijector) => return paths.map(&**bijector),
            Self::Metropolis(metropolis) => metropolis.pass(path, paths, rng)?,
            Self::Langevin(langevin) => langevin.pass(path, paths, rng)?,
        }
        Ok(flows_core::Work::default())
    }
}

fn check_bijector<E: Real>(bijector: &dyn Bijector<E>, dim: usize) -> Result<()> {
    if bijector.dim() != dim {
        let (expected, got) = (dim, bijector.dim());
        return Err(Error::Dimension { op: "layer of a stochastic flow", expected, got });
    }
    if bijector.context_dim() > 0 {
        let what = "a conditional layer of a stochastic flow";
        return Err(Error::Unavailable { what, advice: "build it without a context" });
    }
    Ok(())
}

/// The latest points of paths, and log q(x_0) less the sum of S so far.
struct Paths {
    points: Vec<f64>,
    log_proposal: Vec<f64>,
}

impl Paths {
    fn map<E: Real>(&mut self, bijector: &dyn Bijector<E>) -> Result<flows_core::Work> {
        let (rows, dim) = (self.log_proposal.len(), bijector.dim());
        let z = batch(cast(&self.points), rows, dim)?;
        let mapped = bijector.forward(&z, &Context::none(), &mut Tape::none())?;
        let Mapped { value, log_det, work, .. } = mapped;
        self.points = value.values().iter().map(|v| v.as_f64()).collect();
        for (log_q, log_det) in self.log_proposal.iter_mut().zip(log_det.values()) {
            *log_q -= log_det.as_f64();
        }
        Ok(work)
    }
}

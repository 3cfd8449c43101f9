//! The loss of one step, a function of the flow, the run's seed and the step's number.

use super::objective::{Objective, ReverseKl};
use super::progress::Progress;
use super::source::{Minibatch, Source};
use super::training_data::{StepLoss, TrainingData};
use crate::objective::{
    Annealed, Divergence, Loss, flow_matching, forward_kl, mean, mmd, reverse_divergence,
};
use crate::target::{Target, log_density};
use crate::tensor::{Values, batch};
use crate::{Batch, Context, Error, Flow, Real, Result, Tape, stream};

/// Batches of draws that reverse KL and losses from outside are validated on.
const VALIDATION_BATCHES: usize = 8;

/// Progress of a run at one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) seed: u64,
    pub(super) index: u64,
    /// Fraction of the budget used.
    pub(super) fraction: f64,
    /// Rows of a minibatch.
    pub(super) rows: usize,
}

/// What a step measured before its update.
#[derive(Clone, Copy, Debug)]
pub(super) enum Measured {
    Likelihood(f64),
    Matching(f64),
    Reverse(f64),
    Discrepancy(f64),
    Loss(f64),
}

impl Measured {
    pub(super) fn note(self, progress: &mut Progress) {
        match self {
            Self::Likelihood(nats) => progress.train_nats = Some(nats),
            Self::Matching(loss) => progress.matching_loss = Some(loss),
            Self::Reverse(nats) => progress.reverse_nats = Some(nats),
            Self::Discrepancy(loss) => progress.discrepancy = Some(loss),
            Self::Loss(loss) => progress.step_loss = Some(loss),
        }
    }
}

/// Why a step was not completed.
pub(super) enum Stop {
    Source(Error),
    Diverged(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            // Errors that other weights would not avoid.
            Error::Unavailable { .. }
            | Error::NotInvertible { .. }
            | Error::Parameter { .. }
            | Error::Caller(_) => Self::Source(error),
            _ => Self::Diverged(error),
        }
    }
}

impl Step {
    /// Loss and gradient, what was measured, and over how many rows.
    pub(super) fn loss<E: Real>(
        self,
        flow: &Flow<E>,
        objective: &Objective,
        training_data: TrainingData<'_, E>,
    ) -> Result<(Loss<E>, Measured, u64), Stop> {
        match (objective, training_data) {
            (_, TrainingData::Loss(loss)) => {
                let loss = loss.loss(flow, self.rows, self.fraction, &mut self.stream("loss"))?;
                let measured = Measured::Loss(loss.value);
                Ok((loss, measured, self.rows as u64))
            }
            (Objective::ReverseKl(settings), TrainingData::Density(target)) => {
                self.divergence(flow, settings, target)
            }
            (Objective::ReverseKl(_), TrainingData::Rows(_)) => {
                let advice = "train on a density, or choose maximum likelihood";
                Err(Stop::Source(Error::Unavailable { what: "reverse KL to rows", advice }))
            }
            (_, TrainingData::Density(_)) => {
                let (what, advice) = ("training without rows", "choose reverse KL");
                Err(Stop::Source(Error::Unavailable { what, advice }))
            }
            (_, TrainingData::Rows(source)) => self.loss_of_rows(flow, objective, source),
        }
    }

    fn divergence<E: Real>(
        self,
        flow: &Flow<E>,
        settings: &ReverseKl,
        target: &dyn Target,
    ) -> Result<(Loss<E>, Measured, u64), Stop> {
        let inverse_temperature = settings.inverse_temperature(self.fraction);
        let at = Annealed { target, inverse_temperature };
        let (draws, context) = ((self.rows, settings.estimator), &Context::none());
        let (tape, mut rng) = (Tape::recording(), self.stream("draws"));
        let Divergence { loss, nats } =
            reverse_divergence(flow, at, draws, context, tape, &mut rng)?;
        Ok((loss, Measured::Reverse(nats), self.rows as u64))
    }

    fn loss_of_rows<E: Real>(
        self,
        flow: &Flow<E>,
        objective: &Objective,
        source: &dyn Source<E>,
    ) -> Result<(Loss<E>, Measured, u64), Stop> {
        let rows = source.minibatch(self.index, self.rows).map_err(Stop::Source)?;
        let (x, context) = tensors(rows, source).map_err(Stop::Source)?;
        let count = x.rows() as u64;
        if let Objective::MaximumMeanDiscrepancy(settings) = objective {
            if source.context_dim() > 0 {
                let what = "maximum mean discrepancy of a conditional flow";
                let advice = "leave out the context, or choose maximum likelihood";
                return Err(Stop::Source(Error::Unavailable { what, advice }));
            }
            let loss = mmd(flow, &x, &settings.bandwidths(), &mut self.stream("draws"))?;
            let measured = Measured::Discrepancy(loss.value);
            return Ok((loss, measured, count));
        }
        let tape = Tape::recording();
        if let Some(settings) = objective.matching(self.fraction) {
            let mut rng = self.stream("matching");
            let loss = flow_matching(flow, &settings, &x, &context, tape, &mut rng)?;
            let measured = Measured::Matching(loss.value);
            return Ok((loss, measured, count));
        }
        let loss = forward_kl(flow, &x, &context, tape)?;
        let measured = Measured::Likelihood(loss.value);
        Ok((loss, measured, count))
    }

    fn stream(self, name: &str) -> crate::Stream {
        stream(self.seed, &format!("{name} {}", self.index))
    }
}

/// E[log q - log p~] over several batches of draws, the same every time.
pub(super) fn reverse_nats<E: Real>(
    flow: &Flow<E>,
    target: &dyn Target,
    rows: usize,
    seed: u64,
) -> Result<f64> {
    let mut rng = stream(seed, "validation");
    let mut total = 0.0;
    for _ in 0..VALIDATION_BATCHES {
        let none = &mut Tape::none();
        let drawn = flow.sample_and_log_prob(rows, &Context::none(), none, &mut rng)?;
        let log_target = log_density(target, &drawn.value, none)?;
        total += mean(&drawn.log_prob) - mean(&log_target);
    }
    Ok(total / VALIDATION_BATCHES as f64)
}

/// The mean of what a loss is validated by over several batches, the same every time.
pub(super) fn mean_validation<E: Real>(
    flow: &Flow<E>,
    loss: &dyn StepLoss<E>,
    rows: usize,
    seed: u64,
) -> Result<Option<f64>> {
    let mut rng = stream(seed, "validation");
    let mut total = 0.0;
    for _ in 0..VALIDATION_BATCHES {
        let Some(value) = loss.validation(flow, rows, &mut rng)? else { return Ok(None) };
        total += value;
    }
    Ok(Some(total / VALIDATION_BATCHES as f64))
}

pub(super) fn tensors<E: Real>(
    rows: Minibatch<E>,
    source: &dyn Source<E>,
) -> Result<(Batch<E>, Context<E>)> {
    let count = rows.values.len() / source.dim();
    let context = match source.context_dim() {
        0 => Context::none(),
        dim => Context::of(batch(rows.context, count, dim)?),
    };
    Ok((batch(rows.values, count, source.dim())?, context))
}

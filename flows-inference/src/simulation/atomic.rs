//! The atomic loss of sequential posterior estimation, and training by it.

use std::time::Instant;

use flows_core::tensor::{batch, per_row};
use flows_core::train::{Adam, Checkpoint, Progress as Step, Spent, gradient_norm};
use flows_core::{
    Batch, Context, Error, Flow, Loss, PerRow, Purpose, Real, Result, Stream, Tape, Values, Work,
    stream,
};
use rand::seq::index::sample;

use super::estimation::Pairs;
use super::{Estimation, Progress, Report};

/// Pairs with the prior's log-density of their parameters, in the flow's units up to a constant.
#[derive(Clone, Debug)]
pub(super) struct AtomicPairs {
    pub(super) pairs: Pairs,
    pub(super) log_prior: Vec<f64>,
}

/// What a training took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spending {
    pub(super) spent: Spent,
    pub(super) best_nats: f64,
}

/// Rows of one step with the atoms of each.
struct Atoms<E: Real> {
    values: Batch<E>,
    context: Context<E>,
    /// ln p(theta) of each atom.
    log_prior: Vec<f64>,
    /// Atoms of each row, its own parameters first.
    count: usize,
}

impl AtomicPairs {
    /// Each of these rows with `count` atoms: its own parameters and those of other rows among these.
    fn atoms<E: Real>(&self, rows: &[usize], count: usize, rng: &mut Stream) -> Result<Atoms<E>> {
        let mut members = Vec::with_capacity(rows.len() * count);
        for (own, &row) in rows.iter().enumerate() {
            members.push(row);
            let others = sample(rng, rows.len() - 1, count - 1).into_iter();
            members.extend(others.map(|other| rows[if other < own { other } else { other + 1 }]));
        }
        let (values, _) = self.pairs.select(&members);
        let repeated: Vec<usize> = rows.iter().flat_map(|&row| vec![row; count]).collect();
        let (_, context) = self.pairs.select(&repeated);
        Ok(Atoms {
            values: batch(values, members.len(), self.pairs.dim)?,
            context: Context::of(batch(context, members.len(), self.pairs.context_dim)?),
            log_prior: members.iter().map(|&row| self.log_prior[row]).collect(),
            count,
        })
    }
}

impl<E: Real> Atoms<E> {
    /// -ln of the probability that q gives to a row's own parameters among its atoms:
    ///
    /// ```text
    /// -ln [ q(theta_0 | x) / p(theta_0) ] + ln sum over atoms k of q(theta_k | x) / p(theta_k)
    /// ```
    fn losses(
        &self,
        flow: &Flow<E>,
        tape: &mut Tape<E>,
    ) -> Result<(PerRow<E>, Option<PerRow<E>>, Work)> {
        let evaluated = flow.log_prob(&self.values, &self.context, tape)?;
        let log_q = evaluated.value.values();
        let mut losses = Vec::with_capacity(log_q.len() / self.count);
        let mut slopes = Vec::with_capacity(log_q.len());
        for (log_q, log_p) in log_q.chunks(self.count).zip(self.log_prior.chunks(self.count)) {
            let scores: Vec<f64> = log_q.iter().zip(log_p).map(|(q, p)| q.as_f64() - p).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
            let normaliser = largest + total.ln();
            let own = scores.first().copied().unwrap_or(f64::NAN);
            losses.push(E::of(normaliser - own));
            let share = |(k, score): (usize, &f64)| {
                E::of((score - normaliser).exp() - f64::from(u8::from(k == 0)))
            };
            slopes.extend(scores.iter().enumerate().map(share));
        }
        let losses = per_row(losses)?;
        let (output, log_q, count) = (losses.clone(), evaluated.value, self.count);
        tape.record(move |gradients| {
            let incoming = gradients.take(&output)?;
            for (slopes, outer) in slopes.chunks_mut(count).zip(incoming) {
                slopes.iter_mut().for_each(|slope| *slope *= outer);
            }
            gradients.add(&log_q, &slopes)
        });
        Ok((losses, evaluated.penalty, evaluated.work))
    }

    /// The mean loss, with the bijector's penalties, and its gradient.
    fn loss(&self, flow: &Flow<E>) -> Result<Loss<E>> {
        let mut tape = Tape::recording();
        let (losses, penalty, work) = self.losses(flow, &mut tape)?;
        let mean = |values: &PerRow<E>| {
            values.values().iter().map(|v| v.as_f64()).sum::<f64>() / values.rows() as f64
        };
        let value = mean(&losses) + penalty.as_ref().map_or(0.0, mean);
        let gradient = tape.backward(|gradients| {
            let terms = std::iter::once(&losses).chain(&penalty);
            terms.into_iter().try_for_each(|term| {
                gradients.add(term, &vec![E::of(1.0 / term.rows() as f64); term.rows()])
            })
        })?;
        Ok(Loss { value, gradient, work })
    }
}

/// Trains a flow by the atomic loss, as the settings say, and keeps the weights with the least loss of
/// the validation rows, where there is patience, or else the latest.
pub(super) fn train<E: Real>(
    flow: &mut Flow<E>,
    data: &AtomicPairs,
    atoms: usize,
    settings: &Estimation,
    report: Report<'_>,
    seed: u64,
) -> Result<Spending> {
    let (order, count) = settings.split(data.pairs.rows(), seed)?;
    let (validation, training) = order.split_at(count);
    let least = validation.len().min(training.len());
    if least < atoms {
        return Err(Error::Caller(format!(
            "atoms: expected at most as many as there are validation rows and training rows, got \
             {atoms} for {least}; simulate more rows or take fewer atoms"
        )));
    }
    let config = &settings.train;
    let rows = config.batch_rows.clamp(atoms, training.len());
    let held_out: Vec<Atoms<E>> = {
        let rng = &mut stream(seed, "validation atoms");
        let parts = validation.chunks(rows).filter(|part| part.len() >= atoms);
        parts.map(|part| data.atoms(part, atoms, rng)).collect::<Result<_>>()?
    };
    let mut adam = Adam::new(config.optimiser, flow);
    let mut best = validate(flow, &held_out)?;
    let mut kept = config.patience.is_some().then(|| weights(flow));
    let (mut spent, mut without) = (Spent::default(), 0);
    loop {
        let (clock, fraction) = (Instant::now(), settings.budget.progress(spent));
        if fraction >= 1.0 || config.patience.is_some_and(|patience| without >= patience) {
            break;
        }
        let diverged = |what: &str| {
            Error::Caller(format!(
                "atomic training stopped at step {}: {what}; lower learning_rate",
                spent.steps + 1
            ))
        };
        flow.bijector_mut().set_purpose(Purpose::Training)?;
        flow.bijector_mut().begin_step(&mut stream(seed, &format!("probes {}", spent.steps)))?;
        let rng = &mut stream(seed, &format!("atoms {}", spent.steps));
        let chosen = sample(rng, training.len(), rows).into_iter().map(|i| training[i]);
        let atomic = data.atoms(&chosen.collect::<Vec<_>>(), atoms, rng)?;
        let Loss { value, mut gradient, work } = atomic.loss(flow)?;
        let norm = gradient_norm(flow, &mut gradient)?;
        if !value.is_finite() || !norm.is_finite() {
            return Err(diverged(&format!("loss {value} with a gradient of norm {norm}")));
        }
        let scale = if norm > config.clip_norm { config.clip_norm / norm } else { 1.0 };
        let rate = config.schedule.factor(fraction);
        adam.update(flow, &mut gradient, rate, scale)?;
        flow.bijector_mut().end_step(&mut gradient)?;
        spent.steps += 1;
        spent.work += work.evaluations() * (rows * atoms) as u64;
        spent.seconds += clock.elapsed().as_secs_f64();
        let mut step = Step {
            step: spent.steps,
            seconds: spent.seconds,
            fraction: settings.budget.progress(spent),
            train_nats: Some(value),
            learning_rate: rate * config.optimiser.learning_rate,
            gradient_norm: norm,
            work,
            ..Step::default()
        };
        if spent.steps.is_multiple_of(config.validate_every) || step.fraction >= 1.0 {
            let nats = validate(flow, &held_out)?;
            step.validation_nats = Some(nats);
            without += 1;
            if config.patience.is_none() {
                best = nats;
            } else if nats < best {
                (best, without, kept) = (nats, 0, Some(weights(flow)));
            }
        }
        if report(&Progress::Training(step))?.is_break() {
            break;
        }
    }
    if let Some(kept) = kept {
        kept.restore_model("flow", flow)?;
    }
    flow.bijector_mut().set_purpose(Purpose::Reporting)?;
    Ok(Spending { spent, best_nats: best })
}

fn weights<E: Real>(flow: &Flow<E>) -> Checkpoint<E> {
    let mut checkpoint = Checkpoint::new();
    checkpoint.add_model("flow", flow);
    checkpoint
}

/// The mean loss over all held-out rows.
fn validate<E: Real>(flow: &mut Flow<E>, held_out: &[Atoms<E>]) -> Result<f64> {
    flow.bijector_mut().set_purpose(Purpose::Reporting)?;
    let (mut total, mut rows) = (0.0, 0);
    for atoms in held_out {
        let (losses, ..) = atoms.losses(flow, &mut Tape::none())?;
        total += losses.values().iter().map(|loss| loss.as_f64()).sum::<f64>();
        rows += losses.rows();
    }
    Ok(total / rows as f64)
}

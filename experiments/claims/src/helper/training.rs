//! Short trainings by steps, which can be measured on the way and repeat number for number.

use std::time::Instant;

use anyhow::{Result, ensure};
use flows_bench::toys::Toy;
use flows_core::matching::FlowMatching;
use flows_core::objective::flow_matching;
use flows_core::tensor::{batch, cast};
use flows_core::train::{Adam, AdamConfig};
use flows_core::{
    Batch, Context, Flow, Loss, Purpose, Real, Stream, Tape, Work, forward_kl, stream,
};

use crate::helper::statistics::mean;

/// Rows of a minibatch.
const ROWS: usize = 256;

/// A flow in training.
#[derive(Debug)]
pub(crate) struct Learner<E: Real> {
    flow: Flow<E>,
    adam: Adam<E>,
    total: u64,
    seed: u64,
    pub(crate) steps: u64,
    /// Seconds spent on steps.
    pub(crate) seconds: f64,
    /// What the steps took.
    pub(crate) work: Work,
}

/// What is minimised.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// The negative log-likelihood, with the penalties of the bijector.
    Likelihood,
    /// Flow matching.
    Matching(FlowMatching),
}

impl<E: Real> Learner<E> {
    /// Adam with a rate that falls to zero as half a cosine over `total` steps.
    pub(crate) fn new(flow: Flow<E>, learning_rate: f64, total: u64, seed: u64) -> Self {
        let config = AdamConfig { learning_rate, ..AdamConfig::default() };
        let adam = Adam::new(config, &flow);
        Self { flow, adam, total, seed, steps: 0, seconds: 0.0, work: Work::default() }
    }

    /// The flow, set for reports.
    pub(crate) fn flow(&mut self) -> Result<&Flow<E>> {
        self.flow.bijector_mut().set_purpose(Purpose::Reporting)?;
        Ok(&self.flow)
    }

    /// Takes `steps` steps on fresh rows from `draw`.
    pub(crate) fn learn(
        &mut self,
        steps: u64,
        aim: Aim,
        draw: impl Fn(usize, &mut Stream) -> Vec<f64>,
    ) -> Result<()> {
        for _ in 0..steps {
            let rows = draw(ROWS, &mut stream(self.seed, &format!("rows {}", self.steps)));
            let x = batch(cast::<E>(&rows), ROWS, self.flow.dim())?;
            let clock = Instant::now();
            self.step(aim, &x)?;
            self.seconds += clock.elapsed().as_secs_f64();
        }
        Ok(())
    }

    /// Takes one step on these rows and returns what it took.
    pub(crate) fn step(&mut self, aim: Aim, x: &Batch<E>) -> Result<Work> {
        let bijector = self.flow.bijector_mut();
        if self.steps == 0 {
            bijector.initialise(x, &Context::none())?;
        }
        bijector.set_purpose(Purpose::Training)?;
        bijector.begin_step(&mut stream(self.seed, &format!("probes {}", self.steps)))?;
        let (none, tape) = (Context::none(), Tape::recording());
        let Loss { value, mut gradient, work } = match aim {
            Aim::Likelihood => forward_kl(&self.flow, x, &none, tape)?,
            Aim::Matching(settings) => {
                let rng = &mut stream(self.seed, &format!("matching {}", self.steps));
                flow_matching(&self.flow, &settings, x, &none, tape, rng)?
            }
        };
        ensure!(value.is_finite(), "the loss is {value} at step {}", self.steps);
        let fraction = self.steps as f64 / self.total as f64;
        let rate = 0.5 * (1.0 + (std::f64::consts::PI * fraction).cos());
        self.adam.update(&mut self.flow, &mut gradient, rate, 1.0)?;
        self.flow.bijector_mut().end_step(&mut gradient)?;
        self.steps += 1;
        self.work += work;
        Ok(work)
    }
}

/// Divergence of a flow from a toy with its standard error, over `rows` drawn from the toy, and what
/// the densities took.
pub(crate) fn divergence<E: Real>(
    flow: &Flow<E>,
    toy: Toy,
    rows: &[f64],
) -> Result<((f64, f64), Work)> {
    let (log_density, work) = flow.evaluate(&cast(rows), &Context::none())?;
    let truth = rows.chunks_exact(2).map(|x| toy.log_density([x[0], x[1]]));
    let gaps: Vec<f64> = truth.zip(&log_density).map(|(p, q)| p - q).collect();
    Ok((mean(&gaps), work))
}

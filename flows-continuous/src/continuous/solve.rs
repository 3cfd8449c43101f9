//! The solution map of an ODE as a differentiable operation.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flows_core::operation::{LANES, Operation, Recorded};
use flows_core::{Real, Result, Scratch, Work};
use serde::{Deserialize, Serialize};

use crate::continuous::adjoint::Adjoint;
use crate::lanes::move_lane;
use crate::rates::{Given, Rates};
use crate::solver::control::Adaptive;
use crate::solver::fixed_step::uniform_time;
use crate::solver::path;
use crate::solver::path::{Path, Room, Steps, spacing};
use crate::solver::recorder::Recorder;
use crate::solver::row_wise::{Waiting, solve_rows};
use crate::solver::runge_kutta::{SolveGradients, Stepper};
use crate::solver::solution::{RowReport, Status, first_non_finite};
use crate::solver::{Solver, stopped};

/// How the gradient of a solve is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GradientMethod {
    /// Reverse-mode differentiation of the accepted steps: the exact gradient of what was computed.
    /// Their stages are kept in memory as far as there is room and computed anew from checkpoints
    /// beyond.
    Replay(Checkpoints),
    /// The continuous adjoint is integrated backwards with the same solver (Dormand-Prince 5 for the
    /// row-wise one): memory does not depend on the number of steps, and the gradient is accurate to
    /// about the tolerance. If it cannot be integrated the backward pass is an error.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Adjoint,
}

/// States that a replay keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoints {
    /// Most states of a row; those between are computed anew, once.
    pub checkpoints: NonZeroUsize,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self { checkpoints: path::CHECKPOINTS }
    }
}

impl Default for GradientMethod {
    fn default() -> Self {
        Self::Replay(Checkpoints::default())
    }
}

/// Where the end of a block comes from.
#[derive(Debug)]
pub(crate) enum Course<E> {
    /// So many equal steps, taken here.
    Equal(NonZeroUsize),
    /// The row-wise solver, run here.
    RowWise(Adaptive),
    /// A solve that has happened: of each block, until it is asked for.
    Happened(Vec<Mutex<SolveWorkspace<E>>>),
}

/// What blocks count, shared between them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Arc<[AtomicU64; 4]>);

impl Counts {
    pub(crate) fn add(&self, RowReport { evaluations, accepted, rejected, .. }: RowReport) {
        for (count, more) in self.0.iter().zip([1, evaluations, accepted, rejected]) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// The mean over rows, rounded up.
    pub(crate) fn work(&self) -> Work {
        let [rows, evaluations, accepted, rejected] =
            std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed));
        let mean = |count: u64| count.div_ceil(rows.max(1));
        Work {
            field_evaluations: mean(evaluations),
            steps_accepted: mean(accepted),
            steps_rejected: mean(rejected),
            ..Work::default()
        }
    }
}

/// The solution of an ODE from `times[0]` to `times[1]`.
///
/// Inputs: start `(dim)`, number of the block `(1)`, and the context where there is one. Outputs: the
/// end, the log-det, and each penalty. The parameters are the field's and, where that is learned, the
/// logarithm of the end time.
#[derive(Debug)]
pub(crate) struct Solve<E> {
    pub(crate) rates: Rates<E>,
    pub(crate) solver: Solver,
    pub(crate) times: [f64; 2],
    pub(crate) course: Course<E>,
    /// Of each block, `(noise, LANES)`.
    pub(crate) probes: Vec<Vec<E>>,
    pub(crate) gradient: GradientMethod,
    pub(crate) learns_end: bool,
    /// Whether a backward pass may follow.
    pub(crate) recorded: bool,
    /// For the stages of a block.
    pub(crate) room: Room,
    pub(crate) counts: Counts,
}

/// What the forward pass of a block leaves.
#[derive(Debug, Default)]
pub(crate) struct SolveWorkspace<E> {
    pub(crate) path: Path<E>,
    /// `(width, LANES)`
    pub(crate) end: Vec<E>,
}

impl<E: Real> Operation<E> for Solve<E> {
    fn name(&self) -> &'static str {
        "continuous flow"
    }

    fn output_widths(&self) -> Vec<usize> {
        let dim = self.rates.kernel.dim();
        [vec![dim], vec![1; self.rates.width() - dim]].concat()
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let given = self.given(inputs, parameters);
        let mut state = inputs[0].to_vec();
        state.resize(self.rates.width() * LANES, E::zero());
        let path = match &self.course {
            Course::Equal(steps) => self.follow(*steps, &mut state, given)?,
            Course::RowWise(settings) => self.rows(*settings, &mut state, given)?,
            Course::Happened(blocks) => {
                let block = blocks[block_number(inputs)].lock();
                let mut block = block.unwrap_or_else(PoisonError::into_inner);
                let SolveWorkspace { path, end } = std::mem::take(&mut *block);
                state = end;
                path
            }
        };
        let mut rest = state.as_slice();
        for output in outputs {
            let (own, others) = rest.split_at(output.len());
            output.copy_from_slice(own);
            rest = others;
        }
        *scratch.or_default() = SolveWorkspace { path, end: state };
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()> {
        let given = self.given(block.inputs, block.parameters);
        let mut state: Vec<E> = output_gradients.concat();
        let mut end_time = vec![E::zero(); LANES];
        let mut context = vec![E::zero(); given.context.len()];
        let into = SolveGradients {
            state: &mut state,
            end_time: &mut end_time,
            context: &mut context,
            parameters: &mut parameter_gradients[..given.parameters.len()],
        };
        let SolveWorkspace { path, end } = block.scratch.left();
        let start = || self.rates.start(self.times[0], block.inputs[0], given).0;
        match self.gradient {
            GradientMethod::Replay(_) => {
                let tableau = self.solver.tableau();
                let mut stepper = match path.kept.iter().flatten().next() {
                    Some(stage) => Stepper::new(&self.rates, tableau, stage),
                    None => Stepper::new(&self.rates, tableau, &start()),
                };
                path.pull(&mut stepper, given, into);
            }
            GradientMethod::Adjoint => {
                let Self { rates, solver, times, learns_end, .. } = self;
                let (solver, times, learns_end) = (*solver, *times, *learns_end);
                let adjoint = Adjoint { rates, solver, times, learns_end };
                adjoint.pull(end, start(), given, into)?;
            }
        }
        input_gradients[0].copy_from_slice(&state[..input_gradients[0].len()]);
        if let Some(target) = input_gradients.get_mut(2) {
            target.copy_from_slice(&context);
        }
        if let Some(slot) = parameter_gradients.get_mut(given.parameters.len()) {
            slot[0] += end_time.iter().copied().sum();
        }
        Ok(())
    }
}

impl<E: Real> Solve<E> {
    fn given<'a>(&'a self, inputs: &[&'a [E]], parameters: &'a [&'a [E]]) -> Given<'a, E> {
        let own = parameters.len() - usize::from(self.learns_end);
        Given {
            parameters: &parameters[..own],
            context: inputs.get(2).copied().unwrap_or_default(),
            probes: &self.probes[block_number(inputs)],
        }
    }

    /// States to keep.
    fn checkpoints(&self) -> usize {
        match self.gradient {
            GradientMethod::Replay(kept) if self.recorded => kept.checkpoints.get(),
            _ => 0,
        }
    }

    /// Takes equal steps.
    fn follow(&self, steps: NonZeroUsize, state: &mut [E], given: Given<'_, E>) -> Result<Path<E>> {
        let dim = self.rates.kernel.dim();
        let (start, sketched) = self.rates.start(self.times[0], state, given);
        let mut stepper = Stepper::new(&self.rates, self.solver.tableau(), &start);
        let (stages, mut room) = (self.solver.tableau().stages(), self.room);
        let time = |index: usize| uniform_time(self.times, steps, index);
        let mut path = Path::default();
        let kept = NonZeroUsize::new(self.checkpoints());
        if let Some(kept) = kept {
            path.steps = Steps::Shared((0..=steps.get()).map(time).collect());
            path.every = spacing(steps.get(), kept);
        }
        for step in 0..steps.get() {
            let (now, next) = (time(step), time(step + 1));
            if kept.is_some() && step.is_multiple_of(path.every) {
                path.states.push(state[..dim * LANES].to_vec());
            }
            let (times, lengths) = ([E::of(now); LANES], [E::of(next - now); LANES]);
            stepper.evaluate(&times, &lengths, state, given);
            stepper.advance(&lengths, state);
            if kept.is_some() && path.kept.len() == step && room.take() {
                path.kept.push(stepper.hand_over());
            }
            if let Some(index) = first_non_finite(state) {
                let evaluations = ((step + 1) * stages) as u64;
                let report = RowReport { evaluations, ..RowReport::at(next) };
                let report = RowReport { status: Status::NonFinite, ..report };
                return Err(stopped(Some(index % LANES), report));
            }
        }
        let evaluations = sketched + (steps.get() * stages) as u64;
        let accepted = steps.get() as u64;
        self.counts.add(RowReport { evaluations, accepted, ..RowReport::at(self.times[1]) });
        Ok(path)
    }

    /// Runs the row-wise solver.
    fn rows(&self, settings: Adaptive, state: &mut [E], given: Given<'_, E>) -> Result<Path<E>> {
        let mut block = Some(Waiting {
            rows: (0..LANES).collect(),
            state: state.to_vec(),
            context: given.context.to_vec(),
            probes: given.probes.to_vec(),
        });
        let dim = self.rates.kernel.dim();
        let kept = NonZeroUsize::new(self.checkpoints());
        let mut recorder = kept.map(|kept| Recorder::new(dim, kept, self.room));
        let mut failure = None;
        solve_rows(
            &self.rates,
            given.parameters,
            (settings, self.times),
            || block.take(),
            recorder.as_mut(),
            |done| {
                let report = done.report;
                move_lane(done.block, done.lane, state, done.row);
                self.counts.add(report);
                let first = failure.is_none_or(|(row, _)| done.row < row);
                if report.status != Status::Finished && first {
                    failure = Some((done.row, report));
                }
            },
        );
        match failure {
            Some((row, report)) => Err(stopped(Some(row), report)),
            None => Ok(recorder.map(Recorder::finish).unwrap_or_default()),
        }
    }
}

fn block_number<E: Real>(inputs: &[&[E]]) -> usize {
    inputs[1][0].as_f64() as usize
}

//! The solution map of an ODE as a differentiable operation.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flows_core::operation::{LANES, Operation, Recorded};
use flows_core::{Real, Result, Scratch, Work};
use serde::{Deserialize, Serialize};

use crate::continuous::adjoint::Adjoint;
use crate::dynamics::{Dynamics, FixedInputs};
use crate::lane_sums::move_lane;
use crate::solver::control::Adaptive;
use crate::solver::fixed_step::uniform_time;
use crate::solver::path;
use crate::solver::path::{Path, Room, Steps, spacing};
use crate::solver::recorder::Recorder;
use crate::solver::row_wise::{Waiting, solve_rows};
use crate::solver::runge_kutta::{SolveGradients, Stepper};
use crate::solver::solution::{RowReport, Status, first_non_finite};
use crate::solver::{Solver, stopped};

/// Gradient method of an ODE solve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GradientMethod {
    /// Discretise-then-optimise: reverse-mode differentiation of the accepted steps, the exact
    /// gradient of the computed solution. Stages are kept in memory if there is room and otherwise
    /// recomputed from checkpoints.
    Replay(Checkpoints),
    /// The continuous adjoint, integrated backwards with the same solver (Dormand-Prince 5 instead
    /// of the row-wise one). Memory does not depend on the number of steps, and the gradient is
    /// accurate to about the tolerance. If the integration fails, so does the backward pass.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Adjoint,
}

/// Checkpoints of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoints {
    /// Most checkpoints of a row; the states between are recomputed once.
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

/// How the end of a block is computed.
#[derive(Debug)]
pub(crate) enum SolveMode<E> {
    /// Equal steps, taken here.
    Equal(NonZeroUsize),
    /// The row-wise solver, run here.
    RowWise(Adaptive),
    /// A solve that is already done, block by block.
    Solved(Vec<Mutex<SolveWorkspace<E>>>),
}

/// Counters shared between blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Arc<[AtomicU64; 4]>);

impl Counts {
    pub(crate) fn add(&self, RowReport { evaluations, accepted, rejected, .. }: RowReport) {
        for (count, more) in self.0.iter().zip([1, evaluations, accepted, rejected]) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Means over rows, rounded up.
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

/// The solution of an ODE from `times[0]` to `times[1]`, as an operation.
///
/// Inputs: start `(dim)`, index of the block `(1)`, and the context if there is one. Outputs: the
/// end, the log-det, and each penalty. Parameters: those of the field and, if learned, the
/// logarithm of the end time.
#[derive(Debug)]
pub(crate) struct Solve<E> {
    pub(crate) dynamics: Dynamics<E>,
    pub(crate) solver: Solver,
    pub(crate) times: [f64; 2],
    pub(crate) mode: SolveMode<E>,
    /// Probes of each block, `(noise, LANES)`.
    pub(crate) probes: Vec<Vec<E>>,
    pub(crate) gradient: GradientMethod,
    pub(crate) learns_end: bool,
    /// Whether a backward pass may follow.
    pub(crate) recorded: bool,
    /// Memory for the stages of a block.
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
        let dim = self.dynamics.kernel.dim();
        [vec![dim], vec![1; self.dynamics.width() - dim]].concat()
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let fixed = self.fixed_inputs(inputs, parameters);
        let mut state = inputs[0].to_vec();
        state.resize(self.dynamics.width() * LANES, E::zero());
        let path = match &self.mode {
            SolveMode::Equal(steps) => self.follow(*steps, &mut state, fixed)?,
            SolveMode::RowWise(settings) => self.rows(*settings, &mut state, fixed)?,
            SolveMode::Solved(blocks) => {
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
        let fixed = self.fixed_inputs(block.inputs, block.parameters);
        let mut state: Vec<E> = output_gradients.concat();
        let mut end_time = vec![E::zero(); LANES];
        let mut context = vec![E::zero(); fixed.context.len()];
        let into = SolveGradients {
            state: &mut state,
            end_time: &mut end_time,
            context: &mut context,
            parameters: &mut parameter_gradients[..fixed.parameters.len()],
        };
        let SolveWorkspace { path, end } = block.scratch.left();
        let start = || self.dynamics.start(self.times[0], block.inputs[0], fixed).0;
        match self.gradient {
            GradientMethod::Replay(_) => {
                let tableau = self.solver.tableau();
                let mut stepper = match path.kept.iter().flatten().next() {
                    Some(stage) => Stepper::new(&self.dynamics, tableau, stage),
                    None => Stepper::new(&self.dynamics, tableau, &start()),
                };
                path.pull(&mut stepper, fixed, into);
            }
            GradientMethod::Adjoint => {
                let Self { dynamics, solver, times, learns_end, .. } = self;
                let (solver, times, learns_end) = (*solver, *times, *learns_end);
                let adjoint = Adjoint { dynamics, solver, times, learns_end };
                adjoint.pull(end, start(), fixed, into)?;
            }
        }
        input_gradients[0].copy_from_slice(&state[..input_gradients[0].len()]);
        if let Some(target) = input_gradients.get_mut(2) {
            target.copy_from_slice(&context);
        }
        if let Some(slot) = parameter_gradients.get_mut(fixed.parameters.len()) {
            slot[0] += end_time.iter().copied().sum();
        }
        Ok(())
    }
}

impl<E: Real> Solve<E> {
    fn fixed_inputs<'a>(
        &'a self,
        inputs: &[&'a [E]],
        parameters: &'a [&'a [E]],
    ) -> FixedInputs<'a, E> {
        let own = parameters.len() - usize::from(self.learns_end);
        FixedInputs {
            parameters: &parameters[..own],
            context: inputs.get(2).copied().unwrap_or_default(),
            probes: &self.probes[block_number(inputs)],
        }
    }

    /// Number of checkpoints.
    fn checkpoints(&self) -> usize {
        match self.gradient {
            GradientMethod::Replay(kept) if self.recorded => kept.checkpoints.get(),
            _ => 0,
        }
    }

    /// Takes equal steps.
    fn follow(
        &self,
        steps: NonZeroUsize,
        state: &mut [E],
        fixed: FixedInputs<'_, E>,
    ) -> Result<Path<E>> {
        let dim = self.dynamics.kernel.dim();
        let (start, sketched) = self.dynamics.start(self.times[0], state, fixed);
        let mut stepper = Stepper::new(&self.dynamics, self.solver.tableau(), &start);
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
            stepper.evaluate(&times, &lengths, state, fixed);
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
    fn rows(
        &self,
        settings: Adaptive,
        state: &mut [E],
        fixed: FixedInputs<'_, E>,
    ) -> Result<Path<E>> {
        let mut block = Some(Waiting {
            rows: (0..LANES).collect(),
            state: state.to_vec(),
            context: fixed.context.to_vec(),
            probes: fixed.probes.to_vec(),
        });
        let dim = self.dynamics.kernel.dim();
        let kept = NonZeroUsize::new(self.checkpoints());
        let mut recorder = kept.map(|kept| Recorder::new(dim, kept, self.room));
        let mut failure = None;
        solve_rows(
            &self.dynamics,
            fixed.parameters,
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

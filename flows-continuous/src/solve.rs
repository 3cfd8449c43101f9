//! The solution map of an ODE as a differentiable operation.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flows_core::operation::{LANES, Operation, Recorded};
use flows_core::{Real, Result, Work};
use serde::{Deserialize, Serialize};

use crate::adaptive::Adaptive;
use crate::adjoint::Adjoint;
use crate::field::FieldKernel;
use crate::fixed_step::uniform_time;
use crate::lanes::move_lane;
use crate::path::{Path, Steps, directions, spacing};
use crate::rates::{Given, Rates};
use crate::recorder::Recorder;
use crate::row_wise::{Waiting, solve_rows};
use crate::runge_kutta::{SolveGradients, Stepper};
use crate::solver::{Solver, stopped};
use crate::{Status, path};

/// How the gradient of a solve is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GradientMethod {
    /// The accepted steps are taken once more, backwards: the exact gradient of what was computed.
    Replay(Checkpoints),
    /// The continuous adjoint is integrated backwards with the same solver (Dormand-Prince 5 for the
    /// row-wise one): memory does not depend on the number of steps, and the gradient is accurate to
    /// about the tolerance. If it cannot be integrated the gradient is not a number.
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
#[derive(Clone, Debug)]
pub(crate) enum Course {
    /// So many equal steps, taken here.
    Equal(NonZeroUsize),
    /// The row-wise solver, run here.
    RowWise(Adaptive),
    /// A solve that has happened; one more input holds its checkpoints, so many steps apart, and its
    /// end.
    Happened { mesh: Vec<f64>, every: usize },
}

/// What blocks count, shared between them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Arc<[AtomicU64; 4]>);

impl Counts {
    fn add(&self, rows: u64, evaluations: u64, accepted: u64, rejected: u64) {
        for (count, more) in self.0.iter().zip([rows, evaluations, accepted, rejected]) {
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
/// Inputs: start `(dim)`; checkpoints and end where the solve has happened; then probes and context
/// where there are any. Outputs: the end, the log-det, and each penalty. The last parameter is the
/// logarithm of the end time where that is learned.
#[derive(Debug)]
pub(crate) struct Solve<E, K> {
    pub(crate) rates: Rates<E, K>,
    pub(crate) solver: Solver,
    pub(crate) times: [f64; 2],
    pub(crate) course: Course,
    pub(crate) gradient: GradientMethod,
    pub(crate) learns_end: bool,
    /// Whether a backward pass may follow.
    pub(crate) recorded: bool,
    pub(crate) counts: Counts,
}

/// What the forward pass of a block leaves.
#[derive(Debug)]
pub(crate) struct SolveWorkspace<E> {
    path: Option<Path<E>>,
    /// `(width, LANES)`
    end: Vec<E>,
}

impl<E> Default for SolveWorkspace<E> {
    fn default() -> Self {
        Self { path: None, end: Vec::new() }
    }
}

impl<E: Real, K: FieldKernel<E>> Operation<E> for Solve<E, K> {
    type Workspace = SolveWorkspace<E>;

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
        workspace: &mut SolveWorkspace<E>,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let given = self.given(inputs, parameters);
        let mut state = inputs[0].to_vec();
        state.resize(self.rates.width() * LANES, E::zero());
        let path = match &self.course {
            Course::Equal(steps) => self.follow(*steps, &mut state, given)?,
            Course::RowWise(settings) => self.rows(*settings, &mut state, given)?,
            Course::Happened { mesh, every } => {
                let size = self.rates.kernel.dim() * LANES;
                let (earlier, end) = inputs[1].split_at(inputs[1].len() - state.len());
                state.copy_from_slice(end);
                let states = earlier.chunks_exact(size).map(<[E]>::to_vec).collect();
                Path { steps: Steps::Shared(mesh.clone()), every: *every, states }
            }
        };
        let mut rest = state.as_slice();
        for output in outputs {
            let (own, others) = rest.split_at(output.len());
            output.copy_from_slice(own);
            rest = others;
        }
        workspace.path = Some(path);
        workspace.end = state;
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, SolveWorkspace<E>>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let given = self.given(block.inputs, block.parameters);
        let mut state: Vec<E> = output_gradients.concat();
        let mut end_time = vec![E::zero(); LANES];
        let mut context = vec![E::zero(); given.context.len()];
        let (own, end_slot) = parameter_gradients.split_at_mut(given.parameters.len());
        let into = SolveGradients {
            state: &mut state,
            end_time: &mut end_time,
            context: &mut context,
            parameters: own,
        };
        let start = (self.times[0], block.inputs[0]);
        let (workspace, _) = directions(&self.rates, start, given);
        match (self.gradient, &block.workspace.path) {
            (GradientMethod::Replay(_), Some(path)) => {
                let mut stepper = Stepper::new(&self.rates, self.solver.tableau(), &workspace);
                path.pull(&mut stepper, given, into);
            }
            _ => {
                let adjoint = Adjoint {
                    rates: &self.rates,
                    solver: self.solver,
                    times: self.times,
                    learns_end: self.learns_end,
                };
                adjoint.pull(&block.workspace.end, workspace, given, into);
            }
        }
        input_gradients[0].copy_from_slice(&state[..input_gradients[0].len()]);
        if let (false, Some(target)) = (context.is_empty(), input_gradients.last_mut()) {
            target.copy_from_slice(&context);
        }
        if let Some(slot) = end_slot.first_mut() {
            slot[0] += end_time.iter().copied().sum();
        }
    }
}

impl<E: Real, K: FieldKernel<E>> Solve<E, K> {
    fn given<'a>(&self, inputs: &[&'a [E]], parameters: &'a [&'a [E]]) -> Given<'a, E> {
        let happened = matches!(self.course, Course::Happened { .. });
        let mut rest = inputs[1 + usize::from(happened)..].iter().copied();
        let Rates { kernel, divergence, .. } = &self.rates;
        let noise = divergence.map_or(0, |d| d.noise(kernel.dim(), kernel.structure()));
        let probes = if noise > 0 { rest.next().unwrap_or(&[]) } else { &[] };
        let context = rest.next().unwrap_or(&[]);
        let own = parameters.len() - usize::from(self.learns_end);
        Given { parameters: &parameters[..own], context, probes }
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
        let start = (self.times[0], &state[..dim * LANES]);
        let (workspace, sketched) = directions(&self.rates, start, given);
        let mut stepper = Stepper::new(&self.rates, self.solver.tableau(), &workspace);
        let time = |index: usize| uniform_time(self.times, steps, index);
        let mut path = Path::none();
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
            if let Some(index) = state.iter().position(|v| !v.is_finite()) {
                let evaluations = ((step + 1) * self.solver.tableau().stages()) as u64;
                let row = Some(index % LANES);
                return Err(stopped(row, next, Status::NonFinite, evaluations));
            }
        }
        let evaluations = sketched + (steps.get() * self.solver.tableau().stages()) as u64;
        self.counts.add(1, evaluations, steps.get() as u64, 0);
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
        let mut recorder = NonZeroUsize::new(self.checkpoints()).map(|n| Recorder::new(dim, n));
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
                self.counts.add(1, report.evaluations, report.accepted, report.rejected);
                let first = failure.is_none_or(|(row, _)| done.row < row);
                if report.status != Status::Finished && first {
                    failure = Some((done.row, report));
                }
            },
        );
        match failure {
            Some((row, report)) => {
                Err(stopped(Some(row), report.time, report.status, report.evaluations))
            }
            None => Ok(recorder.map_or_else(Path::none, |r| r.finish(state, self.times[1]))),
        }
    }
}

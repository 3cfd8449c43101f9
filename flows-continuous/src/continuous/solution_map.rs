//! The solution map of an ODE, by the solver of the present purpose.

use std::sync::{Arc, Mutex};

use flows_core::operation::{LANES, apply_with};
use flows_core::tensor::batch;
use flows_core::{Batch, Context, Real, Result, Tape, Values, Work};

use super::Continuous;
use crate::continuous::batched::BatchedDynamics;
use crate::continuous::row_batch::{RowBatch, State, lanes, solve_batch};
use crate::continuous::solve::{Counts, GradientMethod, Solve, SolveMode, SolveWorkspace};
use crate::dynamics::Dynamics;
use crate::solver::control::{Adaptive, Method};
use crate::solver::path::{Path, Room, Steps, spacing};
use crate::solver::solution::{Keep, Status};
use crate::solver::{Solver, refused, stopped};

impl<E: Real> Continuous<E> {
    /// Solves between two times: the end, the log-det and each penalty, as one tensor each.
    pub(super) fn solve(
        &self,
        dynamics: Dynamics<E>,
        input: &Batch<E>,
        context: &Context<E>,
        times: [f64; 2],
        tape: &mut Tape<E>,
    ) -> Result<(Vec<Batch<E>>, Work)> {
        let (solver, dim) = (self.accuracy().solver, dynamics.kernel.dim());
        let probes = match dynamics.divergence {
            None => Vec::new(),
            Some(_) => self.probes(input.rows()),
        };
        let rows = self.rows(input, context, probes);
        let blocks = State::new(dim, input.rows());
        let stages = solver.tableau().stages();
        let memory = self.stage_memory / blocks.blocks().count().max(1);
        let room = Room::new(memory, &dynamics, stages);
        let (mode, known) = match solver {
            Solver::RowWise(settings) if !tape.is_recording() => {
                return unrecorded(&dynamics, (settings, times), &rows);
            }
            Solver::RowWise(settings) => (SolveMode::RowWise(settings), None),
            Solver::Dopri5(settings) | Solver::Dop853(settings) => {
                let room = tape.is_recording().then_some(room);
                let solver = (settings, solver.method());
                let (solved, work) = self.shared(&dynamics, solver, times, &rows, room)?;
                (SolveMode::Solved(solved), Some(work))
            }
            _ => {
                let steps = solver.equal_steps().unwrap_or(std::num::NonZeroUsize::MIN);
                (SolveMode::Equal(steps), None)
            }
        };
        let noise = rows.probes.len().checked_div(input.rows()).unwrap_or(0);
        let split = |(first, count)| lanes(&rows.probes, noise, first, count);
        let number = |row: usize| E::of((row / LANES) as f64);
        let numbers = batch((0..input.rows()).map(number).collect(), input.rows(), 1)?;
        let counts = Counts::default();
        let operation = Solve {
            dynamics,
            solver,
            times,
            mode,
            probes: blocks.blocks().map(split).collect(),
            gradient: self.gradient,
            learns_end: self.end_time.is_some(),
            recorded: tape.is_recording(),
            room,
            counts: counts.clone(),
        };
        let inputs: Vec<&Batch<E>> =
            [input, &numbers].into_iter().chain(context.features()).collect();
        let mut tensors = self.field.tensors().to_vec();
        let mut all = rows.parameters;
        if let Some(end) = &self.end_time {
            tensors.push(end.clone());
            Arc::make_mut(&mut all).push(end.values());
        }
        let outputs = apply_with(operation, &inputs, &tensors, all, tape)?;
        Ok((outputs, known.unwrap_or_else(|| counts.work())))
    }

    /// Solves with one step size for the batch. Returns its steps and, for each block, the end and
    /// the kept states and stages. With `room`, a backward pass may follow.
    fn shared(
        &self,
        dynamics: &Dynamics<E>,
        (settings, method): (Adaptive, Method),
        times: [f64; 2],
        rows: &RowBatch<E>,
        room: Option<Room>,
    ) -> Result<(Vec<Mutex<SolveWorkspace<E>>>, Work)> {
        let (dim, width) = (dynamics.kernel.dim(), dynamics.width());
        let state = State::new(width, rows.start.len() / dim);
        let checkpoints = match self.gradient {
            GradientMethod::Replay(kept) => room.map(|room| (room, kept.checkpoints)),
            GradientMethod::Adjoint => None,
        };
        let attempt = method.constants().stages + method.constants().velocities_at_end;
        let kept = checkpoints.map(|(room, _)| (room, attempt)).filter(|(room, _)| room.is_open());
        let mut problem = BatchedDynamics::new(dynamics, times[0], rows, kept);
        let keep = if checkpoints.is_some() { Keep::Everything } else { Keep::Last };
        let packed = state.pack(&rows.start, dim);
        let solution = settings.solve_problem(method, keep, times, packed, &mut problem);
        let mut solution = solution.map_err(refused)?;
        solution.evaluations += problem.sketched as usize;
        if !solution.is_finished() {
            return Err(stopped(None, solution.report()));
        }
        let every = checkpoints.map_or(1, |(_, kept)| spacing(solution.earlier.len(), kept));
        let earlier = solution.earlier.iter().step_by(every);
        let mut states: Vec<_> = earlier.map(|y| state.split(y, 0..dim).into_iter()).collect();
        let mesh: Arc<[f64]> = solution.mesh.as_slice().into();
        let ends = state.split(&solution.state, 0..width);
        let block = |(end, kept)| {
            let states = states.iter_mut().filter_map(Iterator::next).collect();
            let path = Path { steps: Steps::Shared(Arc::clone(&mesh)), every, states, kept };
            Mutex::new(SolveWorkspace { path, end })
        };
        let blocks = ends.into_iter().zip(problem.into_kept()).map(block).collect();
        Ok((blocks, solution.report().into()))
    }
}

/// The row-wise solver without a tape: rows take any free lane.
fn unrecorded<E: Real>(
    dynamics: &Dynamics<E>,
    (settings, times): (Adaptive, [f64; 2]),
    rows: &RowBatch<E>,
) -> Result<(Vec<Batch<E>>, Work)> {
    let (values, reports) = solve_batch(dynamics, (settings, times), rows);
    if let Some(row) = reports.iter().position(|report| report.status != Status::Finished) {
        return Err(stopped(Some(row), reports[row]));
    }
    let counts = Counts::default();
    reports.iter().for_each(|&report| counts.add(report));
    let (dim, width) = (dynamics.kernel.dim(), dynamics.width());
    let part = |(first, count): (usize, usize)| {
        let row = |row: &[E]| row[first..first + count].to_vec();
        batch(values.chunks(width).flat_map(row).collect(), reports.len(), count)
    };
    let parts = [(0, dim)].into_iter().chain((dim..width).map(|other| (other, 1)));
    Ok((parts.map(part).collect::<Result<_>>()?, counts.work()))
}

//! How a continuous flow is solved: by which solver, over which rows, with which record.

use std::sync::Arc;

use flows_core::operation::apply_with;
use flows_core::tensor::batch;
use flows_core::{Batch, Context, Mode, Real, Result, Values, Work};

use super::Continuous;
use crate::adaptive::{Adaptive, Method};
use crate::batched::{BatchedRates, State};
use crate::field::FieldKernel;
use crate::path::spacing;
use crate::rates::Rates;
use crate::row_batch::{RowBatch, solve_batch};
use crate::row_wise::RowReport;
use crate::solution::{Keep, Status};
use crate::solve::{Counts, Course, GradientMethod, Solve};
use crate::solver::{Solver, refused, stopped};

impl<E: Real, K: FieldKernel<E>> Continuous<E, K> {
    /// The end, the log-det and the penalties of a solve between two times, one batch each.
    pub(super) fn solve<T: Mode<E>>(
        &self,
        rates: Rates<E, K>,
        input: &Batch<E>,
        context: &Context<E>,
        times: [f64; 2],
        tape: &mut T,
    ) -> Result<(Vec<Batch<E>>, Work)> {
        let solver = self.accuracy().solver;
        let probes = match rates.divergence {
            None => Vec::new(),
            Some(_) => self.probes(input.rows()),
        };
        let features = context.features().map(Values::values).unwrap_or_default();
        let values = self.field.values();
        let parameters: Vec<&[E]> = values.iter().map(Vec::as_slice).collect();
        let rows = RowBatch {
            start: &input.values(),
            context: &features,
            probes: &probes,
            parameters: &parameters,
        };
        let (course, happened, known) = match solver {
            Solver::RowWise(settings) if !T::OWNS_TAPE => {
                return unrecorded(&rates, (settings, times), &rows);
            }
            Solver::RowWise(settings) => (Course::RowWise(settings), None, None),
            Solver::Dopri5(settings) | Solver::Dop853(settings) => {
                let solver = (settings, solver.method());
                let (course, trajectory, work) =
                    self.shared(&rates, solver, times, &rows, T::OWNS_TAPE)?;
                (course, Some(trajectory), Some(work))
            }
            _ => {
                let steps = solver.equal_steps().unwrap_or(std::num::NonZeroUsize::MIN);
                (Course::Equal(steps), None, None)
            }
        };
        let noise = probes.len().checked_div(input.rows()).unwrap_or(0);
        let probes = match noise {
            0 => None,
            _ => Some(batch(probes, input.rows(), noise)?),
        };
        let counts = Counts::default();
        let operation = Solve {
            rates,
            solver,
            times,
            course,
            gradient: self.gradient,
            learns_end: self.end_time.is_some(),
            recorded: T::OWNS_TAPE,
            counts: counts.clone(),
        };
        let inputs: Vec<&Batch<E>> =
            [Some(input), happened.as_ref(), probes.as_ref(), context.features()]
                .into_iter()
                .flatten()
                .collect();
        let mut tensors = self.field.tensors().to_vec();
        let mut all = values;
        if let Some(end) = &self.end_time {
            tensors.push(end.clone());
            Arc::make_mut(&mut all).push(end.values());
        }
        let outputs = apply_with(operation, &inputs, &tensors, all, tape)?;
        Ok((outputs, known.unwrap_or_else(|| counts.work())))
    }

    /// A solve with one step size for the batch: its steps, and row by row the states kept of it and
    /// its end.
    fn shared(
        &self,
        rates: &Rates<E, K>,
        (settings, method): (Adaptive, Method),
        times: [f64; 2],
        rows: &RowBatch<'_, E>,
        recorded: bool,
    ) -> Result<(Course, Batch<E>, Work)> {
        let (dim, width) = (rates.kernel.dim(), rates.width());
        let count = rows.start.len() / dim;
        let given = (rows.context, rows.probes);
        let start = (times[0], rows.start);
        let mut field = BatchedRates::new(rates, rows.parameters, start, given);
        let sketched = field.sketched;
        let state = State::new(width, count);
        let keep = match self.gradient {
            GradientMethod::Replay(_) if recorded => Keep::Everything,
            _ => Keep::Last,
        };
        let packed = state.pack(rows.start, dim);
        let velocity = |t: f64, y: &[E], dy: &mut [E]| {
            field.evaluate(t, y, dy);
            Ok(())
        };
        let solution = settings.solve(method, keep, times, packed, velocity).map_err(refused)?;
        let work = Work {
            field_evaluations: solution.evaluations as u64 + sketched,
            steps_accepted: solution.accepted as u64,
            steps_rejected: solution.rejected as u64,
            ..Work::default()
        };
        if solution.status != Status::Finished {
            let evaluations = work.field_evaluations;
            return Err(stopped(None, solution.time, solution.status, evaluations));
        }
        let every = match self.gradient {
            GradientMethod::Replay(kept) => spacing(solution.earlier.len(), kept.checkpoints),
            GradientMethod::Adjoint => 1,
        };
        let kept: Vec<&Vec<E>> = solution.earlier.iter().step_by(every).collect();
        let stride = kept.len() * dim + width;
        let mut trajectory = vec![E::zero(); count * stride];
        for (index, flat) in kept.iter().enumerate() {
            state.unpack(flat, (0, dim), &mut trajectory, (index * dim, stride));
        }
        let end = (kept.len() * dim, stride);
        state.unpack(&solution.state, (0, width), &mut trajectory, end);
        let course = Course::Happened { mesh: solution.mesh, every };
        Ok((course, batch(trajectory, count, stride)?, work))
    }
}

/// The row-wise solver without a tape: any row takes any free place.
fn unrecorded<E: Real, K: FieldKernel<E>>(
    rates: &Rates<E, K>,
    (settings, times): (Adaptive, [f64; 2]),
    rows: &RowBatch<'_, E>,
) -> Result<(Vec<Batch<E>>, Work)> {
    let (values, reports) = solve_batch(rates, (settings, times), rows);
    if let Some(row) = reports.iter().position(|report| report.status != Status::Finished) {
        let report = reports[row];
        return Err(stopped(Some(row), report.time, report.status, report.evaluations));
    }
    let mean = |count: fn(&RowReport) -> u64| {
        reports.iter().map(count).sum::<u64>().div_ceil(reports.len().max(1) as u64)
    };
    let work = Work {
        field_evaluations: mean(|r| r.evaluations),
        steps_accepted: mean(|r| r.accepted),
        steps_rejected: mean(|r| r.rejected),
        ..Work::default()
    };
    let (dim, width) = (rates.kernel.dim(), rates.width());
    let part = |from: usize, count: usize| {
        let row = |row: &[E]| row[from..from + count].to_vec();
        batch(values.chunks(width).flat_map(row).collect(), reports.len(), count)
    };
    let mut outputs = vec![part(0, dim)?];
    for other in dim..width {
        outputs.push(part(other, 1)?);
    }
    Ok((outputs, work))
}

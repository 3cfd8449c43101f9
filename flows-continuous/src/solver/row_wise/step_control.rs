//! Step control of the row-wise solver, lane by lane.

use flows_core::Real;
use flows_core::operation::LANES;

use super::{ERROR, Lanes, METHOD, NEW_STAGES};
use crate::lane_sums::move_lane;
use crate::solver::solution::{RowReport, Status};

/// Steps before stiffness is tested.
const PATIENCE: u64 = 1_000;

/// State of one lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub(super) row: usize,
    /// Elapsed time, and length of the next step.
    pub(super) elapsed: f64,
    pub(super) step: f64,
    /// Error of the last accepted step, for the step controller.
    pub(super) error: f64,
    pub(super) rejected_before: bool,
    pub(super) stiff: u32,
    pub(super) smooth: u32,
    pub(super) report: RowReport,
}

impl<E: Real> Lanes<'_, E> {
    /// Accepts or rejects a lane's step and chooses the next; returns the row if its solve ended.
    pub(super) fn control(&mut self, index: usize, error: f64) -> Option<(usize, RowReport)> {
        let mut lane = self.lanes[index]?;
        lane.report.evaluations += NEW_STAGES as u64;
        let status = if !error.is_finite() || !self.is_finite(index) {
            Some(Status::NonFinite)
        } else if error <= 1.0 {
            self.accept(index, &mut lane, error)
        } else {
            lane.report.rejected += 1;
            lane.rejected_before = true;
            lane.step *= METHOD.rejected(error);
            self.limit(&lane)
        };
        lane.report.time = self.times[0] + self.sign() * lane.elapsed;
        if status == Some(Status::Finished) {
            lane.report.time = self.times[1];
        }
        let Some(status) = status else {
            self.lanes[index] = Some(lane);
            return None;
        };
        lane.report.status = status;
        self.lanes[index] = None;
        Some((lane.row, lane.report))
    }

    fn accept(&mut self, index: usize, lane: &mut Lane, error: f64) -> Option<Status> {
        let arrived = lane.step >= self.length() - lane.elapsed;
        let stiff = self.is_stiff(index, lane);
        lane.elapsed += lane.step;
        lane.report.accepted += 1;
        let next = lane.step * METHOD.accepted(error, lane.error);
        lane.step = if lane.rejected_before { next.min(lane.step) } else { next };
        lane.error = error.max(1e-4);
        lane.rejected_before = false;
        move_lane(&self.next, index, &mut self.state, index);
        let (first, others) = self.stages.split_at_mut(1);
        if let (Some(first), Some(last)) = (first.first_mut(), others.last()) {
            move_lane(last, index, first, index);
        }
        match (arrived, stiff) {
            (true, _) => Some(Status::Finished),
            (_, true) => Some(Status::Stiff),
            _ => self.limit(lane),
        }
    }

    /// The reason to end a lane's solve before another attempt, if there is one.
    fn limit(&self, lane: &Lane) -> Option<Status> {
        let bound = self.settings.max_evaluations as u64;
        if lane.report.evaluations + NEW_STAGES as u64 > bound {
            return Some(Status::EvaluationBound);
        }
        let scale = self.times[0].abs().max(self.times[1].abs()).max(self.length());
        (lane.step <= 0.5 * E::epsilon().as_f64() * scale).then_some(Status::StepUnderflow)
    }

    pub(super) fn is_finite(&self, index: usize) -> bool {
        self.stages.iter().all(|s| s[index..].iter().step_by(LANES).all(|v| v.is_finite()))
            && self.next[index..].iter().step_by(LANES).all(|v| v.is_finite())
    }

    /// Whether stability limits the step: h |df/dy| along the last two stages stayed beyond 3.25 for
    /// fifteen steps.
    fn is_stiff(&self, index: usize, lane: &mut Lane) -> bool {
        if lane.report.accepted < PATIENCE {
            return false;
        }
        let distance = |a: &[E], b: &[E]| -> f64 {
            let entries = (index..a.len()).step_by(LANES);
            entries.map(|i| (a[i] - b[i]).as_f64().powi(2)).sum::<f64>().sqrt()
        };
        let (before, last) = (&self.stages[ERROR.len() - 2], &self.stages[ERROR.len() - 1]);
        let moved = distance(&self.next, &self.inner);
        if moved > 0.0 && lane.step * distance(last, before) / moved > 3.25 {
            (lane.stiff, lane.smooth) = (lane.stiff + 1, 0);
        } else {
            lane.smooth += 1;
            if lane.smooth == 6 {
                lane.stiff = 0;
            }
        }
        lane.stiff == 15
    }
}

//! Dormand-Prince 5(4) where each row has its own time and step size.
//!
//! All active rows share one batched evaluation a stage; a row that arrives makes place for the next
//! one. What happens in a lane depends on nothing but its row, so a row's result has the same bits
//! alone and in any batch.
//!
//! Reference: Hairer, Nørsett, Wanner, *Solving Ordinary Differential Equations I*, 2nd ed. 1993,
//! II.4 (error norm, first and later step sizes); Hairer, Wanner, volume II, 2nd ed. 1996, IV.2
//! (stiffness test).

use std::collections::VecDeque;

use flows_core::Real;
use flows_core::operation::LANES;

use crate::dynamics::{AugmentedDynamics, Evaluation, FixedInputs};
use crate::lane_sums::move_lane;
use crate::solver::control::{Adaptive, Constants, FirstStep, Method};
use crate::solver::recorder::Recorder;
use crate::solver::solution::{RowReport, Status};
use crate::solver::tableau::DORMAND_PRINCE;

/// The method and its step size controller.
const METHOD: Constants = Method::Dopri5.constants();

/// Stages of an attempt beside the first, which the step before it left.
const NEW_STAGES: usize = METHOD.stages;

/// Weights of the difference between the solutions of order 5 and 4.
const ERROR: [f64; 7] = [
    71.0 / 57600.0,
    0.0,
    -71.0 / 16695.0,
    71.0 / 1920.0,
    -17253.0 / 339200.0,
    22.0 / 525.0,
    -1.0 / 40.0,
];

/// Steps before stiffness is looked for.
const PATIENCE: u64 = 1_000;

/// Rows that wait to be solved, a block at a time.
pub(crate) struct Waiting<E> {
    /// Index of each row in the batch.
    pub(crate) rows: Vec<usize>,
    /// `(width, LANES)`
    pub(crate) state: Vec<E>,
    /// `(context dim, LANES)`
    pub(crate) context: Vec<E>,
    /// `(noise, LANES)`
    pub(crate) probes: Vec<E>,
}

/// A row that arrived, or gave up.
pub(crate) struct Done<'a, E> {
    pub(crate) row: usize,
    /// The row's column of the block.
    pub(crate) lane: usize,
    /// State, log-det and penalties of all lanes, `(width, LANES)`.
    pub(crate) block: &'a [E],
    pub(crate) report: RowReport,
}

/// State of one lane.
#[derive(Clone, Copy, Debug)]
struct Lane {
    row: usize,
    /// Elapsed time, and what is left of it at most in one step.
    elapsed: f64,
    step: f64,
    /// Error of the last accepted step, for the step controller.
    error: f64,
    rejected_before: bool,
    stiff: u32,
    smooth: u32,
    report: RowReport,
}

/// The solver's rows abreast.
struct Lanes<'a, E: Real> {
    dynamics: &'a AugmentedDynamics<E>,
    parameters: &'a [&'a [E]],
    settings: Adaptive,
    times: [f64; 2],
    lanes: Vec<Option<Lane>>,
    /// `(width, LANES)`
    state: Vec<E>,
    next: Vec<E>,
    /// AugmentedDynamics of the stages, `(width, LANES)` each; the first are those of the state.
    stages: Vec<Vec<E>>,
    /// State of the latest stage.
    inner: Vec<E>,
    context: Vec<E>,
    probes: Vec<E>,
    /// Of the latest stages, the last one last: all that are new, or one that serves each in turn.
    evaluations: VecDeque<Evaluation<E>>,
    keep: usize,
}

/// A block of rows ready to take their places: with directions, first rates and first step sizes.
struct Ready<E> {
    waiting: Waiting<E>,
    lanes: Vec<Lane>,
    rates: Vec<E>,
    start: Evaluation<E>,
    next: usize,
}

/// Solves all rows that `fetch` hands out, block after block, and gives each to `done`.
///
/// With a `record`, the rows of the one block keep their places and their steps are written down.
pub(crate) fn solve_rows<E: Real>(
    dynamics: &AugmentedDynamics<E>,
    parameters: &[&[E]],
    (settings, times): (Adaptive, [f64; 2]),
    mut fetch: impl FnMut() -> Option<Waiting<E>>,
    mut record: Option<&mut Recorder<E>>,
    mut done: impl FnMut(Done<'_, E>),
) {
    let mut lanes = Lanes::new(dynamics, parameters, settings, times);
    if record.as_ref().is_some_and(|record| record.keeps()) {
        lanes.keep = NEW_STAGES;
    }
    let mut ready: Option<Ready<E>> = None;
    loop {
        lanes.fill(&mut ready, &mut fetch);
        if lanes.lanes.iter().all(Option::is_none) {
            return;
        }
        let errors = lanes.attempt();
        if let Some(record) = record.as_deref_mut() {
            lanes.note(&errors, record);
        }
        for (lane, error) in errors.into_iter().enumerate() {
            if let Some((row, report)) = lanes.control(lane, error) {
                done(Done { row, lane, block: &lanes.state, report });
            }
        }
    }
}

impl<'a, E: Real> Lanes<'a, E> {
    fn new(
        dynamics: &'a AugmentedDynamics<E>,
        parameters: &'a [&'a [E]],
        settings: Adaptive,
        times: [f64; 2],
    ) -> Self {
        let block = vec![E::zero(); dynamics.width() * LANES];
        Self {
            dynamics,
            parameters,
            settings,
            times,
            lanes: vec![None; LANES],
            next: block.clone(),
            stages: vec![block.clone(); ERROR.len()],
            inner: block.clone(),
            state: block,
            context: vec![E::zero(); dynamics.kernel.context_dim() * LANES],
            probes: Vec::new(),
            evaluations: VecDeque::new(),
            keep: 1,
        }
    }

    fn length(&self) -> f64 {
        (self.times[1] - self.times[0]).abs()
    }

    /// 1 forwards in time, -1 backwards.
    fn sign(&self) -> f64 {
        (self.times[1] - self.times[0]).signum()
    }

    /// Puts waiting rows into free lanes.
    fn fill(
        &mut self,
        ready: &mut Option<Ready<E>>,
        fetch: &mut impl FnMut() -> Option<Waiting<E>>,
    ) {
        for lane in 0..LANES {
            if self.lanes[lane].is_some() {
                continue;
            }
            if ready.as_ref().is_none_or(|block| block.next == block.lanes.len()) {
                *ready = fetch().map(|waiting| self.prepare(waiting));
            }
            let Some(block) = ready else { return };
            self.seat(lane, block);
        }
    }

    fn seat(&mut self, lane: usize, block: &mut Ready<E>) {
        let from = block.next;
        block.next += 1;
        self.lanes[lane] = Some(block.lanes[from]);
        move_lane(&block.waiting.state, from, &mut self.state, lane);
        move_lane(&block.rates, from, &mut self.stages[0], lane);
        move_lane(&block.waiting.context, from, &mut self.context, lane);
        self.probes.resize(block.waiting.probes.len(), E::zero());
        move_lane(&block.waiting.probes, from, &mut self.probes, lane);
        if self.evaluations.is_empty() {
            self.evaluations.resize_with(self.keep, || block.start.another());
        }
        for evaluation in &mut self.evaluations {
            evaluation.take_lane(&block.start, from, lane);
        }
    }

    /// First rates and first step sizes.
    fn prepare(&self, waiting: Waiting<E>) -> Ready<E> {
        let Waiting { state, context, probes, .. } = &waiting;
        let fixed = FixedInputs { parameters: self.parameters, context, probes };
        let (mut start, sketched) = self.dynamics.start(self.times[0], state, fixed);
        self.dynamics.evaluate(&mut start, fixed);
        let rates = start.rates.clone();
        let norm = |values: &[E], lane: usize| {
            let pairs = values.iter().copied().zip(state.iter().copied());
            self.settings.norm(pairs.skip(lane).step_by(LANES))
        };
        let first = |lane| FirstStep::new(norm(state, lane), norm(&rates, lane), self.length());
        let first: Vec<FirstStep> = (0..LANES).map(first).collect();
        let mut steps = vec![self.settings.first_step.unwrap_or_default(); LANES];
        if self.settings.first_step.is_none() {
            let signed: Vec<E> = first.iter().map(|f| E::of(self.sign() * f.probe)).collect();
            let mut moved = state.clone();
            for (row, rates) in moved.chunks_exact_mut(LANES).zip(rates.chunks_exact(LANES)) {
                flows_core::lanes::add_product(row, &signed, rates);
            }
            flows_core::lanes::add(&mut start.time, &signed);
            start.move_to(&moved);
            self.dynamics.evaluate(&mut start, fixed);
            let change = start.rates.iter().zip(&rates).map(|(&second, &first)| second - first);
            let change: Vec<E> = change.collect();
            for (lane, step) in steps.iter_mut().enumerate() {
                *step = first[lane].estimate(norm(&change, lane), METHOD.order);
            }
        }
        let evaluations = sketched + 1 + u64::from(self.settings.first_step.is_none());
        let lane = |(&row, step): (&usize, f64)| Lane {
            row,
            elapsed: 0.0,
            step: step.min(self.length()),
            error: 1e-4,
            rejected_before: false,
            stiff: 0,
            smooth: 0,
            report: RowReport { evaluations, ..RowReport::at(self.times[0]) },
        };
        let lanes = waiting.rows.iter().zip(steps).map(lane).collect();
        Ready { waiting, lanes, rates, start, next: 0 }
    }

    /// Writes down the steps that will be accepted, before they are.
    fn note(&mut self, errors: &[f64], record: &mut Recorder<E>) {
        let [mut time, mut length] = [self.times[1], 0.0].map(|value| vec![E::of(value); LANES]);
        for (index, lane) in self.lanes.iter().enumerate() {
            let Some(lane) = lane else { continue };
            time[index] = E::of(self.times[0] + self.sign() * lane.elapsed);
            if errors[index] <= 1.0 && self.is_finite(index) {
                length[index] = E::of(self.sign() * lane.step);
            }
        }
        if length.iter().all(|&length| length == E::zero()) {
            return;
        }
        if !record.note(time, length, &self.state, &mut self.evaluations) {
            self.evaluations.truncate(1);
        }
    }

    /// Tries a step in every lane; returns the error of each, in units of the tolerance.
    fn attempt(&mut self) -> Vec<f64> {
        let (sign, start, length) = (self.sign(), self.times[0], self.length());
        let mut steps = vec![0.0; LANES];
        for (step, lane) in steps.iter_mut().zip(&mut self.lanes) {
            if let Some(lane) = lane {
                let left = length - lane.elapsed;
                // A step that nearly arrives is stretched, so that none of rounding's size remains.
                lane.step = if 1.01 * lane.step >= left { left } else { lane.step };
                *step = sign * lane.step;
            }
        }
        let fixed = FixedInputs {
            parameters: self.parameters,
            context: &self.context,
            probes: &self.probes,
        };
        let mut time = vec![E::zero(); LANES];
        for stage in 1..ERROR.len() {
            let last = stage + 1 == ERROR.len();
            let (c, weights) = match last {
                true => (1.0, DORMAND_PRINCE.b),
                false => (DORMAND_PRINCE.c[stage], DORMAND_PRINCE.a[stage]),
            };
            for ((time, lane), step) in time.iter_mut().zip(&self.lanes).zip(&steps) {
                let elapsed = sign * lane.map_or(0.0, |lane| lane.elapsed);
                // The last stage is the first of the next step, at the very time that starts it.
                let at = if last { start + (elapsed + step) } else { start + elapsed + c * step };
                *time = E::of(at);
            }
            let target = if last { &mut self.next } else { &mut self.inner };
            target.copy_from_slice(&self.state);
            combine(target, &steps, weights, &self.stages);
            self.evaluations.rotate_left(1);
            let Some(evaluation) = self.evaluations.back_mut() else { continue };
            evaluation.time.copy_from_slice(&time);
            evaluation.move_to(target);
            self.dynamics.evaluate(evaluation, fixed);
            self.stages[stage].copy_from_slice(&evaluation.rates);
        }
        self.errors(&steps)
    }

    fn errors(&self, steps: &[f64]) -> Vec<f64> {
        let mut error = vec![E::zero(); self.state.len()];
        combine(&mut error, steps, &ERROR, &self.stages);
        let (rtol, atol) = (E::of(self.settings.rtol), E::of(self.settings.atol));
        let mut squares = [E::zero(); LANES];
        let rows = error.chunks_exact(LANES).zip(self.state.chunks_exact(LANES));
        for ((error, before), after) in rows.zip(self.next.chunks_exact(LANES)) {
            for lane in 0..LANES {
                let size = before[lane].abs().max(after[lane].abs());
                let ratio = error[lane] / (atol + rtol * size);
                squares[lane] += ratio * ratio;
            }
        }
        let count = (self.state.len() / LANES).max(1) as f64;
        squares.iter().map(|s| (s.as_f64() / count).sqrt()).collect()
    }

    /// Accepts or rejects a lane's step and chooses the next; returns the row where it ended.
    fn control(&mut self, index: usize, error: f64) -> Option<(usize, RowReport)> {
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

    /// Why a lane may not try again.
    fn limit(&self, lane: &Lane) -> Option<Status> {
        let bound = self.settings.max_evaluations as u64;
        if lane.report.evaluations + NEW_STAGES as u64 > bound {
            return Some(Status::EvaluationBound);
        }
        let scale = self.times[0].abs().max(self.times[1].abs()).max(self.length());
        (lane.step <= 0.5 * E::epsilon().as_f64() * scale).then_some(Status::StepUnderflow)
    }

    fn is_finite(&self, index: usize) -> bool {
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

/// Adds to `y` the step of each lane times the weighted sum of the stages.
fn combine<E: Real>(y: &mut [E], steps: &[f64], weights: &[f64], stages: &[Vec<E>]) {
    let mut factors = [E::zero(); LANES];
    for (weight, stage) in weights.iter().zip(stages) {
        if *weight == 0.0 {
            continue;
        }
        for (factor, step) in factors.iter_mut().zip(steps) {
            *factor = E::of(weight * step);
        }
        for (row, stage) in y.chunks_exact_mut(LANES).zip(stage.chunks_exact(LANES)) {
            flows_core::lanes::add_product(row, &factors, stage);
        }
    }
}

//! The row-wise solver: Dormand-Prince 5(4) with its own time and step size for each row.
//!
//! All active rows share one batched evaluation a stage; a finished row is replaced by the next one.
//! A lane depends on its row only, so a row's result has the same bits alone and in any batch.
//!
//! Reference: Hairer, Nørsett, Wanner, *Solving Ordinary Differential Equations I*, 2nd ed. 1993,
//! II.4 (error norm, first and later step sizes); Hairer, Wanner, volume II, 2nd ed. 1996, IV.2
//! (stiffness test).

mod step_control;

use std::collections::VecDeque;

use flows_core::Real;
use flows_core::operation::LANES;
use step_control::Lane;

use crate::dynamics::{Dynamics, Evaluation, FixedInputs};
use crate::lane_sums::move_lane;
use crate::solver::control::{Adaptive, Constants, FirstStep, Method};
use crate::solver::recorder::Recorder;
use crate::solver::solution::RowReport;
use crate::solver::tableau::DORMAND_PRINCE;

/// The method and its step size controller.
const METHOD: Constants = Method::Dopri5.constants();

/// New stages of an attempt; the first is known from the step before.
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

/// A block of rows to be solved.
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

/// A row whose solve ended.
pub(crate) struct Done<'a, E> {
    pub(crate) row: usize,
    /// The row's column of the block.
    pub(crate) lane: usize,
    /// State, log-det and penalties of all lanes, `(width, LANES)`.
    pub(crate) block: &'a [E],
    pub(crate) report: RowReport,
}

/// The rows in the solver's lanes.
struct Lanes<'a, E: Real> {
    dynamics: &'a Dynamics<E>,
    parameters: &'a [&'a [E]],
    settings: Adaptive,
    times: [f64; 2],
    lanes: Vec<Option<Lane>>,
    /// `(width, LANES)`
    state: Vec<E>,
    next: Vec<E>,
    /// Dynamics of the stages, `(width, LANES)` each; the first are those of the state.
    stages: Vec<Vec<E>>,
    /// State of the latest stage.
    inner: Vec<E>,
    context: Vec<E>,
    probes: Vec<E>,
    /// Of the latest stages, in order: all new ones, or a single one that is reused.
    evaluations: VecDeque<Evaluation<E>>,
    keep: usize,
}

/// A block of rows prepared for the lanes: with directions, first rates and first step sizes.
struct Ready<E> {
    waiting: Waiting<E>,
    lanes: Vec<Lane>,
    rates: Vec<E>,
    start: Evaluation<E>,
    next: usize,
}

/// Solves all rows that `fetch` returns, block after block, and passes each to `done`.
///
/// With a `record`, the rows of the only block keep their lanes and their steps are recorded.
pub(crate) fn solve_rows<E: Real>(
    dynamics: &Dynamics<E>,
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
        dynamics: &'a Dynamics<E>,
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

    /// Computes first rates and first step sizes.
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

    /// Records the steps that will be accepted, before they are.
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

    /// Attempts a step in every lane; returns the errors, in units of the tolerance.
    fn attempt(&mut self) -> Vec<f64> {
        let (sign, start, length) = (self.sign(), self.times[0], self.length());
        let mut steps = vec![0.0; LANES];
        for (step, lane) in steps.iter_mut().zip(&mut self.lanes) {
            if let Some(lane) = lane {
                let left = length - lane.elapsed;
                // A step that nearly reaches the end is stretched, so that no step of rounding size remains.
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
                // The last stage is the first of the next step, at exactly its start time.
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

//! Continuous-time flows: the solution map of an ODE as a bijector (review, Section 4).

pub(crate) mod adjoint;
pub(crate) mod batched;
pub(crate) mod row_batch;
pub(crate) mod solution_map;
pub(crate) mod solve;

use std::sync::Arc;

use flows_core::operation::{apply_with, column};
use flows_core::parameters::{Role, Visitor, VisitorMut, visit_part, visit_part_mut};
use flows_core::rowwise::{scaled, sum};
use flows_core::tensor::{batch, check_columns, per_row};
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Direction, Error, Exactness, FieldFlow, Mapped,
    Parameters, Purpose, Real, Result, Stream, Tape, Values, Work, stream,
};
use rand::{Rng, RngExt};

use crate::continuous::row_batch::{RowBatch, solve_batch};
use crate::continuous::solve::GradientMethod;
use crate::dynamics::Dynamics;
use crate::dynamics::penalty::Penalties;
use crate::field::Field;
use crate::field::velocity::Velocity;
use crate::requirement::require;
use crate::solver::path::STAGE_MEMORY;
use crate::solver::solution::RowReport;
use crate::solver::{Accuracy, Solver, check_interval};

/// The flow of an ODE: x = z(t1) with dz/dt = f(t, z), z(t0) = z; the inverse integrates from t1
/// back to t0.
///
/// ```text
/// log |det dx/dz| = integral over [t0, t1] of tr df/dz
/// ```
///
/// # Accuracy
/// Values and log-dets to about the tolerance of the solver. With the row-wise solver and an exact
/// trace, a row's log-density has the same bits in any batch; with the other adaptive solvers rows
/// share step sizes, so it depends on the batch within the tolerance.
///
/// # Reference
/// Chen et al., *Neural Ordinary Differential Equations*, NeurIPS 2018, eq. 8.
/// <https://arxiv.org/abs/1806.07366>
#[derive(Debug)]
pub struct Continuous<E: Real> {
    field: Field<E>,
    times: [f64; 2],
    training: Accuracy,
    reporting: Accuracy,
    gradient: GradientMethod,
    penalties: Penalties,
    /// ln t1, where it is learned; t0 is then 0.
    end_time: Option<Batch<E>>,
    /// Memory for the stages of a solve, in bytes.
    stage_memory: usize,
    /// Largest relative change of the length of the interval in training.
    jitter: f64,
    /// The present change.
    jittered: f64,
    purpose: Purpose,
    probe_seed: u64,
}

/// Number of stages of a path, at equal distances of time.
const STAGES: usize = 12;

impl<E: Real> Continuous<E> {
    /// Integrates `field` from `times[0]` to `times[1]`, with one accuracy for training and one for
    /// reporting, which is set at first.
    ///
    /// # Errors
    /// [`Error::Parameter`] for times that are not finite or coincide, a divergence that the field
    /// cannot give, or a setting of a solver outside its range.
    pub fn new(
        field: impl Into<Field<E>>,
        times: [f64; 2],
        training: Accuracy,
        reporting: Accuracy,
    ) -> Result<Self> {
        let field = field.into();
        check_interval(times)?;
        for accuracy in [training, reporting] {
            accuracy.divergence.check(field.kernel().dim(), field.kernel().structure())?;
            accuracy.solver.check::<E>()?;
        }
        Ok(Self {
            field,
            times,
            training,
            reporting,
            gradient: GradientMethod::default(),
            penalties: Penalties::default(),
            end_time: None,
            stage_memory: STAGE_MEMORY,
            jitter: 0.0,
            jittered: 0.0,
            purpose: Purpose::Reporting,
            probe_seed: 0,
        })
    }

    /// The field with its weights; [`ResidualSteps`](crate::ResidualSteps) can run a copy.
    pub fn field(&self) -> &Field<E> {
        &self.field
    }

    /// Replaces the gradient method, which is the replay by default.
    #[must_use]
    pub fn with_gradient(mut self, gradient: GradientMethod) -> Self {
        self.gradient = gradient;
        self
    }

    /// Replaces the memory for the stages that a solve keeps for a replay, 64 MiB by default;
    /// stages beyond are recomputed.
    #[must_use]
    pub fn with_stage_memory(mut self, bytes: usize) -> Self {
        self.stage_memory = bytes;
        self
    }

    /// Adds penalties on the path in training.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a weight that is negative or not finite, or a penalty that the
    /// field or the training divergence cannot give.
    pub fn with_penalties(mut self, penalties: Penalties) -> Result<Self> {
        penalties.check(self.training.divergence, self.field.kernel().structure())?;
        self.penalties = penalties;
        Ok(self)
    }

    /// Makes the end time a parameter, which starts at its present value; the start time must be 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the interval is [0, t1] with t1 > 0.
    pub fn with_learned_end_time(mut self) -> Result<Self> {
        let [t0, t1] = self.times;
        let requirement = "0, and below the end time, if that is learned";
        require(t0 == 0.0 && t1 >= 0.0, "starting time", requirement, t0)?;
        self.end_time = Some(batch(vec![E::of(t1.ln())], 1, 1)?);
        Ok(self)
    }

    /// Randomises the length of the interval in each training step, uniformly within this fraction
    /// of it on either side, until the step ends or a report is made.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the fraction is in [0, 1).
    ///
    /// # Reference
    /// Ghosh, Behl, Dupont, Torr, Namboodiri, *STEER: Simple Temporal Regularization For Neural
    /// ODEs*, NeurIPS 2020. <https://arxiv.org/abs/2006.10711>
    pub fn with_jitter(mut self, fraction: f64) -> Result<Self> {
        let (name, requirement) = ("jitter of the end time", "at least 0 and below 1");
        require((0.0..1.0).contains(&fraction), name, requirement, fraction)?;
        self.jitter = fraction;
        Ok(self)
    }

    /// Reports the solve of each row, with the row-wise solver of the present purpose.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with another solver; as [`Bijector::forward`] for the shapes. A solve
    /// that stops early is a report, not an error.
    pub fn row_reports(
        &self,
        input: &Batch<E>,
        context: &Context<E>,
        direction: Direction,
    ) -> Result<Vec<RowReport>> {
        self.check(input, context)?;
        let Solver::RowWise(settings) = self.accuracy().solver else {
            let advice = "choose the row-wise solver";
            return Err(Error::Unavailable { what: "a report for each row", advice });
        };
        let dynamics = self.dynamics(true, &[]);
        let rows = self.rows(input, context, self.probes(input.rows()));
        Ok(solve_batch(&dynamics, (settings, self.interval(direction)), &rows).1)
    }

    fn rows(&self, input: &Batch<E>, context: &Context<E>, probes: Vec<E>) -> RowBatch<E> {
        let context = context.features().map(Values::values).unwrap_or_default();
        RowBatch { start: input.values(), context, probes, parameters: self.field.values() }
    }

    fn accuracy(&self) -> Accuracy {
        match self.purpose {
            Purpose::Training => self.training,
            Purpose::Reporting => self.reporting,
        }
    }

    /// Start and end time of a solve.
    fn interval(&self, direction: Direction) -> [f64; 2] {
        let [t0, mut t1] = self.times;
        if let Some(end) = &self.end_time {
            t1 = end.values().first().map_or(t1, |ln| ln.as_f64().exp());
        }
        if self.purpose == Purpose::Training {
            t1 = t0 + (t1 - t0) * (1.0 + self.jittered);
        }
        match direction {
            Direction::Forward => [t0, t1],
            Direction::Inverse => [t1, t0],
        }
    }

    fn dynamics(&self, with_trace: bool, penalties: &[(crate::Penalty, f64)]) -> Dynamics<E> {
        Dynamics {
            kernel: Arc::clone(self.field.kernel()),
            divergence: with_trace.then_some(self.accuracy().divergence),
            penalties: penalties.iter().map(|(penalty, _)| *penalty).collect(),
        }
    }

    /// The probes of all rows, fixed until they are redrawn.
    fn probes(&self, rows: usize) -> Vec<E> {
        let kernel = self.field.kernel();
        let mut rng = stream(self.probe_seed, "probes");
        self.accuracy().divergence.draw(rows, kernel.dim(), kernel.structure(), &mut rng)
    }

    fn check(&self, input: &Batch<E>, context: &Context<E>) -> Result<()> {
        check_columns("continuous flow", input, self.field.kernel().dim())?;
        let features = self.field.kernel().context_dim();
        context.check("context of a continuous flow", features, input.rows())
    }

    fn map(
        &self,
        input: &Batch<E>,
        context: &Context<E>,
        direction: Direction,
        tape: &mut Tape<E>,
    ) -> Result<Mapped<E>> {
        self.check(input, context)?;
        let training = tape.is_recording() && self.purpose == Purpose::Training;
        let penalties = if training { self.penalties.active() } else { Vec::new() };
        let dynamics = self.dynamics(true, &penalties);
        let [start, end] = self.interval(direction);
        let solved = self.solve(dynamics, input, context, [start, end], tape)?;
        let (mut outputs, work) = solved;
        let mut others = outputs.split_off(1).into_iter();
        let value = outputs.remove(0);
        let log_det = match others.next() {
            Some(log_det) => column(log_det, tape)?,
            None => per_row(Vec::new())?,
        };
        // Backwards in time the solver's integrals are negative; a path costs the same either way.
        let sign = (end - start).signum();
        let mut terms = Vec::with_capacity(penalties.len());
        for (integral, (_, weight)) in others.zip(&penalties) {
            let integral = column(integral, tape)?;
            terms.push(scaled(integral, sign * weight, tape)?);
        }
        let penalty = if terms.is_empty() { None } else { Some(sum(terms, tape)?) };
        Ok(Mapped { value, log_det, penalty, work })
    }
}

impl<E: Real> Parameters<E> for Continuous<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        visit_part(&self.field, "field", f);
        if let Some(end) = &self.end_time {
            f("log_end_time", Role::Learned, end);
        }
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        visit_part_mut(&mut self.field, "field", f)?;
        match &mut self.end_time {
            Some(end) => f("log_end_time", Role::Learned, end),
            None => Ok(()),
        }
    }
}

impl<E: Real> Bijector<E> for Continuous<E> {
    fn dim(&self) -> usize {
        self.field.kernel().dim()
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::Integrated, inverse: Cost::Integrated }
    }

    fn context_dim(&self) -> usize {
        self.field.kernel().context_dim()
    }

    fn forward(&self, z: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.map(z, context, Direction::Forward, tape)
    }

    fn inverse(&self, x: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.map(x, context, Direction::Inverse, tape)
    }

    fn image(&self, z: &Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        self.check(z, context)?;
        let (dynamics, times) = (self.dynamics(false, &[]), self.interval(Direction::Forward));
        let (mut outputs, work) = self.solve(dynamics, z, context, times, &mut Tape::none())?;
        Ok((outputs.remove(0), work))
    }

    fn stages(&self, z: &Batch<E>, context: &Context<E>) -> Result<Vec<Batch<E>>> {
        self.check(z, context)?;
        let [t0, t1] = self.interval(Direction::Forward);
        let time = |stage: usize| t0 + (t1 - t0) * stage as f64 / STAGES as f64;
        let mut stages = vec![z.clone()];
        for stage in 0..STAGES {
            let (times, start) = ([time(stage), time(stage + 1)], &stages[stage]);
            let (dynamics, none) = (self.dynamics(false, &[]), &mut Tape::none());
            stages.extend(self.solve(dynamics, start, context, times, none)?.0.into_iter().take(1));
        }
        Ok(stages)
    }

    fn exactness(&self) -> Exactness {
        self.accuracy().divergence.exactness()
    }

    fn set_purpose(&mut self, purpose: Purpose) -> Result<()> {
        self.purpose = purpose;
        if purpose == Purpose::Reporting {
            // The change belongs to a step, and reports are made between steps.
            self.jittered = 0.0;
        }
        Ok(())
    }

    fn begin_step(&mut self, rng: &mut Stream) -> Result<()> {
        self.probe_seed = rng.next_u64();
        self.jittered = self.jitter * rng.random_range(-1.0..=1.0);
        Ok(())
    }

    fn discretises_training(&self) -> bool {
        self.training.solver != self.reporting.solver
    }

    fn refine_training(&mut self) {
        self.training.solver = self.training.solver.halved::<E>();
    }

    fn as_field(&self) -> Option<&dyn FieldFlow<E>> {
        Some(self)
    }
}

impl<E: Real> FieldFlow<E> for Continuous<E> {
    fn velocity(
        &self,
        points: &Batch<E>,
        fractions: &[E],
        context: &Context<E>,
        tape: &mut Tape<E>,
    ) -> Result<Batch<E>> {
        self.check(points, context)?;
        let [t0, t1] = self.interval(Direction::Forward);
        let at = |&s: &E| E::of(t0 + (t1 - t0) * s.as_f64());
        let time = batch(fractions.iter().map(at).collect(), fractions.len(), 1)?;
        let operation = Velocity { kernel: Arc::clone(self.field.kernel()), length: t1 - t0 };
        let inputs: Vec<&Batch<E>> =
            [points, &time].into_iter().chain(context.features()).collect();
        let (tensors, values) = (self.field.tensors(), self.field.values());
        Ok(apply_with(operation, &inputs, tensors, values, tape)?.remove(0))
    }
}

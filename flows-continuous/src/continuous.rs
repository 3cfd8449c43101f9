//! Continuous-time flows: the solution map of an ODE as a bijector (review, Section 4).

use std::num::NonZeroUsize;

use flows_core::operation::{apply, column};
use flows_core::parameters::{Visitor, VisitorMut, visit_part, visit_part_mut};
use flows_core::tensor::{batch, check_columns, per_row};
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Error, LogDet, Mapped, Mode, Network, Parameters,
    Purpose, Real, Result, SplitTape, Stream, Values, Work, stream,
};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::batched::{BatchedField, State};
use crate::divergence::Divergence;
use crate::field::FieldKernel;
use crate::fixed_step::{integrate, uniform_mesh};
use crate::replay::Replay;
use crate::solution::{Failure, SolveError, Status};
use crate::tableau::{DORMAND_PRINCE, EULER, MIDPOINT, RK4, Tableau};
use crate::{Adaptive, dopri5};

/// How the ODE is solved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// Equal steps of Euler's method.
    Euler(Steps),
    /// Equal steps of the midpoint rule.
    Midpoint(Steps),
    /// Equal steps of the classical fourth-order method.
    Rk4(Steps),
    /// Dormand-Prince 5(4) with steps chosen for the tolerance; one step size for the batch.
    Dopri5(Adaptive),
}

/// Most equal steps of a solve; training keeps the state at each.
const MOST_STEPS: usize = 1_000_000;

impl Solver {
    fn check<E: Real>(&self) -> Result<()> {
        match self {
            Self::Dopri5(settings) => settings.check::<E>().map_err(wrong),
            Self::Euler(Steps { steps })
            | Self::Midpoint(Steps { steps })
            | Self::Rk4(Steps { steps })
                if steps.get() > MOST_STEPS =>
            {
                let (name, requirement) = ("steps of the solver", "at most 1000000");
                Err(Error::Parameter { name, requirement, value: steps.get() as f64 })
            }
            _ => Ok(()),
        }
    }
}

/// Number of equal steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    /// Steps over the whole interval.
    pub steps: NonZeroUsize,
}

/// A solver with a divergence: what one purpose uses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// How the ODE is solved.
    pub solver: Solver,
    /// How the trace of the Jacobian is computed.
    pub divergence: Divergence,
}

/// x = z(t1) with dz/dt = f(t, z), z(t0) = z; the inverse integrates from t1 back to t0.
///
/// ```text
/// log |det dx/dz| = integral over [t0, t1] of tr df/dz
/// ```
/// Gradients are those of the discrete solve: the accepted steps are replayed backwards.
///
/// # Accuracy
/// Values and log-dets to about the tolerance of the solver; rows share step sizes, so that a row's
/// result depends on its batch mates within the tolerance.
///
/// # Reference
/// Chen et al., *Neural Ordinary Differential Equations*, NeurIPS 2018, eq. 8.
/// <https://arxiv.org/abs/1806.07366>
#[derive(Debug)]
pub struct Continuous<E: Real, K: FieldKernel<E>> {
    field: Network<E, K>,
    times: [f64; 2],
    training: Accuracy,
    reporting: Accuracy,
    purpose: Purpose,
    probe_seed: u64,
}

impl<E: Real, K: FieldKernel<E>> Continuous<E, K> {
    /// Integrates `field` from `times[0]` to `times[1]`, with one accuracy for gradients and one
    /// for reported numbers; it starts out set for reporting.
    ///
    /// # Errors
    /// [`Error::Parameter`] for times that are not finite or coincide, without probes, or for a
    /// setting of a solver outside its range.
    pub fn new(
        field: Network<E, K>,
        times: [f64; 2],
        training: Accuracy,
        reporting: Accuracy,
    ) -> Result<Self> {
        let length = times[1] - times[0];
        if !length.is_finite() || length == 0.0 {
            let (name, requirement) = ("length of the time interval", "finite and not 0");
            return Err(Error::Parameter { name, requirement, value: length });
        }
        for accuracy in [training, reporting] {
            accuracy.divergence.check()?;
            accuracy.solver.check::<E>()?;
        }
        Ok(Self { field, times, training, reporting, purpose: Purpose::Reporting, probe_seed: 0 })
    }

    fn accuracy(&self) -> Accuracy {
        match self.purpose {
            Purpose::Training => self.training,
            Purpose::Reporting => self.reporting,
        }
    }

    /// The probes of all rows, the same until they are drawn again.
    fn probes(&self, rows: usize) -> Option<Vec<E>> {
        let dim = self.field.kernel().dim();
        let divergence = self.accuracy().divergence;
        (divergence != Divergence::Exact)
            .then(|| divergence.draw(rows, dim, &mut stream(self.probe_seed, "probes")))
    }

    fn map<T: Mode<E>>(
        &self,
        input: Batch<E, T>,
        context: &Context<E>,
        [t0, t1]: [f64; 2],
    ) -> Result<Mapped<E, T>> {
        let dim = self.field.kernel().dim();
        self.check(&input, context)?;
        let Accuracy { solver, divergence } = self.accuracy();
        let (input, mut tape) = input.split_tape();
        let rows = input.rows();
        let probes = self.probes(rows);
        let tensors: Vec<Vec<E>> = self.field.tensors().iter().map(Values::values).collect();
        let features = context.features().map(Values::values).unwrap_or_default();
        let field = BatchedField::new(self.field.kernel(), &tensors, &features, rows);
        let mut field = field.with_divergence(divergence, probes.as_deref().unwrap_or(&[]));
        let state = State::new(dim + 1, rows);
        let start = (state.pack(&input.values(), dim), T::OWNS_TAPE);
        let path = solve(solver, [t0, t1], start, |t, y, dy| {
            field.evaluate(t, y, dy);
        })?;
        let work = path.work;
        if !T::OWNS_TAPE {
            let (value, log_det) = state.unpack(path.last(), dim);
            let (value, log_det) = (batch(value, rows, dim)?, per_row(log_det)?);
            return Ok(Mapped { value, log_det, tape, work });
        }
        let trajectory = batch(state.trajectory(&path.states), rows, (dim + 1) * path.mesh.len())?;
        let probes = probes.map(|p| batch(p, rows, dim * divergence.tangents(dim))).transpose()?;
        let mut inputs = vec![&input, &trajectory];
        inputs.extend(&probes);
        inputs.extend(context.features());
        let (kernel, tableau) = (self.field.kernel().clone(), solver.tableau());
        let replay = Replay { kernel, tableau, mesh: path.mesh, divergence };
        let mut outputs = apply(replay, &inputs, self.field.tensors(), &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        Ok(Mapped { value: outputs.remove(0), log_det, tape, work })
    }

    fn check<T>(&self, input: &Batch<E, T>, context: &Context<E>) -> Result<()> {
        check_columns("continuous flow", input, self.field.kernel().dim())?;
        let features = self.field.kernel().context_dim();
        context.check("context of a continuous flow", features, input.rows())
    }
}

impl Solver {
    fn tableau(self) -> &'static Tableau {
        match self {
            Self::Euler(_) => &EULER,
            Self::Midpoint(_) => &MIDPOINT,
            Self::Rk4(_) => &RK4,
            Self::Dopri5(_) => &DORMAND_PRINCE,
        }
    }
}

/// States at the mesh of a solve.
struct Path<E> {
    mesh: Vec<f64>,
    states: Vec<Vec<E>>,
    work: Work,
}

impl<E> Path<E> {
    fn last(&self) -> &[E] {
        self.states.last().map_or(&[], Vec::as_slice)
    }
}

fn solve<E: Real>(
    solver: Solver,
    [t0, t1]: [f64; 2],
    (start, keep): (Vec<E>, bool),
    mut field: impl FnMut(f64, &[E], &mut [E]),
) -> Result<Path<E>> {
    let mut velocity = |t: f64, y: &[E], dy: &mut [E]| {
        field(t, y, dy);
        Ok(())
    };
    match solver {
        Solver::Dopri5(settings) => {
            let solution = dopri5(&settings, t0, t1, start, velocity).map_err(wrong)?;
            let work = Work {
                field_evaluations: solution.evaluations as u64,
                steps_accepted: solution.accepted as u64,
                steps_rejected: solution.rejected as u64,
                ..Work::default()
            };
            if solution.status != Status::Finished {
                return Err(stopped(solution.time, solution.status, work));
            }
            let mut states = solution.earlier;
            states.push(solution.state);
            Ok(Path { mesh: solution.mesh, states, work })
        }
        Solver::Euler(Steps { steps })
        | Solver::Midpoint(Steps { steps })
        | Solver::Rk4(Steps { steps }) => {
            let mesh = uniform_mesh(t0, t1, steps).map_err(wrong)?;
            // The states between serve the gradient only.
            let mut states = if keep { vec![start.clone()] } else { Vec::new() };
            let (mut y, mut evaluations) = (start, 0);
            for ends in mesh.windows(2) {
                evaluations +=
                    integrate(solver.tableau(), ends, &mut y, &mut velocity).map_err(wrong)?;
                if keep {
                    states.push(y.clone());
                }
            }
            if !keep {
                states.push(y);
            }
            let work = Work {
                field_evaluations: evaluations as u64,
                steps_accepted: steps.get() as u64,
                ..Work::default()
            };
            Ok(Path { mesh, states, work })
        }
    }
}

fn stopped(time: f64, status: Status, work: Work) -> Error {
    Error::Stopped {
        method: "the ODE solver",
        reached: format!("time {time:.4} after {} evaluations", work.field_evaluations),
        status: status.to_string(),
        advice: status.advice(),
    }
}

fn wrong(error: SolveError) -> Error {
    match error {
        SolveError::Tolerance { name, value, .. } => {
            let requirement = match name {
                "rtol" => "above rounding: at least 9e-16 in f64, 4.8e-7 in f32",
                _ => "above rounding: at least 2.3e-16 in f64, 1.2e-7 in f32",
            };
            Error::Parameter { name, requirement, value }
        }
        SolveError::Parameter { name, requirement, value } => {
            Error::Parameter { name, requirement, value }
        }
        SolveError::Failed(Failure::NonFinite { time, .. }) => {
            stopped(time, Status::NonFinite, Work::default())
        }
        other => Error::Stopped {
            method: "the ODE solver",
            reached: "its start".into(),
            status: other.to_string(),
            advice: "check the time interval and the solver settings",
        },
    }
}

impl<E: Real, K: FieldKernel<E>> Parameters<E> for Continuous<E, K> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        visit_part(&self.field, "field", f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        visit_part_mut(&mut self.field, "field", f)
    }
}

impl<E: Real, K: FieldKernel<E>> Bijector<E> for Continuous<E, K> {
    fn dim(&self) -> usize {
        self.field.kernel().dim()
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::Integrated, inverse: Cost::Integrated }
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.map(z, context, self.times)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        let [t0, t1] = self.times;
        self.map(x, context, [t1, t0])
    }

    fn forward_value(&self, z: Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        self.check(&z, context)?;
        let (dim, rows) = (self.field.kernel().dim(), z.rows());
        let tensors: Vec<Vec<E>> = self.field.tensors().iter().map(Values::values).collect();
        let features = context.features().map(Values::values).unwrap_or_default();
        let mut field = BatchedField::new(self.field.kernel(), &tensors, &features, rows);
        let state = State::new(dim, rows);
        let start = (state.pack(&z.values(), dim), false);
        let path = solve(self.accuracy().solver, self.times, start, |t, y, dy| {
            field.evaluate(t, y, dy);
        })?;
        Ok((batch(state.unpack(path.last(), dim).0, rows, dim)?, path.work))
    }

    fn log_det(&self) -> LogDet {
        self.accuracy().divergence.log_det()
    }

    fn set_purpose(&mut self, purpose: Purpose) {
        self.purpose = purpose;
    }

    fn resample_probes(&mut self, rng: &mut Stream) {
        self.probe_seed = rng.next_u64();
    }
}

//! The continuous adjoint method: gradients by a second ODE, integrated backwards.
//!
//! With a(t) the gradient of the state at time t and b those of log-det and penalties (constant), the
//! rates r = (f, tr J, penalties) and lambda = (a, b),
//! ```text
//! dz/dt = f,   da/dt = -lambda^T dr/dz,   dg/dt = -lambda^T dr/d(context, parameters)
//! de/dt = -(lambda . r + t lambda^T dr/dt)
//! ```
//! from the end back to the start, g and e starting at 0; e becomes the gradient of ln T where all
//! times are multiples of T.
//!
//! Reference: Pontryagin et al. 1962; Chen, Rubanova, Bettencourt, Duvenaud, *Neural Ordinary
//! Differential Equations*, NeurIPS 2018, appendix B. <https://arxiv.org/abs/1806.07366>

use std::num::NonZeroUsize;

use flows_core::lanes::{add, add_product, named_mut};
use flows_core::operation::LANES;
use flows_core::{Real, Result};

use crate::dynamics::{Buffers, Dynamics, DynamicsGradients, Evaluation, FixedInputs};
use crate::solver::fixed_step::{integrate, uniform_time};
use crate::solver::runge_kutta::SolveGradients;
use crate::solver::solution::{FieldError, Keep};
use crate::solver::{Solver, refused, stopped};

/// Equal steps in one mesh.
const TOGETHER: usize = 64;

/// The adjoint of a solve from `times[0]` to `times[1]`.
pub(crate) struct Adjoint<'a, E> {
    pub(crate) dynamics: &'a Dynamics<E>,
    pub(crate) solver: Solver,
    pub(crate) times: [f64; 2],
    pub(crate) learns_end: bool,
}

impl<E: Real> Adjoint<'_, E> {
    /// From the gradient of the end, in `into.state`, to that of the start; `end` is the end state.
    /// It takes memory for a few copies of the augmented state.
    ///
    /// # Errors
    /// [`Error::Stopped`](flows_core::Error::Stopped) where the adjoint cannot be integrated.
    pub(crate) fn pull(
        &self,
        end: &[E],
        mut evaluation: Evaluation<E>,
        fixed: FixedInputs<'_, E>,
        into: SolveGradients<'_, '_, E>,
    ) -> Result<()> {
        let size = self.dynamics.kernel.dim() * LANES;
        let end_time = usize::from(self.learns_end) * LANES;
        let parts = [size, size, fixed.context.len(), end_time];
        let lengths = parts.into_iter().chain(fixed.parameters.iter().map(|p| p.len()));
        let lengths: Vec<usize> = lengths.collect();
        let mut y = end[..size].to_vec();
        y.extend_from_slice(&into.state[..size]);
        y.resize(lengths.iter().sum(), E::zero());
        let mut lambda = into.state.to_vec();
        let mut buffers = Buffers::default();
        let velocity = |t: f64, y: &[E], dy: &mut [E]| {
            evaluation.time.fill(E::of(t));
            evaluation.move_to(y);
            lambda[..size].copy_from_slice(&y[size..2 * size]);
            self.dynamics.evaluate(&mut evaluation, fixed);
            dy.fill(E::zero());
            let mut parts = split(dy, &lengths);
            let (first, parameters) = parts.split_at_mut(4);
            let [dz, da, dc, de] = named_mut(first);
            let mut d_time = [E::zero(); LANES];
            let gradients =
                DynamicsGradients { state: da, time: &mut d_time, context: dc, parameters };
            self.dynamics.backward(&mut evaluation, fixed, &lambda, gradients, &mut buffers);
            let Evaluation { time, rates, .. } = &evaluation;
            dz.copy_from_slice(&rates[..size]);
            if self.learns_end {
                add_product(de, time, &d_time);
                for (l, r) in lambda.chunks_exact(LANES).zip(rates.chunks_exact(LANES)) {
                    add_product(de, l, r);
                }
            }
            dy[size..].iter_mut().for_each(|d| *d = -*d);
            Ok(())
        };
        let mut start = self.integrate(y, velocity)?;
        let mut parts = split(&mut start, &lengths);
        let (first, sums) = parts.split_at_mut(4);
        let [_, da, dc, de] = named_mut(first);
        into.state[..size].copy_from_slice(da);
        add(into.context, dc);
        add(into.end_time, de);
        into.parameters.iter_mut().zip(sums).for_each(|(target, sum)| add(target, sum));
        Ok(())
    }

    /// Integrates back to the start.
    fn integrate(
        &self,
        mut y: Vec<E>,
        mut velocity: impl FnMut(f64, &[E], &mut [E]) -> std::result::Result<(), FieldError>,
    ) -> Result<Vec<E>> {
        let [t0, t1] = self.times;
        if let Some(settings) = self.solver.adaptive() {
            let (method, times) = (self.solver.method(), [t1, t0]);
            let solved = settings.solve_problem(method, Keep::Last, times, y, &mut velocity);
            let solution = solved.map_err(refused)?;
            let stopped = || stopped(None, solution.report());
            return if solution.is_finished() { Ok(solution.state) } else { Err(stopped()) };
        }
        let steps = self.solver.equal_steps().unwrap_or(NonZeroUsize::MIN);
        // A few steps at a time, because the mesh takes memory.
        for first in (0..steps.get()).step_by(TOGETHER) {
            let last = (first + TOGETHER).min(steps.get());
            let time = |index| uniform_time([t1, t0], steps, index);
            let mesh: Vec<f64> = (first..=last).map(time).collect();
            integrate(self.solver.tableau(), &mesh, &mut y, &mut velocity).map_err(refused)?;
        }
        Ok(y)
    }
}

/// The parts of the augmented state: z, a, g of the context, e and g of each parameter.
fn split<'a, E>(mut augmented: &'a mut [E], lengths: &[usize]) -> Vec<&'a mut [E]> {
    let mut part = |&length| augmented.split_off_mut(..length).unwrap_or_default();
    lengths.iter().map(&mut part).collect()
}

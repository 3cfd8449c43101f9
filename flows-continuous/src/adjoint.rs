//! The continuous adjoint: gradients by one more ODE, integrated backwards.
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

use flows_core::Real;
use flows_core::operation::LANES;

use crate::field::{FieldKernel, add_product};
use crate::fixed_step::{integrate, uniform_time};
use crate::rates::{Given, RateGradients, Rates, RatesWorkspace};
use crate::runge_kutta::SolveGradients;
use crate::solution::Keep;
use crate::solver::Solver;

/// Equal steps that share one mesh.
const TOGETHER: usize = 64;

/// The adjoint of a solve from `times[0]` to `times[1]`.
pub(crate) struct Adjoint<'a, E, K> {
    pub(crate) rates: &'a Rates<E, K>,
    pub(crate) solver: Solver,
    pub(crate) times: [f64; 2],
    pub(crate) learns_end: bool,
}

impl<E: Real, K: FieldKernel<E>> Adjoint<'_, E, K> {
    /// From the gradient of the end, in `into.state`, to that of the start; `end` is the state
    /// there. Memory: a few copies of the augmented state.
    pub(crate) fn pull(
        &self,
        end: &[E],
        mut workspace: RatesWorkspace<E, K::Workspace>,
        given: Given<'_, E>,
        into: SolveGradients<'_, '_, E>,
    ) {
        let size = self.rates.kernel.dim() * LANES;
        let lengths: Vec<usize> = given.parameters.iter().map(|p| p.len()).collect();
        let sums: usize = lengths.iter().sum();
        let others = given.context.len() + usize::from(self.learns_end) * LANES + sums;
        let mut y = end[..size].to_vec();
        y.extend_from_slice(&into.state[..size]);
        y.resize(2 * size + others, E::zero());
        let mut lambda = into.state.to_vec();
        let mut rates = vec![E::zero(); self.rates.width() * LANES];
        let velocity = |t: f64, y: &[E], dy: &mut [E]| {
            let time = [E::of(t); LANES];
            lambda[..size].copy_from_slice(&y[size..2 * size]);
            self.rates.forward(&time, &y[..size], given, &mut workspace, &mut rates);
            dy.fill(E::zero());
            let (dz, rest) = dy.split_at_mut(size);
            let (da, rest) = rest.split_at_mut(size);
            let (dc, rest) = rest.split_at_mut(given.context.len());
            let (de, mut rest) = rest.split_at_mut(usize::from(self.learns_end) * LANES);
            let mut slots = Vec::with_capacity(lengths.len());
            for &length in &lengths {
                let (slot, others) = rest.split_at_mut(length);
                slots.push(slot);
                rest = others;
            }
            let mut d_time = [E::zero(); LANES];
            let gradients =
                RateGradients { state: da, time: &mut d_time, context: dc, parameters: &mut slots };
            self.rates.backward(&time, given, &mut workspace, &lambda, gradients);
            dz.copy_from_slice(&rates[..size]);
            if self.learns_end {
                add_product(de, &time, &d_time);
                for (l, r) in lambda.chunks_exact(LANES).zip(rates.chunks_exact(LANES)) {
                    add_product(de, l, r);
                }
            }
            dy[size..].iter_mut().for_each(|d| *d = -*d);
            Ok(())
        };
        let start = self.integrate(y, velocity);
        spread(&start[size..], size, into);
    }

    /// The solution at the start; not a number where there is none.
    fn integrate(
        &self,
        mut y: Vec<E>,
        mut velocity: impl FnMut(f64, &[E], &mut [E]) -> Result<(), crate::FieldError>,
    ) -> Vec<E> {
        let [t0, t1] = self.times;
        let size = y.len();
        let none = || vec![E::nan(); size];
        match (self.solver.adaptive(), self.solver.equal_steps()) {
            (Some(settings), _) => {
                let times = [t1, t0];
                match settings.solve(self.solver.method(), Keep::Last, times, y, velocity) {
                    Ok(solution) if solution.is_finished() => solution.state,
                    _ => none(),
                }
            }
            (None, Some(steps)) => {
                // A few steps at a time: their mesh takes memory.
                for first in (0..steps.get()).step_by(TOGETHER) {
                    let last = (first + TOGETHER).min(steps.get());
                    let time = |index| uniform_time([t1, t0], steps, index);
                    let mesh: Vec<f64> = (first..=last).map(time).collect();
                    let tableau = self.solver.tableau();
                    if integrate(tableau, &mesh, &mut y, &mut velocity).is_err() {
                        return none();
                    }
                }
                y
            }
            (None, None) => none(),
        }
    }
}

/// Hands the parts of the augmented state to where they belong.
fn spread<E: Real>(adjoint: &[E], size: usize, into: SolveGradients<'_, '_, E>) {
    into.state[..size].copy_from_slice(&adjoint[..size]);
    let (context, rest) = adjoint[size..].split_at(into.context.len());
    crate::field::add(into.context, context);
    let sums: usize = into.parameters.iter().map(|p| p.len()).sum();
    let (end, mut rest) = rest.split_at(rest.len() - sums);
    crate::field::add(into.end_time, end);
    for target in into.parameters.iter_mut() {
        let (own, others) = rest.split_at(target.len());
        crate::field::add(target, own);
        rest = others;
    }
}

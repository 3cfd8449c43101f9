//! One explicit Runge-Kutta step of a block, forwards and backwards; each row has a time and a step
//! length of its own.
//!
//! For a step y' = y + h sum b_i k_i with stages k_i = f(t_i, Y_i), Y_i = y + h sum a_ij k_j, and the
//! gradient L of y',
//! ```text
//! dk_i = h (b_i L + sum over m > i of a_mi dY_m),    dY_i = (df/dY_i)^T dk_i
//! dy = L + sum of dY_i
//! ```
//! Where all times are multiples of an end time T, the gradient of ln T is the sum over stages of
//! dk_i . k_i + t_i dt_i, because h and t_i are multiples of it.

use flows_core::Real;
use flows_core::operation::LANES;

use crate::field::{FieldKernel, add, add_product};
use crate::rates::{Given, RateGradients, Rates, RatesWorkspace};
use crate::tableau::Tableau;

/// One stage as it was evaluated.
#[derive(Debug)]
struct Stage<E, W> {
    time: Vec<E>,
    /// `(dim, LANES)`
    state: Vec<E>,
    /// `(width, LANES)`
    rates: Vec<E>,
    workspace: RatesWorkspace<E, W>,
    /// Gradient of the state.
    pulled: Vec<E>,
}

/// The stages of a step, evaluated again and again.
pub(crate) struct Stepper<'a, E: Real, K: FieldKernel<E>> {
    rates: &'a Rates<E, K>,
    tableau: &'static Tableau,
    stages: Vec<Stage<E, K::Workspace>>,
    d_rates: Vec<E>,
}

/// Gradients of a whole solve; added to, but for the state, which is replaced.
pub(crate) struct SolveGradients<'a, 'b, E> {
    /// Of state, log-det and penalties, `(width, LANES)`.
    pub(crate) state: &'a mut [E],
    /// Of the logarithm of the end time, row by row.
    pub(crate) end_time: &'a mut [E],
    pub(crate) context: &'a mut [E],
    pub(crate) parameters: &'a mut [&'b mut [E]],
}

impl<'a, E: Real, K: FieldKernel<E>> Stepper<'a, E, K> {
    /// For a solve with the directions of `start`. With `one_workspace`, stages share their
    /// workspace: enough unless a step is to be pulled back.
    pub(crate) fn new(
        rates: &'a Rates<E, K>,
        tableau: &'static Tableau,
        start: &RatesWorkspace<E, K::Workspace>,
    ) -> Self {
        let (dim, width) = (rates.kernel.dim(), rates.width());
        let stage = || {
            let mut workspace = RatesWorkspace::default();
            workspace.share_directions(start);
            Stage {
                time: vec![E::zero(); LANES],
                state: vec![E::zero(); dim * LANES],
                rates: vec![E::zero(); width * LANES],
                workspace,
                pulled: vec![E::zero(); dim * LANES],
            }
        };
        let stages = (0..tableau.stages()).map(|_| stage()).collect();
        Self { rates, tableau, stages, d_rates: vec![E::zero(); width * LANES] }
    }

    /// Evaluates the stages of the step from `y`, of which the first `dim` rows are read.
    pub(crate) fn evaluate(&mut self, time: &[E], length: &[E], y: &[E], given: Given<'_, E>) {
        let mut scaled = vec![E::zero(); LANES];
        for i in 0..self.stages.len() {
            let (before, rest) = self.stages.split_at_mut(i);
            let Some(stage) = rest.first_mut() else { return };
            let c = E::of(self.tableau.c[i]);
            for ((target, &t), &h) in stage.time.iter_mut().zip(time).zip(length) {
                *target = t + c * h;
            }
            let size = stage.state.len();
            stage.state.copy_from_slice(&y[..size]);
            for (weight, known) in self.tableau.a[i].iter().zip(before.iter()) {
                scale(&mut scaled, length, *weight);
                advance(&mut stage.state, &scaled, &known.rates);
            }
            let Stage { time, state, rates, workspace, .. } = stage;
            self.rates.forward(time, state, given, workspace, rates);
        }
    }

    /// Takes the step whose stages were evaluated last: `y` has all rows.
    pub(crate) fn advance(&self, length: &[E], y: &mut [E]) {
        let mut scaled = vec![E::zero(); LANES];
        for (weight, stage) in self.tableau.b.iter().zip(&self.stages) {
            scale(&mut scaled, length, *weight);
            advance(y, &scaled, &stage.rates);
        }
    }

    /// From the gradient of what a step leads to, to that of where it starts, for the stages that
    /// were evaluated last.
    pub(crate) fn pull(
        &mut self,
        length: &[E],
        given: Given<'_, E>,
        into: &mut SolveGradients<'_, '_, E>,
    ) {
        let mut scaled = vec![E::zero(); LANES];
        let dim = self.rates.kernel.dim();
        for i in (0..self.stages.len()).rev() {
            self.d_rates.fill(E::zero());
            scale(&mut scaled, length, self.tableau.b[i]);
            advance(&mut self.d_rates, &scaled, into.state);
            for (later, row) in self.tableau.a.iter().enumerate().skip(i + 1) {
                scale(&mut scaled, length, row[i]);
                let pulled = &self.stages[later].pulled;
                advance(&mut self.d_rates[..dim * LANES], &scaled, pulled);
            }
            let Stage { time, rates, workspace, pulled, .. } = &mut self.stages[i];
            for (d, rate) in self.d_rates.chunks_exact(LANES).zip(rates.chunks_exact(LANES)) {
                add_product(into.end_time, d, rate);
            }
            pulled.fill(E::zero());
            scaled.fill(E::zero());
            let gradients = RateGradients {
                state: pulled,
                time: &mut scaled,
                context: &mut *into.context,
                parameters: &mut *into.parameters,
            };
            self.rates.backward(time, given, workspace, &self.d_rates, gradients);
            add_product(into.end_time, time, &scaled);
        }
        for stage in &self.stages {
            add(&mut into.state[..dim * LANES], &stage.pulled);
        }
    }
}

/// `out = weight lengths`
fn scale<E: Real>(out: &mut [E], lengths: &[E], weight: f64) {
    let weight = E::of(weight);
    for (out, &length) in out.iter_mut().zip(lengths) {
        *out = weight * length;
    }
}

/// Adds to each row of `y` the factor of each lane times that row of `rates`.
fn advance<E: Real>(y: &mut [E], factors: &[E], rates: &[E]) {
    for (row, rate) in y.chunks_exact_mut(LANES).zip(rates.chunks_exact(LANES)) {
        add_product(row, factors, rate);
    }
}

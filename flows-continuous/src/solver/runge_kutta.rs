//! Explicit Runge-Kutta steps of a block, forwards and backwards; each row has its own time and
//! step length.
//!
//! For a step y' = y + h sum b_i k_i with stages k_i = f(t_i, Y_i), Y_i = y + h sum a_ij k_j, and the
//! gradient L of y',
//! ```text
//! dk_i = h (b_i L + sum over m > i of a_mi dY_m),    dY_i = (df/dY_i)^T dk_i
//! dy = L + sum of dY_i
//! ```
//! If all times are multiples of an end time T, the gradient of ln T is the sum over stages of dk_i
//! . k_i + t_i dt_i.

use flows_core::Real;
use flows_core::lanes::{add, add_product};
use flows_core::operation::LANES;

use crate::dynamics::{Buffers, Dynamics, DynamicsGradients, Evaluation, FixedInputs};
use crate::solver::tableau::Tableau;

/// A Runge-Kutta step with reusable stages.
pub(crate) struct Stepper<'a, E: Real> {
    dynamics: &'a Dynamics<E>,
    tableau: &'static Tableau,
    pub(crate) stages: Vec<Evaluation<E>>,
    d_rates: Vec<E>,
    /// Gradient of the state of each stage.
    pulled: Vec<Vec<E>>,
    buffers: Buffers<E>,
}

/// Gradients of a solve; added to, except for the state, which is replaced.
pub(crate) struct SolveGradients<'a, 'b, E> {
    /// Of state, log-det and penalties, `(width, LANES)`.
    pub(crate) state: &'a mut [E],
    /// Of the logarithm of the end time, row by row.
    pub(crate) end_time: &'a mut [E],
    pub(crate) context: &'a mut [E],
    pub(crate) parameters: &'a mut [&'b mut [E]],
}

impl<'a, E: Real> Stepper<'a, E> {
    /// For a solve with the directions of `start`.
    pub(crate) fn new(
        dynamics: &'a Dynamics<E>,
        tableau: &'static Tableau,
        start: &Evaluation<E>,
    ) -> Self {
        let stages = tableau.stages();
        Self {
            dynamics,
            tableau,
            stages: (0..stages).map(|_| start.another()).collect(),
            d_rates: vec![E::zero(); dynamics.width() * LANES],
            pulled: vec![vec![E::zero(); dynamics.kernel.dim() * LANES]; stages],
            buffers: Buffers::default(),
        }
    }

    /// Hands over the stages evaluated last and replaces them by other buffers.
    pub(crate) fn hand_over(&mut self) -> Vec<Evaluation<E>> {
        let others = self.stages.iter().map(Evaluation::another).collect();
        std::mem::replace(&mut self.stages, others)
    }

    /// Evaluates the stages of the step from `y`, reading its first `dim` rows.
    pub(crate) fn evaluate(
        &mut self,
        time: &[E],
        length: &[E],
        y: &[E],
        fixed: FixedInputs<'_, E>,
    ) {
        for i in 0..self.stages.len() {
            let (before, rest) = self.stages.split_at_mut(i);
            let stage = &mut rest[0];
            let c = E::of(self.tableau.c[i]);
            for ((target, &t), &h) in stage.time.iter_mut().zip(time).zip(length) {
                *target = t + c * h;
            }
            stage.move_to(y);
            for (weight, known) in self.tableau.a[i].iter().zip(before) {
                advance(stage.state(), length, *weight, &known.rates);
            }
            self.dynamics.evaluate(stage, fixed);
        }
    }

    /// Evaluates the first stage at its present place.
    pub(crate) fn evaluate_first(&mut self, fixed: FixedInputs<'_, E>) {
        self.dynamics.evaluate(&mut self.stages[0], fixed);
    }

    /// Takes the step of the stages evaluated last; `y` has all rows.
    pub(crate) fn advance(&self, length: &[E], y: &mut [E]) {
        for (weight, stage) in self.tableau.b.iter().zip(&self.stages) {
            advance(y.chunks_exact_mut(LANES), length, *weight, &stage.rates);
        }
    }

    /// Backward pass of the step whose stages were evaluated last: from the gradient of its end to
    /// that of its start.
    pub(crate) fn pull(
        &mut self,
        length: &[E],
        fixed: FixedInputs<'_, E>,
        into: &mut SolveGradients<'_, '_, E>,
    ) {
        for i in (0..self.stages.len()).rev() {
            self.d_rates.fill(E::zero());
            let d_rates = self.d_rates.chunks_exact_mut(LANES);
            advance(d_rates, length, self.tableau.b[i], into.state);
            for (later, row) in self.tableau.a.iter().enumerate().skip(i + 1) {
                let d_rates = self.d_rates.chunks_exact_mut(LANES);
                advance(d_rates, length, row[i], &self.pulled[later]);
            }
            let (stage, pulled) = (&mut self.stages[i], &mut self.pulled[i]);
            let rates = stage.rates.chunks_exact(LANES);
            for (d, rate) in self.d_rates.chunks_exact(LANES).zip(rates) {
                add_product(into.end_time, d, rate);
            }
            pulled.fill(E::zero());
            let mut d_time = [E::zero(); LANES];
            let gradients = DynamicsGradients {
                state: pulled,
                time: &mut d_time,
                context: &mut *into.context,
                parameters: &mut *into.parameters,
            };
            self.dynamics.backward(stage, fixed, &self.d_rates, gradients, &mut self.buffers);
            add_product(into.end_time, &stage.time, &d_time);
        }
        for pulled in &self.pulled {
            add(&mut into.state[..pulled.len()], pulled);
        }
    }
}

/// Adds to each row of `y` the step length of each lane times `weight` times that row of `rates`;
/// rows without a counterpart stay.
fn advance<'a, E: Real>(
    y: impl Iterator<Item = &'a mut [E]>,
    lengths: &[E],
    weight: f64,
    rates: &[E],
) {
    if weight == 0.0 {
        return;
    }
    let (mut factors, weight) = ([E::zero(); LANES], E::of(weight));
    for (factor, &length) in factors.iter_mut().zip(lengths) {
        *factor = weight * length;
    }
    for (row, rate) in y.zip(rates.chunks_exact(LANES)) {
        add_product(row, &factors, rate);
    }
}

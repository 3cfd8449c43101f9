//! Settings and step size control of the adaptive solvers, with one step size for the batch or for
//! each row.
//!
//! Reference: Hairer, Nørsett, Wanner, *Solving Ordinary Differential Equations I*, 2nd ed. 1993,
//! II.4 (error norm, first and later step sizes).

use serde::{Deserialize, Serialize};

use flows_core::Real;

use crate::solver::solution::SolveError;

/// An embedded explicit Runge–Kutta method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Order 5, error estimate of order 4; 6 evaluations an attempted step.
    Dopri5,
    /// Order 8, error estimates of orders 5 and 3; 11 evaluations an attempted step and one more if
    /// it is accepted. Worth it for tolerances below some 1e-6.
    Dop853,
}

impl Method {
    /// The constants of DOPRI5 and DOP853.
    pub(crate) const fn constants(self) -> Constants {
        match self {
            Self::Dopri5 => Constants {
                order: 5.0,
                stages: 6,
                velocities_at_end: 0,
                safety: 0.9,
                beta: 0.04,
                ratios: [0.2, 10.0],
            },
            Self::Dop853 => Constants {
                order: 8.0,
                stages: 11,
                velocities_at_end: 1,
                safety: 0.9,
                beta: 0.0,
                ratios: [0.333, 6.0],
            },
        }
    }
}

/// Settings of an adaptive solve.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `rtol` | required | tolerance per unit of state | ≥ 4 ε: 8.9e-16 in `f64`, 4.8e-7 in `f32` |
/// | `atol` | required | tolerance at state zero, in units of the state | ≥ ε: 2.3e-16, 1.2e-7 |
/// | `first_step` | estimated | length of the first step, in units of time | > 0 |
/// | `max_evaluations` | 100 000 | most calls of the field | ≥ 1; above 2³¹ − 1 as 2³¹ − 1 |
///
/// A step is accepted if the root of the *mean* over all components of
/// (errorᵢ / (atol + rtol max(|yᵢ|, |yᵢ′|)))² is at most 1. One component of n may thus be wrong by
/// √n tolerances, and a row's accuracy depends on the rows solved with it. With such norms e₅ and
/// e₃ of its two estimates, the error of DOP853 is e₅² / √(e₅² + e₃²/100).
///
/// The estimate of the first step takes two evaluations, of which the solve reuses one.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Adaptive {
    /// Relative tolerance.
    pub rtol: f64,
    /// Absolute tolerance.
    pub atol: f64,
    /// Length of the first step; estimated if absent.
    #[serde(default)]
    pub first_step: Option<f64>,
    /// Most calls of the vector field.
    #[serde(default = "default_evaluations")]
    pub max_evaluations: usize,
}

fn default_evaluations() -> usize {
    100_000
}

impl Adaptive {
    /// Settings with the defaults of the table.
    pub fn new(rtol: f64, atol: f64) -> Self {
        Self { rtol, atol, first_step: None, max_evaluations: default_evaluations() }
    }

    pub(crate) fn check<E: Real>(&self) -> Result<(), SolveError> {
        let epsilon = E::epsilon().as_f64();
        let largest = E::max_value().as_f64();
        // The package takes any tolerance: below these it rejects rounding noise without end, and
        // with `atol` = 0 a component at rest at zero makes the error 0/0.
        for (name, value, smallest) in
            [("rtol", self.rtol, 4.0 * epsilon), ("atol", self.atol, epsilon)]
        {
            if !(smallest..=largest).contains(&value) {
                return Err(SolveError::Tolerance { name, value, smallest });
            }
        }
        if let Some(value) = self.first_step.filter(|h| !(h.is_finite() && *h > 0.0)) {
            let requirement = "finite and positive";
            return Err(SolveError::Parameter { name: "first_step", requirement, value });
        }
        if self.max_evaluations == 0 {
            let (name, requirement) = ("max_evaluations", "at least 1");
            return Err(SolveError::Parameter { name, requirement, value: 0.0 });
        }
        Ok(())
    }

    /// The root of the mean of (valueᵢ / (atol + rtol |yᵢ|))².
    pub(crate) fn norm<E: Real>(&self, values: impl Iterator<Item = (E, E)>) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        for (value, y) in values {
            sum += (value.as_f64() / (self.atol + self.rtol * y.as_f64().abs())).powi(2);
            count += 1.0;
        }
        (sum / count).sqrt()
    }
}

/// Length of the first step after Hairer, Nørsett, Wanner II.4, "starting step size", with mean norms,
/// and with fractions of the interval in place of the book's absolute 1e-6.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstStep {
    length: f64,
    velocity: f64,
    /// Length of an Euler step, at whose end the velocity is compared.
    pub(crate) probe: f64,
}

impl FirstStep {
    /// From the norms of state and velocity, for an interval of this length.
    pub(crate) fn new(state: f64, velocity: f64, length: f64) -> Self {
        // A state or velocity near zero does not determine a time scale.
        let small = state < 1e-5 || velocity < 1e-5;
        let scale = if small { 1e-3 * length } else { 0.01 * state / velocity };
        Self { length, velocity, probe: scale.min(length) }
    }

    /// From the norm of the change of the velocity, for a method of this order.
    pub(crate) fn estimate(self, change: f64, order: f64) -> f64 {
        // Infinite for velocity 0.
        let curved = (0.01 / self.velocity.max(change / self.probe)).powf(1.0 / order);
        (100.0 * self.probe).min(curved).min(self.length)
    }
}

/// Constants of a method and its step size controller, as in the book's codes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Constants {
    /// Order, as an exponent.
    pub(crate) order: f64,
    /// Evaluations of an attempted step, without the first velocity, which is known.
    pub(crate) stages: usize,
    /// Evaluations at the end of an accepted step. The last stage of DOPRI5 serves as one.
    pub(crate) velocities_at_end: usize,
    /// Safety factor.
    pub(crate) safety: f64,
    /// Weight of the error before the last one; 0 without a PI controller.
    pub(crate) beta: f64,
    /// Smallest and largest ratio of successive steps.
    pub(crate) ratios: [f64; 2],
}

impl Constants {
    /// The factor from this step to the next after an accepted step with this error; `before` is
    /// the error of the step before.
    pub(crate) fn accepted(self, error: f64, before: f64) -> f64 {
        let [smallest, largest] = self.ratios;
        let shrink = error.powf(self.exponent()) / before.powf(self.beta) / self.safety;
        1.0 / shrink.clamp(1.0 / largest, 1.0 / smallest)
    }

    /// The factor after a rejected step.
    pub(crate) fn rejected(self, error: f64) -> f64 {
        1.0 / (error.powf(self.exponent()) / self.safety).min(1.0 / self.ratios[0])
    }

    fn exponent(self) -> f64 {
        1.0 / self.order - 0.75 * self.beta
    }
}

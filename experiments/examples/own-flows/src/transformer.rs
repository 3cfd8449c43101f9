//! A transformer: the sinh-arcsinh transformation, which skews and fattens tails.
//!
//! ```text
//! y = sinh(u),   u = d asinh(x) + e,   d = e^t,   log dy/dx = t + ln cosh(u) - ln(1 + x^2) / 2
//! ```
//!
//! Jones, Pewsey, *Sinh-arcsinh distributions*, Biometrika 2009.

use std::sync::Arc;

use flows_core::operation::LANES;
use flows_core::{Real, Result};
use flows_finite::Transformer;
use flows_finite::transformer::{Inner, Outer, SharedTransformer, TransformerConfig};
use serde::{Deserialize, Serialize};

/// The transformation with parameters e and t of each element, from the conditioner.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SinhArcsinh {}

#[typetag::serde(name = "sinh_arcsinh")]
impl TransformerConfig for SinhArcsinh {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer { Ok(Arc::new(*self)) });
}

/// ln cosh u + t - ln(1 + x^2) / 2.
fn log_slope_at<E: Real>(x: E, u: E, t: E) -> E {
    t + u.cosh().ln() - E::of(0.5) * (x * x).ln_1p()
}

impl<E: Real> Transformer<E> for SinhArcsinh {
    fn name(&self) -> &'static str {
        "sinh-arcsinh"
    }

    fn arity(&self) -> usize {
        2
    }

    fn initial(&self) -> Vec<f64> {
        vec![0.0, 0.0]
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        let (e, t) = theta.split_at(LANES);
        for lane in 0..LANES {
            let u = t[lane].exp() * x[lane].asinh() + e[lane];
            y[lane] = u.sinh();
            log_slope[lane] += log_slope_at(x[lane], u, t[lane]);
        }
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        let (e, t) = theta.split_at(LANES);
        for lane in 0..LANES {
            let u = y[lane].asinh();
            x[lane] = ((-t[lane]).exp() * (u - e[lane])).sinh();
            log_slope[lane] -= log_slope_at(x[lane], u, t[lane]);
        }
        Ok(0)
    }

    /// With g the gradient of y, l that of the log-slope, r = sqrt(1 + x^2), and k = g cosh u + l tanh u:
    /// ```text
    /// x receives  k d / r - l x / r^2,   e receives  k,   t receives  k d asinh x + l
    /// ```
    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        let (e, t) = theta.split_at(LANES);
        let (d_e, d_t) = inner.theta.split_at_mut(LANES);
        for lane in 0..LANES {
            let (d, a) = (t[lane].exp(), x[lane].asinh());
            let u = d * a + e[lane];
            let (g, l) = (outer.value[lane], outer.log_slope[lane]);
            let k = g * u.cosh() + l * u.tanh();
            let r = x[lane].hypot(E::one());
            inner.value[lane] = k * d / r - l * x[lane] / (r * r);
            d_e[lane] = k;
            d_t[lane] = k * d * a + l;
        }
    }
}

#[cfg(test)]
mod tests {
    use flows_core::activation::Activation;
    use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb};
    use flows_core::{Architecture, stream};
    use flows_finite::architecture::{AutoregressiveFlow, Conditioner, CouplingFlow, Perceptron};

    use super::*;

    #[test]
    fn it_is_right_in_coupling_and_masked_wirings() {
        let transformer = || SinhArcsinh {}.shared();
        // Small, because every weight is moved, and smooth, because the check takes differences.
        let conditioner = || {
            let (hidden, activation) = (vec![6], Activation::Tanh);
            Conditioner::Perceptron(Perceptron { hidden, activation })
        };
        let coupling = CouplingFlow {
            layers: 2,
            transformer: transformer(),
            conditioner: conditioner(),
            ..CouplingFlow::default()
        };
        let masked = AutoregressiveFlow {
            layers: 2,
            transformer: transformer(),
            conditioner: conditioner(),
            ..AutoregressiveFlow::default()
        };
        for architecture in [&coupling as &dyn Architecture, &masked] {
            let mut flow = architecture.build_f64(3, 0, &mut stream(1, "init")).unwrap();
            perturb(&mut flow, 0.05, &mut stream(2, "perturb")).unwrap();
            check_bijector(&mut flow, normal_point(1.0), Tolerance::default());
        }
    }
}

//! A vector field: dz/dt = W z with W learned, whose flow is x = exp(W) z with log-determinant tr W.

use std::sync::Arc;

use flows_continuous::{
    Accuracy, Adaptive, Continuous, Divergence, FieldGradients, FieldInput, FieldKernel, Solver,
};
use flows_core::{
    Architecture, Chain, HasLayout, LastLayer, Layout, Network, Real, Result, Scratch, Stream,
};
use serde::{Deserialize, Serialize};

/// Velocity W z; each tangent of the state becomes W times itself.
#[derive(Clone, Debug)]
pub(crate) struct LinearField {
    dim: usize,
}

impl HasLayout for LinearField {
    fn layout(&self) -> Vec<Layout> {
        vec![Layout::uniform("weight", self.dim, self.dim, self.dim).in_last_layer(true)]
    }
}

impl<E: Real> FieldKernel<E> for LinearField {
    fn dim(&self) -> usize {
        self.dim
    }

    /// Feature i of the velocity: the sum over j of W_ij times feature j, values and tangents alike.
    fn forward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        _: &mut Scratch,
        velocity: &mut [E],
    ) {
        let stride = at.stride();
        for (i, velocity) in velocity.chunks_exact_mut(stride).enumerate() {
            velocity.fill(E::zero());
            for (j, state) in at.state.chunks_exact(stride).enumerate() {
                let weight = parameters[0][i * self.dim + j];
                velocity.iter_mut().zip(state).for_each(|(v, &z)| *v += weight * z);
            }
        }
    }

    /// The gradient of W_ij is the sum of gradient i times state j; that of the state is W^T times
    /// the gradient.
    fn backward(
        &self,
        at: FieldInput<'_, E>,
        parameters: &[&[E]],
        _: &mut Scratch,
        gradients: FieldGradients<'_, '_, E>,
    ) {
        let stride = at.stride();
        gradients.state.fill(E::zero());
        let weights = &mut *gradients.parameters[0];
        for (i, outer) in gradients.velocity.chunks_exact(stride).enumerate() {
            let states = at.state.chunks_exact(stride);
            let inner = gradients.state.chunks_exact_mut(stride);
            for (j, (state, inner)) in states.zip(inner).enumerate() {
                let index = i * self.dim + j;
                weights[index] += outer.iter().zip(state).map(|(&o, &z)| o * z).sum::<E>();
                let weight = parameters[0][index];
                inner.iter_mut().zip(outer).for_each(|(inner, &o)| *inner += weight * o);
            }
        }
    }
}

/// The solution map of [`LinearField`] from time 0 to 1: `kind = "linear_ode"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinearOde {
    /// Relative and absolute tolerance of the solver.
    tolerance: f64,
}

impl LinearOde {
    fn compose<E: Real>(&self, dim: usize, _: usize, rng: &mut Stream) -> Result<Chain<E>> {
        let network = Network::<E, _>::new(LinearField { dim }, LastLayer::Random, rng)?;
        let solver = Solver::Dopri5(Adaptive::new(self.tolerance, self.tolerance));
        let accuracy = Accuracy { solver, divergence: Divergence::Exact };
        let flow = Continuous::new(network, [0.0, 1.0], accuracy, accuracy)?;
        Chain::new(dim, vec![Box::new(flow)])
    }
}

#[typetag::serde(name = "linear_ode")]
impl Architecture for LinearOde {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        Ok((dim * dim) as f64)
    }

    fn scaled(&self, _: f64) -> Arc<dyn Architecture> {
        Arc::new(self.clone())
    }

    fn is_continuous(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use flows_continuous::GradientMethod;
    use flows_core::tensor::batch;
    use flows_core::testing::{Tolerance, check_bijector, normal_point};
    use flows_core::{Bijector, Context, Tape, Values, stream};

    use super::*;

    #[test]
    fn its_log_det_is_the_trace_and_both_gradients_agree_with_differences() {
        let rng = &mut stream(1, "init");
        let network =
            Network::<f64, _>::new(LinearField { dim: 2 }, LastLayer::Random, rng).unwrap();
        let weight = network.values()[0].clone();
        let solver = Solver::Dopri5(Adaptive::new(1e-10, 1e-10));
        let accuracy = Accuracy { solver, divergence: Divergence::Exact };
        let mut flow = Continuous::new(network, [0.0, 1.0], accuracy, accuracy).unwrap();
        let z = batch(vec![1.0, 0.0], 1, 2).unwrap();
        let image = flow.forward(&z, &Context::none(), &mut Tape::none()).unwrap();
        // The trace is constant along the way, so that the solver integrates it exactly.
        assert!((image.log_det.values()[0] - (weight[0] + weight[3])).abs() < 1e-12);
        for gradient in [GradientMethod::default(), GradientMethod::Adjoint] {
            flow = flow.with_gradient(gradient);
            check_bijector(&mut flow, normal_point(1.0), Tolerance::integrated(1e-8));
        }
    }
}

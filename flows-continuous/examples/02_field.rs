//! A vector field of one's own: dz/dt = W z, with W learned.
//!
//! What has to be written is the velocity with its tangents over a block of rows, and how gradients go
//! back through both. Solvers, traces, the adjoint and penalties then work as for every field. The
//! flow of this one is known: x = exp(W) z with log-determinant tr W.
//!
//! Run with `cargo run --release -p flows-continuous --example 02_field`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use flows_continuous::{
    Accuracy, Adaptive, Continuous, Divergence, FieldGradients, FieldInput, FieldKernel,
    GradientMethod, Solver,
};
use flows_core::tensor::batch;
use flows_core::testing::{Tolerance, check_bijector, normal_point};
use flows_core::{
    Bijector, Context, HasLayout, LastLayer, Layout, Network, Real, Result, Scratch, Tape, Values,
    stream,
};

/// Velocity W z; each tangent of the state becomes W times itself.
#[derive(Clone, Debug)]
struct LinearField {
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
            for (j, (state, inner)) in
                states.zip(gradients.state.chunks_exact_mut(stride)).enumerate()
            {
                let index = i * self.dim + j;
                weights[index] += outer.iter().zip(state).map(|(&o, &z)| o * z).sum::<E>();
                let weight = parameters[0][index];
                inner.iter_mut().zip(outer).for_each(|(inner, &o)| *inner += weight * o);
            }
        }
    }
}

fn main() -> Result<()> {
    let solver = Solver::Dopri5(Adaptive::new(1e-10, 1e-10));
    let accuracy = Accuracy { solver, divergence: Divergence::Exact };
    let network =
        Network::<f64, _>::new(LinearField { dim: 2 }, LastLayer::Random, &mut stream(1, "init"))?;
    let weight = network.values()[0].clone();
    let mut flow = Continuous::new(network, [0.0, 1.0], accuracy, accuracy)?;

    let z = batch(vec![1.0, 0.0], 1, 2)?;
    let image = flow.forward(&z, &Context::none(), &mut Tape::none())?;
    println!("first column of exp(W): {:.6?}", image.value.values());
    let (log_det, trace) = (image.log_det.values()[0], weight[0] + weight[3]);
    println!("log-determinant {log_det:.9}, trace of W {trace:.9}");

    for gradient in [GradientMethod::default(), GradientMethod::Adjoint] {
        flow = flow.with_gradient(gradient);
        check_bijector(&mut flow, normal_point(1.0), Tolerance::integrated(1e-8));
        println!("{gradient:?}: log-det and gradients agree with differences");
    }
    Ok(())
}

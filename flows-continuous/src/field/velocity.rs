//! The velocity of a field at given points and times as a differentiable operation, for flow
//! matching.

use std::sync::Arc;

use flows_core::lanes::named_mut;
use flows_core::operation::{LANES, Operation, Recorded};
use flows_core::{Real, Result, Scratch};

use crate::field::{FieldGradients, FieldInput, FieldKernel};

/// `length` times the velocity. Inputs: points `(dim)`, time `(1)`, and the context if there is
/// one.
#[derive(Debug)]
pub(crate) struct Velocity<E: Real> {
    pub(crate) kernel: Arc<dyn FieldKernel<E>>,
    pub(crate) length: f64,
}

impl<E: Real> Operation<E> for Velocity<E> {
    fn name(&self) -> &'static str {
        "vector field"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.kernel.dim()]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        scratch: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let length = E::of(self.length);
        self.kernel.forward(at(inputs), parameters, scratch, outputs[0]);
        outputs[0].iter_mut().for_each(|v| *v *= length);
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) -> Result<()> {
        let length = E::of(self.length);
        let mut velocity: Vec<E> = output_gradients[0].iter().map(|&v| v * length).collect();
        let (own, context) = input_gradients.split_at_mut(2);
        let [state, time] = named_mut(own);
        let mut none: &mut [E] = &mut [];
        let context = context.first_mut().unwrap_or(&mut none);
        let gradients = FieldGradients {
            velocity: &mut velocity,
            time,
            state,
            context,
            parameters: parameter_gradients,
            buffers: &mut Scratch::new(),
        };
        self.kernel.backward(at(block.inputs), block.parameters, block.scratch, gradients);
        Ok(())
    }
}

fn at<'a, E>(inputs: &[&'a [E]]) -> FieldInput<'a, E> {
    let context = inputs.get(2).copied().unwrap_or(&[]);
    debug_assert_eq!(inputs[1].len(), LANES, "one time a row");
    FieldInput { time: inputs[1], tangents: 0, state: inputs[0], context, structure: None }
}

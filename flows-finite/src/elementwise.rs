//! One transformer for each feature by itself, conditioned on nothing (review, Section 3.1.1).

use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns};
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Mapped, Mode, Parameters, Real, Result, Role, SplitTape,
    Tally, Work,
};

use crate::transformer::{Inner, Outer, Transformer};

/// x_i = tau(z_i; theta_i) with learned parameters theta_i for each feature, one fused operation in
/// either direction.
///
/// The Jacobian is diagonal: the log-det is the sum of the log-slopes. Training starts at the
/// transformer's identity. A transformer without parameters makes a fixed map, such as the one onto
/// an [`Interval`](crate::transformer::Interval). The context is ignored. Domain, accuracy and the
/// cost of the inverse are the transformer's.
///
/// # Reference
/// Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan, *Normalizing Flows for
/// Probabilistic Modeling and Inference*, JMLR 22(57), 2021, section 3.1.1.
/// <https://arxiv.org/abs/1912.02762>
#[derive(Debug)]
pub struct Elementwise<E: Real, T: Transformer<E>> {
    dim: usize,
    transformer: T,
    /// `(dim, arity)`; none where the transformer has no parameters.
    theta: Option<Batch<E>>,
}

impl<E: Real, T: Transformer<E>> Elementwise<E, T> {
    /// The transformer's identity for each of `dim` features.
    ///
    /// # Errors
    /// Never in practice; [`Error::Tensor`](flows_core::Error::Tensor) is the tensor library's.
    pub fn new(dim: usize, transformer: T) -> Result<Self> {
        let arity = transformer.arity();
        let start = || transformer.identity().repeat(dim).into_iter().map(E::of).collect();
        let theta = if arity == 0 { None } else { Some(batch(start(), dim, arity)?) };
        Ok(Self { dim, transformer, theta })
    }

    fn map<M: Mode<E>, const INVERSE: bool>(&self, input: Batch<E, M>) -> Result<Mapped<E, M>> {
        check_columns("elementwise", &input, self.dim)?;
        let (input, mut tape) = input.split_tape();
        let iterations = Tally::default();
        let operation = ElementwiseOperation::<T, INVERSE> {
            dim: self.dim,
            transformer: self.transformer.clone(),
            iterations: iterations.clone(),
        };
        let mut outputs = apply(operation, &[&input], self.theta.as_slice(), &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        let work = Work { iterations: iterations.largest(), ..Work::default() };
        Ok(Mapped::new(outputs.remove(0), log_det, tape, work))
    }
}

impl<E: Real, T: Transformer<E>> Parameters<E> for Elementwise<E, T> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        if let Some(theta) = &self.theta {
            f("theta", Role::Learned, theta);
        }
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        match &mut self.theta {
            Some(theta) => f("theta", Role::Learned, theta),
            None => Ok(()),
        }
    }
}

impl<E: Real, T: Transformer<E>> Bijector<E> for Elementwise<E, T> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn costs(&self) -> Costs {
        let closed = self.transformer.closed_inverse();
        let inverse = if closed { Cost::ClosedForm } else { Cost::Iterative };
        Costs { forward: Cost::ClosedForm, inverse }
    }

    fn forward<M: Mode<E>>(&self, z: Batch<E, M>, _: &Context<E>) -> Result<Mapped<E, M>> {
        self.map::<M, false>(z)
    }

    fn inverse<M: Mode<E>>(&self, x: Batch<E, M>, _: &Context<E>) -> Result<Mapped<E, M>> {
        self.map::<M, true>(x)
    }
}

struct ElementwiseOperation<T, const INVERSE: bool> {
    dim: usize,
    transformer: T,
    iterations: Tally,
}

impl<E, T, const INVERSE: bool> Operation<E> for ElementwiseOperation<T, INVERSE>
where
    E: Real,
    T: Transformer<E>,
{
    /// What an inverse returned, where it differentiates.
    type Workspace = Vec<E>;

    fn name(&self) -> &'static str {
        "elementwise"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim, 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        images: &mut Vec<E>,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [value, log_det] = outputs else {
            return Ok(());
        };
        let mut theta = vec![E::zero(); self.transformer.arity() * LANES];
        let mut iterations = 0;
        let features = inputs[0].chunks_exact(LANES).zip(value.chunks_exact_mut(LANES));
        for (feature, (source, target)) in features.enumerate() {
            spread(parameters, feature, &mut theta);
            if INVERSE {
                iterations += self.transformer.inverse(source, &theta, target, log_det)?;
            } else {
                self.transformer.forward(source, &theta, target, log_det)?;
            }
        }
        if INVERSE {
            images.clear();
            images.extend_from_slice(value);
        }
        self.iterations.note(iterations);
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, Vec<E>>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let [d_value, log_slope] = output_gradients else {
            return;
        };
        let arity = self.transformer.arity();
        let (mut theta, mut d_theta) =
            (vec![E::zero(); arity * LANES], vec![E::zero(); arity * LANES]);
        let points = if INVERSE { block.workspace.as_slice() } else { block.inputs[0] };
        let gradients = d_value.chunks_exact(LANES).zip(input_gradients[0].chunks_exact_mut(LANES));
        for (feature, (x, (d_value, target))) in
            points.chunks_exact(LANES).zip(gradients).enumerate()
        {
            spread(block.parameters, feature, &mut theta);
            let outer = Outer { value: d_value, log_slope };
            let inner = Inner { value: target, theta: &mut d_theta };
            if INVERSE {
                self.transformer.inverse_gradient(x, &theta, outer, inner);
            } else {
                self.transformer.forward_gradient(x, &theta, outer, inner);
            }
            if let Some(total) = parameter_gradients.first_mut() {
                gather(&d_theta, &mut total[feature * arity..(feature + 1) * arity]);
            }
        }
    }
}

/// LANES copies of each parameter of a feature.
fn spread<E: Real>(parameters: &[&[E]], feature: usize, theta: &mut [E]) {
    let arity = theta.len() / LANES;
    if let Some(parameters) = parameters.first() {
        let own = &parameters[feature * arity..(feature + 1) * arity];
        for (lanes, &parameter) in theta.chunks_exact_mut(LANES).zip(own) {
            lanes.fill(parameter);
        }
    }
}

/// Adds up the lanes of each parameter.
fn gather<E: Real>(d_theta: &[E], total: &mut [E]) {
    for (total, lanes) in total.iter_mut().zip(d_theta.chunks_exact(LANES)) {
        *total += lanes.iter().copied().sum();
    }
}

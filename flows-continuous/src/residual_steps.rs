//! Residual layers of a vector field: the discrete counterpart of an ODE (review, Section 4).

pub(crate) mod elimination;
pub(crate) mod fixed_point;
pub(crate) mod operation;

use std::num::NonZeroUsize;
use std::sync::Arc;

use flows_core::operation::{apply_with, column};
use flows_core::parameters::{Visitor, VisitorMut, visit_part, visit_part_mut};
use flows_core::tensor::check_columns;
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Direction, Error, Mapped, Parameters, Real, Result,
    Tally, Tape, Values, Work,
};

use crate::field::{Field, Structure};
use crate::residual_steps::operation::ResidualOperation;
use crate::solver::fixed_step::uniform_mesh;
use crate::solver::{EqualSteps, Solver, check_interval, refused};

/// K residual layers of one field, one for each step of h = (t1 - t0) / K,
///
/// ```text
/// z_k+1 = z_k + h f(t_k, z_k; context),   t_k = t0 + k h,   x = z_K
/// log |det dx/dz| = sum over k of log |det(I + h J_k)|,   J_k = df/dz at t_k, z_k
/// ```
/// Values are those of [`Continuous`](crate::Continuous) with [`Solver::Euler`], which integrates h
/// tr J instead: log |det(I + h J)| = h tr J + O(h^2). Values and log-dets tend to those of the ODE
/// like 1 / K. Parameters have the same names there.
///
/// # Domain
/// A layer is invertible if h times the Lipschitz constant L of f in z is below 1. Otherwise the
/// inverse may fail or return another of several solutions.
///
/// # Accuracy
/// Values and log-dets to rounding. The inverse iterates z <- z' - h f(t_k, z) in each layer until a
/// step is at most 8 epsilon times 1 + max(|z|, |z'|) in the maximum norm, or, below 256 epsilon,
/// no longer shrinks; the error is then h L / (1 - h L) such steps. It takes at most 1000 iterations
/// a layer, and log(epsilon) / log(h L) where h L < 1.
///
/// # Cost
/// A layer takes one evaluation of the field with D tangents and O(D^3) a row for its determinant;
/// the inverse, one evaluation an iteration more. Gradients take a second such evaluation and a dense
/// inverse, again O(D^3), and memory for the states between layers, K D a row.
///
/// # Reference
/// Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan, *Normalizing Flows for Probabilistic
/// Modeling and Inference*, JMLR 2021, Section 4, <https://arxiv.org/abs/1912.02762>; the inverse:
/// Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, *Invertible Residual Networks*, ICML 2019,
/// <https://arxiv.org/abs/1811.00995>.
#[derive(Debug)]
pub struct ResidualSteps<E: Real> {
    field: Field<E>,
    mesh: Arc<[f64]>,
}

impl<E: Real> ResidualSteps<E> {
    /// Runs `field` as `steps` layers from `times[0]` to `times[1]`; take a copy of
    /// [`Continuous::field`](crate::Continuous::field) for the weights of an ODE.
    ///
    /// # Errors
    /// [`Error::Unavailable`] for a potential field, which has no tangents; [`Error::Parameter`] for
    /// times that are not finite or coincide, or for more than a million steps.
    pub fn new(field: impl Into<Field<E>>, times: [f64; 2], steps: NonZeroUsize) -> Result<Self> {
        let field = field.into();
        if field.kernel().structure() == Structure::Potential {
            return Err(Error::Unavailable {
                what: "the Jacobian of a potential field",
                advice: "integrate it with `Continuous` and the divergence `closed`, which needs \
                         the trace only",
            });
        }
        check_interval(times)?;
        Solver::Euler(EqualSteps { steps }).check::<E>()?;
        let mesh = uniform_mesh(times[0], times[1], steps).map_err(refused)?;
        Ok(Self { field, mesh: mesh.into() })
    }

    fn check(&self, input: &Batch<E>, context: &Context<E>) -> Result<()> {
        let kernel = self.field.kernel();
        check_columns("residual steps", input, kernel.dim())?;
        context.check("context of residual steps", kernel.context_dim(), input.rows())
    }

    /// The end and, if wanted, the log-det.
    fn run(
        &self,
        input: &Batch<E>,
        context: &Context<E>,
        (direction, with_log_det): (Direction, bool),
        tape: &mut Tape<E>,
    ) -> Result<(Vec<Batch<E>>, Work)> {
        let iterations = Tally::default();
        let operation = ResidualOperation {
            kernel: Arc::clone(self.field.kernel()),
            mesh: Arc::clone(&self.mesh),
            direction,
            with_log_det,
            recorded: tape.is_recording(),
            iterations: iterations.clone(),
        };
        let inputs: Vec<&Batch<E>> = [input].into_iter().chain(context.features()).collect();
        let (tensors, values) = (self.field.tensors(), self.field.values());
        let outputs = apply_with(operation, &inputs, tensors, values, tape)?;
        let (layers, iterations) = ((self.mesh.len() - 1) as u64, iterations.largest().iterations);
        let field_evaluations = layers + iterations;
        let work =
            Work { field_evaluations, steps_accepted: layers, iterations, ..Work::default() };
        Ok((outputs, work))
    }

    fn map(
        &self,
        input: &Batch<E>,
        context: &Context<E>,
        direction: Direction,
        tape: &mut Tape<E>,
    ) -> Result<Mapped<E>> {
        self.check(input, context)?;
        let (mut outputs, work) = self.run(input, context, (direction, true), tape)?;
        let log_det = column(outputs.remove(1), tape)?;
        Ok(Mapped::new(outputs.remove(0), log_det, work))
    }
}

impl<E: Real> Parameters<E> for ResidualSteps<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        visit_part(&self.field, "field", f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        visit_part_mut(&mut self.field, "field", f)
    }
}

impl<E: Real> Bijector<E> for ResidualSteps<E> {
    fn dim(&self) -> usize {
        self.field.kernel().dim()
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::ClosedForm, inverse: Cost::Iterative }
    }

    fn context_dim(&self) -> usize {
        self.field.kernel().context_dim()
    }

    fn forward(&self, z: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.map(z, context, Direction::Forward, tape)
    }

    fn inverse(&self, x: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.map(x, context, Direction::Inverse, tape)
    }

    fn image(&self, z: &Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        self.check(z, context)?;
        let what = (Direction::Forward, false);
        let (mut outputs, work) = self.run(z, context, what, &mut Tape::none())?;
        Ok((outputs.remove(0), work))
    }
}

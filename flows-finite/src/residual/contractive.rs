//! Contractive residual layers (review, Section 3.3.1).

use flows_core::operation::{apply, column};
use flows_core::parameters::{Visitor, VisitorMut, visit_part, visit_part_mut};
use flows_core::tensor::{batch, check_columns};
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Error, LogDet, Mapped, Mode, Parameters, Purpose, Real,
    Result, SplitTape, Stream, Tally, Values, Work, stream,
};
use rand::Rng;

use super::determinant::{Determinant, signs};
use super::fixed_point::Stopping;
use super::lipschitz::{Effective, LipschitzNetwork};
use super::operation::ContractiveOperation;
use super::tangents::Residual;

/// x = z + g(z, context) with a Lipschitz constant of g in z below 1.
///
/// ```text
/// log |det dx/dz| = log det(I + J),  J = dg/dz;   z = lim z_k,  z_k+1 = x - g(z_k, context)
/// ```
/// [`forward`](Bijector::forward) is one pass beside the log-det; wrap it in
/// [`Inverse`](flows_core::Inverse) to have the density in that direction. The inverse takes about
/// log(tolerance) / log(L) passes, L the Lipschitz constant at the point.
///
/// # Accuracy
/// The inverse ends when the error of z is at most the tolerance times 1 + max(|z|, |x|) in the
/// maximum norm, or when its steps are rounding, of the order of epsilon / (1 - L). Log-dets are
/// what [`Determinant`] says. Power iteration knows the norms of the weights when the layer is set
/// for reporting *after* they have changed.
///
/// # Cost
/// A pass is one network evaluation; [`Determinant`] says how many the log-det takes. The gradient
/// of a log-det takes two passes with as many tangents, whatever the number of terms; that of the
/// inverse one more pass with D tangents and O(D^3) a row. The second derivative of ReLU is
/// 0, so that the log-det has no gradient for inputs and hidden biases: prefer smooth activations.
///
/// # Reference
/// Behrmann et al., *Invertible Residual Networks*, ICML 2019, <https://arxiv.org/abs/1811.00995>;
/// Chen et al., *Residual Flows for Invertible Generative Modeling*, NeurIPS 2019,
/// <https://arxiv.org/abs/1906.02735>.
#[derive(Debug)]
pub struct Contractive<E: Real> {
    residual: LipschitzNetwork<E>,
    training: Determinant,
    reporting: Determinant,
    tolerance: f64,
    purpose: Purpose,
    probe_seed: u64,
}

/// Tolerance of the inverse, in units of epsilon: 1e-6 in f32, 2e-15 in f64.
const TOLERANCE: f64 = 8.0;

impl<E: Real> Contractive<E> {
    /// With one way to compute log-dets for gradients and one for reported numbers; it starts out
    /// set for reporting.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting outside its range.
    pub fn new(
        residual: LipschitzNetwork<E>,
        training: Determinant,
        reporting: Determinant,
    ) -> Result<Self> {
        training.check()?;
        reporting.check()?;
        let tolerance = TOLERANCE * E::epsilon().as_f64();
        let purpose = Purpose::Reporting;
        Ok(Self { residual, training, reporting, tolerance, purpose, probe_seed: 0 })
    }

    /// Replaces the tolerance of the inverse, 8 epsilon.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless it is between epsilon and 1.
    pub fn with_tolerance(mut self, tolerance: f64) -> Result<Self> {
        if !(E::epsilon().as_f64()..1.0).contains(&tolerance) {
            let (name, requirement) = ("tolerance of the inverse", "between epsilon and 1");
            return Err(Error::Parameter { name, requirement, value: tolerance });
        }
        self.tolerance = tolerance;
        Ok(self)
    }

    /// A bound of the Lipschitz constant of g: errors of the inverse shrink at least by this factor
    /// an iteration.
    ///
    /// # Errors
    /// As [`LipschitzNetwork::lipschitz`].
    pub fn lipschitz(&self) -> Result<f64> {
        self.residual.lipschitz()
    }

    fn determinant(&self) -> Determinant {
        match self.purpose {
            Purpose::Training => self.training,
            Purpose::Reporting => self.reporting,
        }
    }

    /// The probes of all rows, the same until they are drawn again.
    fn probes(&self, rows: usize) -> Result<Option<Batch<E>>> {
        let width = self.determinant().probes() * self.residual.dim();
        let rng = &mut stream(self.probe_seed, "probes");
        (width > 0).then(|| batch(signs(rows * width, rng), rows, width)).transpose()
    }

    fn map<T: Mode<E>, const INVERSE: bool>(
        &self,
        input: Batch<E, T>,
        context: &Context<E>,
    ) -> Result<Mapped<E, T>> {
        let (dim, features) = (self.residual.dim(), self.residual.context_dim());
        check_columns("contractive layer", &input, dim)?;
        context.check("context of a contractive layer", features, input.rows())?;
        let (input, mut tape) = input.split_tape();
        let Effective { parameters, lipschitz } = self.residual.effective(&mut tape)?;
        let estimate = self.determinant().weights(&mut stream(self.probe_seed, "terms"));
        let passes = estimate.as_ref().map_or(1, |weights| weights.log_det.len() as u64);
        let probes = self.probes(input.rows())?;
        let mut inputs = vec![&input];
        inputs.extend(context.features());
        inputs.extend(&probes);
        let iterations = Tally::default();
        let operation = ContractiveOperation::<INVERSE> {
            residual: Residual { kernel: self.residual.kernel().clone(), dim },
            context: features,
            estimate,
            stopping: Stopping { tolerance: self.tolerance, lipschitz },
            iterations: iterations.clone(),
        };
        let mut outputs = apply(operation, &inputs, &parameters, &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        let iterations = iterations.largest();
        let work = Work { iterations, ..Work::passes(passes + iterations) };
        Ok(Mapped::new(outputs.remove(0), log_det, tape, work))
    }
}

impl<E: Real> Parameters<E> for Contractive<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        visit_part(&self.residual, "residual", f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        visit_part_mut(&mut self.residual, "residual", f)
    }
}

impl<E: Real> Bijector<E> for Contractive<E> {
    fn dim(&self) -> usize {
        self.residual.dim()
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::ClosedForm, inverse: Cost::Iterative }
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, false>(z, context)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, true>(x, context)
    }

    fn log_det(&self) -> LogDet {
        self.determinant().log_det()
    }

    fn set_purpose(&mut self, purpose: Purpose) {
        self.purpose = purpose;
        if purpose == Purpose::Reporting {
            // An error would mean that a vector had changed its length.
            self.residual.converge().ok();
        }
    }

    fn resample_probes(&mut self, rng: &mut Stream) {
        self.probe_seed = rng.next_u64();
        self.residual.iterate().ok();
    }
}

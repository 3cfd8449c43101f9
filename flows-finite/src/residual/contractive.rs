//! Contractive residual layers: invertible residual networks (review, Section 3.3.1).

use flows_core::elementwise::vectorised;
use flows_core::lanes::{add, add_product, lanes, lanes_mut};
use flows_core::map::{Block, Pull, Solve};
use flows_core::operation::LANES;
use flows_core::{
    Cost, Costs, Error, EvalMode, Exactness, HasLayout, Layer, Layout, Map, Purpose, Real, Result,
    Scratch, Stream, Tensors, Work, stream,
};

use super::determinant::{Determinant, signs};
use super::fixed_point::{Stopping, solve};
use super::lipschitz::LipschitzNetwork;
use super::log_det::{Bilinear, estimate, exact};
use super::tangents::{At, Pass, Sums};

/// A contractive residual layer: x = z + g(z, context), g with a Lipschitz constant in z below 1.
///
/// ```text
/// log |det dx/dz| = log det(I + J),  J = dg/dz;   z = lim z_k,  z_k+1 = x - g(z_k, context)
/// ```
/// [`forward`](Map::forward) is one pass, besides the log-det; the layer's
/// [`Inverse`](flows_core::Inverse) has the density in that direction. The inverse takes about
/// log(tolerance) / log(L) passes, L the Lipschitz constant at the point.
///
/// # Accuracy
/// The inverse stops when the error of z is at most the tolerance times 1 + max(|z|, |x|) in the
/// maximum norm, or when its steps are rounding, of the order of epsilon / (1 - L). For log-dets
/// see [`Determinant`]. Power iteration updates the norms of changed weights when the layer is set
/// for reporting.
///
/// # Cost
/// A pass is one network evaluation; for those of the log-det see [`Determinant`]. The gradient of
/// a log-det takes two passes with as many tangents, for any number of terms; that of the inverse
/// one more pass with D tangents and O(D^3) a row. With ReLU, whose second derivative is 0, the
/// log-det has no gradient for inputs and hidden biases: prefer smooth activations.
///
/// # Reference
/// Behrmann et al., *Invertible Residual Networks*, ICML 2019, <https://arxiv.org/abs/1811.00995>;
/// Chen et al., *Residual Flows for Invertible Generative Modeling*, NeurIPS 2019,
/// <https://arxiv.org/abs/1906.02735>.
#[derive(Clone, Debug)]
pub struct Contractive {
    network: LipschitzNetwork,
    training: Determinant,
    reporting: Determinant,
    /// `None` for the default of the precision.
    tolerance: Option<f64>,
}

/// Tolerance of the inverse, in units of epsilon: 1e-6 in f32, 2e-15 in f64.
const TOLERANCE: f64 = 8.0;

/// Intermediate values at z.
#[derive(Default)]
struct Intermediate<E> {
    pass: Pass<E>,
    log_det: Bilinear<E>,
    /// The exact log-det's, if the other is an estimate.
    dense: Bilinear<E>,
    buffer: Vec<E>,
}

impl Contractive {
    /// A layer with one log-det method for training and one for reporting.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting outside its range.
    pub fn new(
        network: LipschitzNetwork,
        training: Determinant,
        reporting: Determinant,
    ) -> Result<Self> {
        training.check()?;
        reporting.check()?;
        Ok(Self { network, training, reporting, tolerance: None })
    }

    /// Replaces the tolerance of the inverse, by default 8 epsilon and never below epsilon.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless it is between 0 and 1.
    pub fn with_tolerance(mut self, tolerance: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&tolerance) {
            let (name, requirement) = ("tolerance of the inverse", "in [0, 1)");
            return Err(Error::Parameter { name, requirement, value: tolerance });
        }
        self.tolerance = Some(tolerance);
        Ok(self)
    }

    /// The layer with given weight, row by row, and bias of each layer of its network.
    ///
    /// # Errors
    /// [`Error::Tensors`] if sizes do not fit; [`Error::NonFinite`] if a weight is not finite and
    /// norms are exact.
    pub fn with_weights<E: Real>(self, layers: &[(&[f64], &[f64])]) -> Result<Layer<E>> {
        let given = layers.iter().flat_map(|&(weight, bias)| [weight.to_vec(), bias.to_vec()]);
        let values = given.chain(self.network.random_vectors()).collect();
        Layer::with_values(self, values)
    }

    /// A bound of the Lipschitz constant of g, from what a layer of this kind has
    /// [`prepared`](Layer::prepared): the product of the norms of the weights, at most the
    /// coefficient, and as accurate as the norms. The error of the inverse shrinks at least by this
    /// factor an iteration.
    #[must_use]
    pub fn lipschitz<E: Real>(prepared: &[Vec<E>]) -> f64 {
        prepared.last().map_or(f64::NAN, |bound| bound[0].as_f64())
    }

    fn determinant(&self, purpose: Purpose) -> Determinant {
        match purpose {
            Purpose::Training => self.training,
            Purpose::Reporting => self.reporting,
        }
    }

    /// Number of prepared slices of the network; one more holds the Lipschitz bound.
    fn slots(&self) -> usize {
        2 * self.network.layers()
    }

    fn stopping<E: Real>(&self, parameters: &[&[E]]) -> Stopping {
        let epsilon = E::epsilon().as_f64();
        let tolerance = self.tolerance.unwrap_or(TOLERANCE * epsilon).max(epsilon);
        Stopping { tolerance, lipschitz: parameters[self.slots()][0].as_f64() }
    }

    /// Writes the log-det at z; returns the number of passes.
    fn log_det<E: Real>(
        &self,
        at: At<'_, E>,
        (mode, probes): (EvalMode, &[E]),
        left: &mut Intermediate<E>,
        log_det: &mut [E],
    ) -> u64 {
        let (residual, Intermediate { pass, log_det: bilinear, .. }) =
            (self.network.residual(), left);
        let terms = &mut stream(mode.seed, "terms");
        match self.determinant(mode.purpose).weights(terms) {
            None => {
                exact(residual, at, pass, bilinear, log_det);
                1
            }
            Some(weights) => {
                estimate(residual, at, pass, (&weights, probes), (bilinear, log_det));
                weights.log_det.len() as u64
            }
        }
    }
}

impl HasLayout for Contractive {
    fn layout(&self) -> Vec<Layout> {
        self.network.layout().into_iter().map(|tensor| tensor.within("residual")).collect()
    }
}

/// The prepared values are the limited weights, the biases, and a bound of the Lipschitz constant.
impl<E: Real> Map<E> for Contractive {
    fn name(&self) -> &'static str {
        "contractive layer"
    }

    fn dim(&self) -> usize {
        self.network.dim()
    }

    fn context_dim(&self) -> usize {
        self.network.context_dim()
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::ClosedForm, inverse: Cost::Iterative }
    }

    fn exactness(&self, purpose: Purpose) -> Exactness {
        self.determinant(purpose).exactness()
    }

    fn start(&self, rng: &mut Stream) -> Result<Vec<Vec<f64>>> {
        Ok(self.network.start(rng))
    }

    fn prepare(&self, tensors: Vec<Vec<E>>) -> Result<Vec<Vec<E>>> {
        let (mut prepared, lipschitz) = self.network.limited(tensors)?;
        // A coefficient near 1 must not round to 1.
        prepared.push(vec![E::of(lipschitz).min(E::one() - E::epsilon())]);
        Ok(prepared)
    }

    fn pull_prepared(
        &self,
        tensors: &Tensors<E>,
        _: &[Vec<E>],
        gradient: &[Vec<E>],
    ) -> Result<Option<Vec<Vec<E>>>> {
        let mut pulled = gradient[..self.slots()].to_vec();
        self.network.pull_limited(&tensors.values(), &mut pulled)?;
        Ok(Some(pulled))
    }

    fn refresh(&self, tensors: &Tensors<E>, purpose: Purpose) -> Result<Option<Vec<Vec<E>>>> {
        self.network.refresh(tensors.values(), purpose)
    }

    fn noise(&self, mode: EvalMode, rows: usize) -> Vec<E> {
        let width = self.determinant(mode.purpose).probes() * self.network.dim();
        signs(rows * width, &mut stream(mode.seed, "probes"))
    }

    fn forward(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let left: &mut Intermediate<E> = scratch.or_default();
        let parameters = &at.parameters[..self.slots()];
        let point = At { z: at.input, context: at.context, parameters };
        let mut log_det = [E::zero(); LANES];
        let passes = self.log_det(point, (at.mode, at.noise), left, &mut log_det);
        add(at.log_det, &log_det);
        at.value.copy_from_slice(at.input);
        for (feature, g) in left.pass.values(self.network.dim()).enumerate() {
            add(lanes_mut(at.value, feature), g);
        }
        Ok(Work::passes(passes))
    }

    fn inverse(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let left: &mut Intermediate<E> = scratch.or_default();
        let parameters = &at.parameters[..self.slots()];
        let stopping = self.stopping(at.parameters);
        let given = (at.context, parameters);
        let target = (&mut *at.value, &mut left.pass);
        let iterations = solve(self.network.residual(), at.input, given, stopping, target)?;
        let point = At { z: at.value, context: at.context, parameters };
        let mut log_det = [E::zero(); LANES];
        let passes = self.log_det(point, (at.mode, at.noise), left, &mut log_det);
        at.log_det.iter_mut().zip(&log_det).for_each(|(sum, &log_det)| *sum -= log_det);
        Ok(Work { iterations, ..Work::passes(passes + iterations) })
    }

    /// ```text
    /// dz = dx + J^T dx + d log det / dz,   d log det = sum of v^T dJ(z) w      (see `Bilinear`)
    /// ```
    fn forward_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let Intermediate { pass, log_det: Bilinear { directions, cotangents }, buffer, .. } =
            scratch.left();
        let residual = self.network.residual();
        let parameters = &at.parameters[..self.slots()];
        let point = At { z: at.input, context: at.context, parameters };
        // Tangents are needed for the log-det alone.
        let silent = at.d_log_det.iter().all(|l| l.is_zero());
        let (directions, cotangents): (&[E], &[E]) =
            if silent { (&[], &[]) } else { (directions, cotangents) };
        buffer.clear();
        buffer.extend_from_slice(cotangents);
        scale_rows(buffer, at.d_log_det);
        at.d_input.copy_from_slice(at.d_value);
        let parameters = &mut at.gradients[..self.slots()];
        let mut sums = Sums { z: at.d_input, context: at.d_context, parameters };
        residual.run(point, directions, pass);
        residual.pull(point, pass, (at.d_value, buffer), &mut sums);
        Ok(())
    }

    /// By the dense Jacobian, one pass with D tangents and O(D^3) a row: fewer than the
    /// log(tolerance) / log(L) passes of another fixed-point iteration unless D is large.
    fn solve_transposed(
        &self,
        at: Solve<'_, E>,
        scratch: &mut Scratch,
        gradient: &mut [E],
    ) -> Result<()> {
        let Intermediate { pass, log_det, dense, buffer: source } = scratch.left();
        let inverse = if self.determinant(at.mode.purpose) == Determinant::Exact {
            log_det
        } else {
            let parameters = &at.parameters[..self.slots()];
            let point = At { z: at.input, context: at.context, parameters };
            exact(self.network.residual(), point, pass, dense, &mut [E::zero(); LANES]);
            dense
        };
        source.clear();
        source.extend_from_slice(gradient);
        gradient.fill(E::zero());
        let rows = inverse.directions.chunks_exact(source.len());
        for (total, row) in gradient.chunks_exact_mut(LANES).zip(rows) {
            for feature in 0..self.network.dim() {
                add_product(total, lanes(row, feature), lanes(source, feature));
            }
        }
        Ok(())
    }
}

/// Multiplies each row by `factors`.
fn scale_rows<E: Real>(rows: &mut [E], factors: &[E]) {
    vectorised(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(LANES) {
                for (value, &factor) in row.iter_mut().zip(factors) {
                    *value *= factor;
                }
            }
        },
    );
}

//! A contractive residual layer as one operation, in either direction.

use flows_core::elementwise::vectorised;
use flows_core::operation::{LANES, Operation, Recorded};
use flows_core::{Real, Result, Tally};

use super::determinant::Weights;
use super::fixed_point::{Stopping, solve};
use super::log_det::{Bilinear, estimate, exact};
use super::tangents::{At, Gradients, Pass, Residual};

/// x = z + g(z) and log det(I + J), or z and -log det(I + J) with `INVERSE`, J at z both times.
///
/// Inputs are z or x, the context if there is one, and the probes if the log-det is estimated.
///
/// ```text
/// d log det = sum of v^T dJ(z) w      (see `Bilinear`)
/// forward:  dz = dx + J^T dx + d log det / dz
/// inverse:  dx = (I + J)^-T (dz - d log det / dz),
///           dtheta = -(dg / dtheta)^T dx - d log det / dtheta
/// ```
/// The inverse solves for dx with the dense Jacobian, one pass with D tangents and O(D^3) a row:
/// fewer than the log(tolerance) / log(L) passes of another fixed point unless D is large.
pub(super) struct ContractiveOperation<const INVERSE: bool> {
    pub(super) residual: Residual,
    pub(super) context: usize,
    /// None for the exact log-det.
    pub(super) estimate: Option<Weights>,
    pub(super) stopping: Stopping,
    pub(super) iterations: Tally,
}

/// What a block leaves: z, and the log-det's gradient but for the weights.
#[derive(Default)]
pub(super) struct ContractiveWorkspace<E> {
    z: Vec<E>,
    bilinear: Bilinear<E>,
    pass: Pass<E>,
}

impl<const INVERSE: bool> ContractiveOperation<INVERSE> {
    fn context<'a, E>(&self, inputs: &[&'a [E]]) -> &'a [E] {
        if self.context > 0 { inputs[1] } else { &[] }
    }

    fn log_det<E: Real>(
        &self,
        at: At<'_, E>,
        inputs: &[&[E]],
        pass: &mut Pass<E>,
        log_det: &mut [E],
    ) -> Bilinear<E> {
        match &self.estimate {
            None => exact(&self.residual, at, pass, log_det),
            Some(weights) => {
                let probes = inputs[inputs.len() - 1];
                estimate(&self.residual, at, pass, (weights, probes), log_det)
            }
        }
    }

    /// Replaces a by (I + J)^-T a.
    fn solve_transposed<E: Real>(
        &self,
        at: At<'_, E>,
        workspace: &mut ContractiveWorkspace<E>,
        a: &mut [E],
    ) {
        let dense;
        let inverse = if self.estimate.is_none() {
            &workspace.bilinear.directions
        } else {
            dense = exact(&self.residual, at, &mut workspace.pass, &mut [E::zero(); LANES]);
            &dense.directions
        };
        let source = a.to_vec();
        a.fill(E::zero());
        for (total, row) in a.chunks_exact_mut(LANES).zip(inverse.chunks_exact(source.len())) {
            for (entry, source) in row.chunks_exact(LANES).zip(source.chunks_exact(LANES)) {
                for ((total, &entry), &source) in total.iter_mut().zip(entry).zip(source) {
                    *total += entry * source;
                }
            }
        }
    }
}

/// Each row of `vectors` times `factor`.
fn scaled<E: Real>(vectors: &[E], factor: impl Fn(usize) -> E) -> Vec<E> {
    let mut scaled = vectors.to_vec();
    vectorised(
        #[inline(always)]
        || {
            for row in scaled.chunks_exact_mut(LANES) {
                for (lane, value) in row.iter_mut().enumerate() {
                    *value *= factor(lane);
                }
            }
        },
    );
    scaled
}

impl<E: Real, const INVERSE: bool> Operation<E> for ContractiveOperation<INVERSE> {
    type Workspace = ContractiveWorkspace<E>;

    fn name(&self) -> &'static str {
        "contractive layer"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.residual.dim, 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        workspace: &mut Self::Workspace,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [value, log_det] = outputs else {
            return Ok(());
        };
        let context = self.context(inputs);
        let ContractiveWorkspace { z, bilinear, pass } = workspace;
        *z = inputs[0].to_vec();
        if INVERSE {
            let given = (context, parameters);
            let count = solve(&self.residual, inputs[0], given, self.stopping, (z, pass))?;
            self.iterations.note(count);
        }
        *bilinear = self.log_det(At { z, context, parameters }, inputs, pass, log_det);
        value.copy_from_slice(z);
        if INVERSE {
            log_det.iter_mut().for_each(|log_det| *log_det = -*log_det);
        } else {
            for (x, g) in value.chunks_exact_mut(LANES).zip(pass.values(self.residual.dim)) {
                x.iter_mut().zip(g).for_each(|(x, &g)| *x += g);
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, Self::Workspace>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let Recorded { inputs, parameters, workspace } = block;
        let (d_value, d_log_det) = (output_gradients[0], output_gradients[1]);
        let [d_input, others @ ..] = input_gradients else {
            return;
        };
        let d_context = match others {
            [d_context, ..] if self.context > 0 => &mut **d_context,
            _ => &mut [],
        };
        let z = std::mem::take(&mut workspace.z);
        let at = At { z: &z, context: self.context(inputs), parameters };
        let mut gradients =
            Gradients { z: d_input, context: d_context, parameters: parameter_gradients };
        gradients.z.copy_from_slice(d_value);
        let nothing = vec![E::zero(); d_value.len()];
        let d_residual = if INVERSE { &nothing } else { d_value };
        let sign = if INVERSE { -E::one() } else { E::one() };
        let d_products = scaled(&workspace.bilinear.cotangents, |lane| sign * d_log_det[lane]);
        self.residual.run(at, &workspace.bilinear.directions, &mut workspace.pass);
        let outer = (d_residual, d_products.as_slice());
        self.residual.pull(at, &mut workspace.pass, outer, &mut gradients);
        if INVERSE {
            self.solve_transposed(at, workspace, gradients.z);
            let minus = scaled(gradients.z, |_| -E::one());
            let mut discarded = nothing;
            self.residual.run(at, &[], &mut workspace.pass);
            let mut gradients = Gradients { z: &mut discarded, ..gradients };
            self.residual.pull(at, &mut workspace.pass, (&minus, &[]), &mut gradients);
        }
    }
}

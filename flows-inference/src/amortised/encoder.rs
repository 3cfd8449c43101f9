//! The encoder: a network from data to a diagonal normal and to the context of a flow.

use flows_core::elementwise::{exp, vectorised};
use flows_core::lanes::{lanes, lanes_mut, named, named_mut};
use flows_core::operation::{Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, columns};
use flows_core::{
    Batch, Context, Error, Mlp, NetworkKernel, Parameters, PerRow, Real, Result, Scratch, Stream,
    Tape, Values, custom_gradient, normals,
};

use super::decoder::outputs;

const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_7;

/// An encoder x -> N(m(x), diag(e^s(x))^2) with features h(x) for a flow: a perceptron whose outputs are
/// `[m | s | h]`.
///
/// # Reference
/// Kingma, Welling, *Auto-Encoding Variational Bayes*, ICLR 2014; h is that of Kingma et al., *Improved
/// Variational Inference with Inverse Autoregressive Flow*, NeurIPS 2016.
#[derive(Clone, Debug)]
pub struct Encoder<E: Real> {
    network: Mlp<E>,
    latent: usize,
    context: usize,
}

/// Draws of the normals with their log-densities in nats.
pub(super) struct NormalDraws<E: Real> {
    /// `(rows, latent)`
    pub(super) value: Batch<E>,
    /// `(rows,)`
    pub(super) log_prob: PerRow<E>,
    /// h of the same rows; none for 0 features.
    pub(super) context: Context<E>,
}

impl<E: Real> Encoder<E> {
    /// An encoder to `latent` variables and `context` features.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless the network has `2 latent + context` outputs; [`Error::Parameter`] for
    /// 0 latent variables.
    pub fn new(network: Mlp<E>, latent: usize, context: usize) -> Result<Self> {
        if latent == 0 {
            let (name, requirement) = ("latent variables", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        let (expected, got) = (2 * latent + context, outputs(&network));
        if expected != got {
            return Err(Error::Dimension { op: "outputs of an encoder", expected, got });
        }
        Ok(Self { network, latent, context })
    }

    /// Number of latent variables.
    pub fn latent(&self) -> usize {
        self.latent
    }

    /// Number of features for the flow.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Number of features of the data.
    pub fn dim(&self) -> usize {
        NetworkKernel::<E>::inputs(self.network.kernel())
    }

    /// The outputs `[m | s | h]` for data as the network reads them, `(rows, 2 latent + context)`.
    pub(super) fn outputs(&self, input: &Batch<E>, tape: &mut Tape<E>) -> Result<Batch<E>> {
        self.network.forward(input, tape)
    }

    /// `draws` draws z = m + e^s u of each row of `outputs`, one after another, u from N(0, I).
    pub(super) fn draw(
        &self,
        outputs: &Batch<E>,
        draws: usize,
        tape: &mut Tape<E>,
        rng: &mut Stream,
    ) -> Result<NormalDraws<E>> {
        let outputs = repeated(outputs, draws, tape)?;
        let rows = outputs.rows();
        let noise = batch(normals(rows * self.latent, rng), rows, self.latent)?;
        let operation = Reparameterised { latent: self.latent, context: self.context };
        let mut all = apply(operation, &[&outputs, &noise], &[], tape)?;
        let context = if self.context > 0 { Context::of(all.remove(2)) } else { Context::none() };
        let log_prob = column(all.remove(1), tape)?;
        Ok(NormalDraws { value: all.remove(0), log_prob, context })
    }
}

impl<E: Real> Parameters<E> for Encoder<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.network.visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.network.visit_mut(f)
    }
}

/// Each row `times` times, one after another.
pub(super) fn repeated<E: Real>(
    rows: &Batch<E>,
    times: usize,
    tape: &mut Tape<E>,
) -> Result<Batch<E>> {
    if times == 1 {
        return Ok(rows.clone());
    }
    let (count, width) = (rows.rows(), columns(rows));
    let values: Vec<E> = rows.values().chunks(width).flat_map(|row| row.repeat(times)).collect();
    let backward = move |outer: &[E]| {
        let mut sums = vec![E::zero(); count * width];
        for (sums, copies) in sums.chunks_mut(width).zip(outer.chunks(times * width)) {
            copies.chunks(width).for_each(|copy| flows_core::lanes::add(sums, copy));
        }
        vec![sums]
    };
    custom_gradient(&[rows], (values, count * times, width), backward, tape)
}

/// z = m + e^s u, its log-density, and h, from `[m | s | h]` and u; the noise gets no gradient.
struct Reparameterised {
    latent: usize,
    context: usize,
}

impl<E: Real> Operation<E> for Reparameterised {
    fn name(&self) -> &'static str {
        "draws of an encoder"
    }

    fn output_widths(&self) -> Vec<usize> {
        let mut widths = vec![self.latent, 1];
        if self.context > 0 {
            widths.push(self.context);
        }
        widths
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        _: &[&[E]],
        _: &mut Scratch,
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [moments, noise] = named(inputs);
        if let [value, log_prob, context @ ..] = outputs {
            vectorised(
                #[inline(always)]
                || {
                    for i in 0..self.latent {
                        let (mean, scale) = (lanes(moments, i), lanes(moments, self.latent + i));
                        let (value, noise) = (lanes_mut(value, i), lanes(noise, i));
                        for (lane, sum) in log_prob.iter_mut().enumerate() {
                            let (s, u) = (scale[lane], noise[lane]);
                            value[lane] = mean[lane] + exp(s) * u;
                            *sum -= E::of(0.5) * u * u + s + E::of(HALF_LN_TWO_PI);
                        }
                    }
                },
            );
            let start = moments.len() - self.context * log_prob.len();
            context.iter_mut().for_each(|context| context.copy_from_slice(&moments[start..]));
        }
        Ok(())
    }

    /// d log q / ds is -1: for fixed u the log-density of the draw depends on s alone.
    fn backward(
        &self,
        block: Recorded<'_, E>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        _: &mut [&mut [E]],
    ) -> Result<()> {
        let [moments, noise] = named(block.inputs);
        let [d_moments, _] = named_mut(input_gradients);
        if let [d_value, d_log_prob, d_context @ ..] = output_gradients {
            for i in 0..self.latent {
                let d_value = lanes(d_value, i);
                lanes_mut(d_moments, i).copy_from_slice(d_value);
                let (scale, noise) = (lanes(moments, self.latent + i), lanes(noise, i));
                let d_scale = lanes_mut(d_moments, self.latent + i);
                for (lane, d_scale) in d_scale.iter_mut().enumerate() {
                    *d_scale = d_value[lane] * exp(scale[lane]) * noise[lane] - d_log_prob[lane];
                }
            }
            let start = moments.len() - self.context * d_log_prob.len();
            let into = &mut d_moments[start..];
            d_context.iter().for_each(|d_context| into.copy_from_slice(d_context));
        }
        Ok(())
    }
}

//! A bijector on some of the features, the piece of a multi-scale architecture (review, Section
//! 3.4).

use flows_core::operation::{LANES, Operation, Recorded, apply};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::check_columns;
use flows_core::{
    Batch, Bijector, Context, Costs, Error, LogDet, Mapped, Mode, NoneTape, Parameters, Purpose,
    PutTape, Real, Result, SplitTape, Stream, Work,
};

/// Applies a bijector to given features and leaves the others as they are.
///
/// ```text
/// x[indices] = inner(z[indices]),   x_i = z_i elsewhere,   log |det| = log |det of inner|
/// ```
/// A multi-scale architecture factors features out as it goes from data to base: each level acts on
/// those that are left. In base-to-data order that is the chain `Part(level 3), Part(level 2),
/// level 1`, with fewer features the higher the level.
///
/// # Reference
/// Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, ICLR 2017, section 3.6 (eq.
/// 13-16). <https://arxiv.org/abs/1605.08803>
#[derive(Debug)]
pub struct Part<B> {
    inner: B,
    dim: usize,
    indices: Vec<usize>,
}

impl<B> Part<B> {
    /// `inner` on the features `indices` of `dim`, in their order.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless there are as many indices as `inner` has features;
    /// [`Error::Parameter`] unless they are below `dim` and differ.
    pub fn new<E: Real>(inner: B, dim: usize, indices: Vec<usize>) -> Result<Self>
    where
        B: Bijector<E>,
    {
        let (expected, got) = (inner.dim(), indices.len());
        if expected != got {
            return Err(Error::Dimension { op: "features of a part", expected, got });
        }
        let mut free = vec![true; dim];
        for &index in &indices {
            if !free.get_mut(index).is_some_and(std::mem::take) {
                let (name, requirement) = ("index of a part", "below the dimension and used once");
                return Err(Error::Parameter { name, requirement, value: index as f64 });
            }
        }
        Ok(Self { inner, dim, indices })
    }

    /// The chosen features of a batch.
    fn gather<E: Real, T: Mode<E>>(&self, whole: &Batch<E>, tape: &mut T) -> Result<Batch<E>> {
        check_columns("part", whole, self.dim)?;
        let operation = Gather { indices: self.indices.clone() };
        Ok(apply(operation, &[whole], &[], tape)?.remove(0))
    }

    /// The batch with the chosen features replaced.
    fn scatter<E: Real, T: Mode<E>>(
        &self,
        whole: &Batch<E>,
        chosen: &Batch<E>,
        tape: &mut T,
    ) -> Result<Batch<E>> {
        let operation = Scatter { dim: self.dim, indices: self.indices.clone() };
        Ok(apply(operation, &[whole, chosen], &[], tape)?.remove(0))
    }

    fn map<E: Real, T: Mode<E>>(
        &self,
        input: Batch<E, T>,
        inner: impl FnOnce(Batch<E, T>) -> Result<Mapped<E, T>>,
    ) -> Result<Mapped<E, T>> {
        let (input, mut tape) = input.split_tape();
        let chosen = self.gather(&input, &mut tape)?;
        let Mapped { value, log_det, penalty, mut tape, work } = inner(chosen.put_tape(tape))?;
        let value = self.scatter(&input, &value, &mut tape)?;
        Ok(Mapped { value, log_det, penalty, tape, work })
    }
}

impl<E: Real, B: Bijector<E>> Parameters<E> for Part<B> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.inner.visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.inner.visit_mut(f)
    }
}

impl<E: Real, B: Bijector<E>> Bijector<E> for Part<B> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn costs(&self) -> Costs {
        self.inner.costs()
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.map(z, |z| self.inner.forward(z, context))
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        self.map(x, |x| self.inner.inverse(x, context))
    }

    fn forward_value(&self, z: Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        let chosen = self.gather(&z, &mut NoneTape)?;
        let (value, work) = self.inner.forward_value(chosen, context)?;
        Ok((self.scatter(&z, &value, &mut NoneTape)?, work))
    }

    fn log_det(&self) -> LogDet {
        self.inner.log_det()
    }

    fn set_purpose(&mut self, purpose: Purpose) {
        self.inner.set_purpose(purpose);
    }

    fn resample_probes(&mut self, rng: &mut Stream) {
        self.inner.resample_probes(rng);
    }

    fn initialise(&mut self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        let chosen = self.gather(&x, &mut NoneTape)?;
        let chosen = self.inner.initialise(chosen, context)?;
        self.scatter(&x, &chosen, &mut NoneTape)
    }
}

fn lanes<E>(values: &[E], feature: usize) -> &[E] {
    &values[feature * LANES..(feature + 1) * LANES]
}

fn lanes_mut<E>(values: &mut [E], feature: usize) -> &mut [E] {
    &mut values[feature * LANES..(feature + 1) * LANES]
}

struct Gather {
    indices: Vec<usize>,
}

impl<E: Real> Operation<E> for Gather {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "part"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.indices.len()]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        _: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        for (place, &index) in self.indices.iter().enumerate() {
            lanes_mut(outputs[0], place).copy_from_slice(lanes(inputs[0], index));
        }
        Ok(())
    }

    fn backward(
        &self,
        _: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        _: &mut [&mut [E]],
    ) {
        for (place, &index) in self.indices.iter().enumerate() {
            lanes_mut(input_gradients[0], index).copy_from_slice(lanes(output_gradients[0], place));
        }
    }
}

struct Scatter {
    dim: usize,
    indices: Vec<usize>,
}

impl<E: Real> Operation<E> for Scatter {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "part"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        _: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        outputs[0].copy_from_slice(inputs[0]);
        for (place, &index) in self.indices.iter().enumerate() {
            lanes_mut(outputs[0], index).copy_from_slice(lanes(inputs[1], place));
        }
        Ok(())
    }

    fn backward(
        &self,
        _: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        _: &mut [&mut [E]],
    ) {
        let [d_whole, d_chosen] = input_gradients else {
            return;
        };
        d_whole.copy_from_slice(output_gradients[0]);
        for (place, &index) in self.indices.iter().enumerate() {
            lanes_mut(d_chosen, place).copy_from_slice(lanes(output_gradients[0], index));
            lanes_mut(d_whole, index).fill(E::zero());
        }
    }
}

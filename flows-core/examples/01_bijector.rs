//! A bijector of one's own, from its formula to the density of a flow.
//!
//! x = sinh z, feature by feature: log |dx/dz| = ln cosh z. What has to be written is the map, its
//! log-det and their gradients, over blocks of rows; everything else is shared. `check_bijector` then
//! says whether it is right.
//!
//! Run with `cargo run --release -p flows-core --example 01_bijector`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::check_columns;
use flows_core::testing::{Tolerance, check_bijector};
use flows_core::{
    Base, Batch, Bijector, BoxBijector, Context, Costs, Flow, Mapped, Mode, Parameters, Real,
    Result, SplitTape, Work,
};

/// x = sinh z.
#[derive(Debug)]
struct Sinh {
    dim: usize,
}

impl Sinh {
    fn map<E: Real, T: Mode<E>, const INVERSE: bool>(
        &self,
        input: Batch<E, T>,
    ) -> Result<Mapped<E, T>> {
        check_columns("sinh", &input, self.dim)?;
        let (input, mut tape) = input.split_tape();
        let operation = SinhOperation::<INVERSE> { dim: self.dim };
        let mut outputs = apply(operation, &[&input], &[], &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        Ok(Mapped::new(outputs.remove(0), log_det, tape, Work::default()))
    }
}

/// There is nothing to learn.
impl<E: Real> Parameters<E> for Sinh {
    fn visit(&self, _: &mut Visitor<'_, E>) {}

    fn visit_mut(&mut self, _: &mut VisitorMut<'_, E>) -> Result<()> {
        Ok(())
    }
}

impl<E: Real> Bijector<E> for Sinh {
    fn dim(&self) -> usize {
        self.dim
    }

    fn costs(&self) -> Costs {
        Costs::CLOSED_FORM
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<E, T, false>(z)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<E, T, true>(x)
    }
}

/// Outputs: the image, and the log-det in one column.
struct SinhOperation<const INVERSE: bool> {
    dim: usize,
}

impl<E: Real, const INVERSE: bool> Operation<E> for SinhOperation<INVERSE> {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "sinh"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.dim, 1]
    }

    /// Forwards y = sinh x with ln cosh x; backwards y = asinh x with -ln sqrt(1 + x^2).
    fn forward(
        &self,
        inputs: &[&[E]],
        _: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [images, log_det] = outputs else { return Ok(()) };
        for (i, (&x, y)) in inputs[0].iter().zip(images.iter_mut()).enumerate() {
            *y = if INVERSE { x.asinh() } else { x.sinh() };
            log_det[i % LANES] +=
                if INVERSE { -(E::one() + x * x).sqrt().ln() } else { x.cosh().ln() };
        }
        Ok(())
    }

    /// Forwards cosh x and tanh x; backwards 1 / sqrt(1 + x^2) and -x / (1 + x^2).
    fn backward(
        &self,
        block: Recorded<'_, E, ()>,
        outer: &[&[E]],
        inner: &mut [&mut [E]],
        _: &mut [&mut [E]],
    ) {
        for (i, (&x, gradient)) in block.inputs[0].iter().zip(inner[0].iter_mut()).enumerate() {
            let root = (E::one() + x * x).sqrt();
            let (slope, of_log_det) =
                if INVERSE { (root.recip(), -x / (root * root)) } else { (x.cosh(), x.tanh()) };
            *gradient = slope * outer[0][i] + of_log_det * outer[1][i % LANES];
        }
    }
}

fn main() -> Result<()> {
    let normal = |rng: &mut flows_core::Stream| flows_core::normals::<f64>(1, rng)[0];
    check_bijector(&mut Sinh { dim: 2 }, 0, normal, Tolerance::default());
    println!("round trip, log-det and gradients agree with differences");

    let flow = Flow::<f64>::new(Base::standard_normal(1), BoxBijector::new(Sinh { dim: 1 }))?;
    let cells = 200_000;
    let width = 2000.0 / f64::from(cells);
    let points: Vec<f64> = (0..cells).map(|i| -1000.0 + width * (f64::from(i) + 0.5)).collect();
    let (log_prob, _) = flow.evaluate(&points, &Context::none())?;
    let mass = width * log_prob.iter().map(|l| l.exp()).sum::<f64>();
    println!("its density between -1000 and 1000 integrates to {mass:.9}");
    Ok(())
}

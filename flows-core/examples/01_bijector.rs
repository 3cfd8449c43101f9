//! A bijector of one's own, from its formula to the density of a flow.
//!
//! x = sinh z, feature by feature: log |dx/dz| = ln cosh z. A layer that is a formula on rows is a
//! [`Map`]: it computes a block of [`LANES`] rows, feature i of row j being at `i * LANES + j`, and
//! the gradient of what it computed. [`Layer`] makes a bijector of it, which stands in chains, flows
//! and training like any other, and `check_bijector` says whether the formula is right.
//!
//! A map with parameters names them in its `layout`, finds them in `at.parameters` and adds to
//! `at.gradients`; one that is conditioned says its `context_dim`, reads `at.context` and adds to
//! `at.d_context`; what it keeps for its gradient it leaves in the scratch.
//!
//! Run with `cargo run --release -p flows-core --example 01_bijector`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use flows_core::map::{Block, Pull, Solve};
use flows_core::operation::LANES;
use flows_core::testing::{Tolerance, check_bijector, normal_point};
use flows_core::{
    Base, Context, Flow, HasLayout, Layer, Layout, Map, Real, Result, Scratch, Work, stream,
};

/// x = sinh z.
#[derive(Debug)]
struct Sinh {
    dim: usize,
}

/// There is nothing to learn.
impl HasLayout for Sinh {
    fn layout(&self) -> Vec<Layout> {
        Vec::new()
    }
}

impl<E: Real> Map<E> for Sinh {
    fn name(&self) -> &'static str {
        "sinh"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    /// x = sinh z, log |dx/dz| = ln cosh z.
    fn forward(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        for (i, (x, &z)) in at.value.iter_mut().zip(at.input).enumerate() {
            *x = z.sinh();
            at.log_det[i % LANES] += z.cosh().ln();
        }
        Ok(Work::default())
    }

    /// z = asinh x, log |dz/dx| = -ln cosh z.
    fn inverse(&self, at: Block<'_, E>, _: &mut Scratch) -> Result<Work> {
        for (i, (z, &x)) in at.value.iter_mut().zip(at.input).enumerate() {
            *z = x.asinh();
            at.log_det[i % LANES] -= z.cosh().ln();
        }
        Ok(Work::default())
    }

    /// dx/dz = cosh z, d(ln cosh z)/dz = tanh z.
    fn forward_gradient(&self, at: Pull<'_, '_, E>, _: &mut Scratch) -> Result<()> {
        for (i, (d, &z)) in at.d_input.iter_mut().zip(at.input).enumerate() {
            *d = z.cosh() * at.d_value[i] + z.tanh() * at.d_log_det[i % LANES];
        }
        Ok(())
    }

    /// The transposed Jacobian, diagonal here, solved: the gradient of the inverse follows from it
    /// and from that of `forward` by the implicit function theorem.
    fn solve_transposed(
        &self,
        at: Solve<'_, E>,
        _: &mut Scratch,
        gradient: &mut [E],
    ) -> Result<()> {
        gradient.iter_mut().zip(at.input).for_each(|(g, &z)| *g /= z.cosh());
        Ok(())
    }
}

fn main() -> Result<()> {
    let rng = &mut stream(0, "init");
    let mut layer = Layer::new(Sinh { dim: 2 }, rng)?;
    check_bijector(&mut layer, normal_point(1.0), Tolerance::default());
    println!("round trip, log-det and gradients agree with differences");

    let layer = Layer::new(Sinh { dim: 1 }, rng)?;
    let flow = Flow::<f64>::new(Base::standard_normal(1), Box::new(layer))?;
    let cells = 200_000;
    let width = 2000.0 / f64::from(cells);
    let points: Vec<f64> = (0..cells).map(|i| -1000.0 + width * (f64::from(i) + 0.5)).collect();
    let (log_prob, _) = flow.evaluate(&points, &Context::none())?;
    let mass = width * log_prob.iter().map(|l| l.exp()).sum::<f64>();
    println!("its density between -1000 and 1000 integrates to {mass:.9}");
    Ok(())
}

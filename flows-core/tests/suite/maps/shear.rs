//! A map with a context, its gradient written out or implicit.

use flows_core::lanes::{add, lanes, lanes_mut, named, named_mut};
use flows_core::map::{Block, Pull, Solve, implicit_gradient};
use flows_core::operation::LANES;
use flows_core::{HasLayout, Layout, Map, Result, Scratch, Work};

/// x_1 = z_1, x_2 = z_2 + tanh(w z_1 + c . context), w and c learned. The gradient of the inverse is
/// written out or implicit.
#[derive(Debug)]
pub(crate) struct Shear {
    pub(crate) context_dim: usize,
    pub(crate) implicit: bool,
}

/// tanh(w z + c . context) of every lane.
pub(super) fn turned(z: &[f64], context: &[f64], w: f64, c: &[f64]) -> Vec<f64> {
    let linear = |lane: usize| {
        let features = c.iter().enumerate();
        w * z[lane] + features.map(|(k, c)| c * lanes(context, k)[lane]).sum::<f64>()
    };
    (0..LANES).map(|lane| linear(lane).tanh()).collect()
}

/// From the gradient of w z + c . context to those of w, c and the context; returns that of z.
pub(super) fn pull_linear(
    outer: &[f64],
    (z, context): (&[f64], &[f64]),
    (w, c): (f64, &[f64]),
    (d_w, d_c, d_context): (&mut [f64], &mut [f64], &mut [f64]),
) -> Vec<f64> {
    for (lane, outer) in outer.iter().enumerate() {
        d_w[0] += outer * z[lane];
        for (k, c) in c.iter().enumerate() {
            d_c[k] += outer * lanes(context, k)[lane];
            lanes_mut(d_context, k)[lane] += outer * c;
        }
    }
    outer.iter().map(|outer| w * outer).collect()
}

impl Shear {
    fn run(&self, at: Block<'_, f64>, scratch: &mut Scratch, sign: f64) -> Work {
        let [w, c] = named(at.parameters);
        let kept: &mut Vec<f64> = scratch.or_default();
        *kept = turned(lanes(at.input, 0), at.context, w[0], c);
        at.value.copy_from_slice(at.input);
        lanes_mut(at.value, 1).iter_mut().zip(kept).for_each(|(x, t)| *x += sign * *t);
        Work::passes(1)
    }

    fn pull(&self, at: Pull<'_, '_, f64>, scratch: &mut Scratch, sign: f64) {
        let ([w, c], [d_w, d_c]) = (named(at.parameters), named_mut(at.gradients));
        let kept: &mut Vec<f64> = scratch.left();
        let slope = |(g, t): (&f64, &f64)| sign * (1.0 - t * t) * g;
        let outer: Vec<f64> = lanes(at.d_value, 1).iter().zip(&*kept).map(slope).collect();
        let from = (lanes(at.input, 0), at.context);
        let inner = pull_linear(&outer, from, (w[0], c), (d_w, d_c, at.d_context));
        at.d_input.copy_from_slice(at.d_value);
        add(lanes_mut(at.d_input, 0), &inner);
    }
}

impl HasLayout for Shear {
    fn layout(&self) -> Vec<Layout> {
        vec![Layout::uniform("slope", 1, 1, 1), Layout::uniform("weight", 1, self.context_dim, 1)]
    }
}

impl Map<f64> for Shear {
    fn name(&self) -> &'static str {
        "shear"
    }

    fn dim(&self) -> usize {
        2
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    fn forward(&self, at: Block<'_, f64>, scratch: &mut Scratch) -> Result<Work> {
        Ok(self.run(at, scratch, 1.0))
    }

    fn inverse(&self, at: Block<'_, f64>, scratch: &mut Scratch) -> Result<Work> {
        Ok(self.run(at, scratch, -1.0))
    }

    fn forward_gradient(&self, at: Pull<'_, '_, f64>, scratch: &mut Scratch) -> Result<()> {
        self.pull(at, scratch, 1.0);
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, f64>, scratch: &mut Scratch) -> Result<()> {
        if self.implicit {
            return implicit_gradient(self, at, scratch);
        }
        self.pull(at, scratch, -1.0);
        Ok(())
    }

    fn solve_transposed(
        &self,
        at: Solve<'_, f64>,
        scratch: &mut Scratch,
        gradient: &mut [f64],
    ) -> Result<()> {
        let ([w, _], kept) = (named(at.parameters), scratch.left::<Vec<f64>>());
        let (first, second) = gradient.split_at_mut(LANES);
        for ((g, h), t) in first.iter_mut().zip(second).zip(kept) {
            *g -= w[0] * (1.0 - *t * *t) * *h;
        }
        Ok(())
    }
}

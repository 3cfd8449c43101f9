//! A map with a context whose inverse is an iteration, with an implicit gradient.

use flows_core::lanes::{add, lanes, lanes_mut, named, named_mut};
use flows_core::map::{Block, Pull, Solve};
use flows_core::operation::LANES;
use flows_core::{Cost, Costs, HasLayout, Layout, Map, Result, Scratch, Work};

use super::shear::{Shear, pull_linear, turned};

/// x_1 = z_1 + e^a z_1^3, x_2 = z_2 exp(tanh(w z_1 + c . context)), all learned. The inverse takes
/// Newton's method, and its gradient is implicit.
#[derive(Debug)]
pub(crate) struct Bend {
    pub(crate) context_dim: usize,
}

impl HasLayout for Bend {
    fn layout(&self) -> Vec<Layout> {
        let shear = Shear { context_dim: self.context_dim, implicit: false };
        let linear = shear.layout().into_iter().map(|layout| layout.within("inner"));
        [Layout::given("log_cubic", 1, 1, vec![-2.0])].into_iter().chain(linear).collect()
    }
}

impl Map<f64> for Bend {
    fn name(&self) -> &'static str {
        "bend"
    }

    fn dim(&self) -> usize {
        2
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::ClosedForm, inverse: Cost::Iterative }
    }

    fn forward(&self, at: Block<'_, f64>, scratch: &mut Scratch) -> Result<Work> {
        let [a, w, c] = named(at.parameters);
        let kept: &mut Vec<f64> = scratch.or_default();
        *kept = turned(lanes(at.input, 0), at.context, w[0], c);
        for (lane, s) in kept.iter().enumerate() {
            let (z, cubic) = (at.input[lane], a[0].exp());
            at.value[lane] = z + cubic * z.powi(3);
            at.value[LANES + lane] = at.input[LANES + lane] * s.exp();
            at.log_det[lane] += (1.0 + 3.0 * cubic * z * z).ln() + s;
        }
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, f64>, scratch: &mut Scratch) -> Result<Work> {
        let [a, w, c] = named(at.parameters);
        let cubic = a[0].exp();
        let mut most = 0;
        for lane in 0..LANES {
            let (x, mut z) = (at.input[lane], at.input[lane]);
            // From outside, the iterates fall towards the root until rounding stops them.
            for step in 1..100 {
                most = most.max(step);
                let next = z - (z + cubic * z.powi(3) - x) / (1.0 + 3.0 * cubic * z * z);
                if next.abs() < z.abs() {
                    z = next;
                } else {
                    break;
                }
            }
            at.value[lane] = z;
        }
        let kept: &mut Vec<f64> = scratch.or_default();
        *kept = turned(lanes(at.value, 0), at.context, w[0], c);
        for (lane, s) in kept.iter().enumerate() {
            let z = at.value[lane];
            at.value[LANES + lane] = at.input[LANES + lane] * (-s).exp();
            at.log_det[lane] -= (1.0 + 3.0 * cubic * z * z).ln() + s;
        }
        Ok(Work::iterations(most))
    }

    fn forward_gradient(&self, at: Pull<'_, '_, f64>, scratch: &mut Scratch) -> Result<()> {
        let ([a, w, c], [d_a, d_w, d_c]) = (named(at.parameters), named_mut(at.gradients));
        let (kept, cubic) = (scratch.left::<Vec<f64>>(), a[0].exp());
        let mut outer = vec![0.0; LANES];
        for (lane, s) in kept.iter().enumerate() {
            let (z, y) = (at.input[lane], at.input[LANES + lane]);
            let (g, h, l) = (at.d_value[lane], at.d_value[LANES + lane], at.d_log_det[lane]);
            let slope = 1.0 + 3.0 * cubic * z * z;
            d_a[0] += cubic * (g * z.powi(3) + l * 3.0 * z * z / slope);
            at.d_input[lane] = g * slope + l * 6.0 * cubic * z / slope;
            at.d_input[LANES + lane] = h * s.exp();
            outer[lane] = (1.0 - s * s) * (h * y * s.exp() + l);
        }
        let from = (lanes(at.input, 0), at.context);
        let inner = pull_linear(&outer, from, (w[0], c), (d_w, d_c, at.d_context));
        add(lanes_mut(at.d_input, 0), &inner);
        Ok(())
    }

    fn solve_transposed(
        &self,
        at: Solve<'_, f64>,
        scratch: &mut Scratch,
        gradient: &mut [f64],
    ) -> Result<()> {
        let ([a, w, _], kept) = (named(at.parameters), scratch.left::<Vec<f64>>());
        let (first, second) = gradient.split_at_mut(LANES);
        for (lane, s) in kept.iter().enumerate() {
            let (z, y) = (at.input[lane], at.input[LANES + lane]);
            second[lane] /= s.exp();
            first[lane] -= second[lane] * y * s.exp() * (1.0 - s * s) * w[0];
            first[lane] /= 1.0 + 3.0 * a[0].exp() * z * z;
        }
        Ok(())
    }
}

//! Elementwise flows: a scalar transformer for each feature, unconditioned (review, Section 3.1.1).

use std::sync::Arc;

use flows_core::lanes::{add_lane_sums, lanes, lanes_mut};
use flows_core::map::{Block, Pull};
use flows_core::operation::LANES;
use flows_core::{
    Cost, Costs, Direction, HasLayout, Layout, Map, Real, Result, Scratch, Space, Work,
    image_spaces,
};

use crate::transformer::{Inner, Outer, Transformer};

/// An elementwise flow: x_i = tau(z_i; theta_i) with learned parameters theta_i for each feature.
///
/// The Jacobian is diagonal: the log-det is the sum of the log-slopes. It starts at the
/// transformer's [`initial`](Transformer::initial) parameters. A transformer without parameters
/// makes a fixed map, such as the one onto an [`Interval`](crate::transformer::Interval). Domain,
/// accuracy and the cost of the inverse are the transformer's.
///
/// # Reference
/// Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan, *Normalizing Flows for
/// Probabilistic Modeling and Inference*, JMLR 22(57), 2021, section 3.1.1.
/// <https://arxiv.org/abs/1912.02762>
#[derive(Clone, Debug)]
pub struct Elementwise<E: Real> {
    dim: usize,
    transformer: Arc<dyn Transformer<E>>,
}

/// The parameters of a feature, broadcast to LANES copies, and their gradients.
#[derive(Debug, Default)]
struct Spread<E> {
    theta: Vec<E>,
    d_theta: Vec<E>,
}

impl<E: Real> Elementwise<E> {
    /// The same transformer for each of `dim` features.
    #[must_use]
    pub fn new(dim: usize, transformer: Arc<dyn Transformer<E>>) -> Self {
        Self { dim, transformer }
    }

    /// Broadcasts the parameters of a feature to LANES copies; anew for every block, because one
    /// feature's copies stay in the cache and all features' would not.
    fn spread(&self, parameters: &[&[E]], feature: usize, theta: &mut Vec<E>) {
        let arity = self.transformer.arity();
        theta.resize(arity * LANES, E::zero());
        // Without parameters there is no tensor.
        let all = parameters.first().copied().unwrap_or_default();
        for (copies, &parameter) in theta.chunks_exact_mut(LANES).zip(&all[feature * arity..]) {
            copies.fill(parameter);
        }
    }

    fn pull(&self, direction: Direction, at: Pull<'_, '_, E>, scratch: &mut Scratch) {
        let Spread { theta, d_theta } = scratch.or_default();
        let arity = self.transformer.arity();
        d_theta.resize(arity * LANES, E::zero());
        for feature in 0..self.dim {
            self.spread(at.parameters, feature, theta);
            let outer = Outer { value: lanes(at.d_value, feature), log_slope: at.d_log_det };
            let inner = Inner { value: lanes_mut(at.d_input, feature), theta: d_theta };
            let (input, value) = (lanes(at.input, feature), lanes(at.value, feature));
            match direction {
                Direction::Forward => {
                    self.transformer.forward_gradient(input, theta, outer, inner);
                }
                Direction::Inverse => {
                    self.transformer.inverse_gradient(value, theta, outer, inner);
                }
            }
            if let Some(sums) = at.gradients.first_mut() {
                add_lane_sums(d_theta, E::one(), &mut sums[feature * arity..]);
            }
        }
    }
}

impl<E: Real> HasLayout for Elementwise<E> {
    fn layout(&self) -> Vec<Layout> {
        match self.transformer.arity() {
            0 => Vec::new(),
            arity => {
                let start = self.transformer.initial().repeat(self.dim);
                vec![Layout::given("theta", self.dim, arity, start)]
            }
        }
    }
}

impl<E: Real> Map<E> for Elementwise<E> {
    fn name(&self) -> &'static str {
        "elementwise"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        let image = |space| self.transformer.image_space(space);
        image_spaces(self.transformer.name(), from, 0..self.dim, image)
    }

    fn costs(&self) -> Costs {
        let closed = self.transformer.closed_inverse();
        let inverse = if closed { Cost::ClosedForm } else { Cost::Iterative };
        Costs { forward: Cost::ClosedForm, inverse }
    }

    fn forward(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let Spread { theta, .. } = scratch.or_default();
        for feature in 0..self.dim {
            self.spread(at.parameters, feature, theta);
            let (z, x) = (lanes(at.input, feature), lanes_mut(at.value, feature));
            self.transformer.forward(z, theta, x, at.log_det)?;
        }
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let Spread { theta, .. } = scratch.or_default();
        let mut iterations = 0;
        for feature in 0..self.dim {
            self.spread(at.parameters, feature, theta);
            let (x, z) = (lanes(at.input, feature), lanes_mut(at.value, feature));
            iterations += self.transformer.inverse(x, theta, z, at.log_det)?;
        }
        Ok(Work { iterations, ..Work::default() })
    }

    fn forward_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        self.pull(Direction::Forward, at, scratch);
        Ok(())
    }

    /// The Jacobian is diagonal, so the transformer's inverse gradient is all there is.
    fn inverse_gradient(&self, at: Pull<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        self.pull(Direction::Inverse, at, scratch);
        Ok(())
    }
}

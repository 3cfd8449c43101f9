//! The weights that training keeps, with the statistics that were validated with them.

use crate::parameters::{Parameters, Role};
use crate::tensor::{Values, set_values};
use crate::{Flow, Real, Result};

/// Values of all tensors of a flow, in the order of [`Parameters::visit`].
///
/// The fixed ones belong to the weights: running statistics of batch norm or the vectors of a power
/// iteration that later steps moved on would make another flow of them.
#[derive(Debug)]
pub(super) struct Best<E> {
    pub(super) learned: Vec<Vec<E>>,
    pub(super) fixed: Vec<Vec<E>>,
}

impl<E: Real> Best<E> {
    /// The flow's tensors, the learned ones as `average` has them, if there is one.
    pub(super) fn of(flow: &Flow<E>, average: Option<&[Vec<E>]>) -> Self {
        let learned = average.map_or_else(|| values_of(Role::Learned, flow), <[Vec<E>]>::to_vec);
        Self { learned, fixed: values_of(Role::Fixed, flow) }
    }

    /// Sets the tensors of the flow to these values.
    pub(super) fn restore(&self, flow: &mut Flow<E>) -> Result<()> {
        set_values_of(Role::Learned, flow, &self.learned)?;
        set_values_of(Role::Fixed, flow, &self.fixed)
    }
}

/// Values of the tensors of one role, in the order of [`Parameters::visit`].
pub(super) fn values_of<E: Real>(wanted: Role, flow: &Flow<E>) -> Vec<Vec<E>> {
    let mut all = Vec::new();
    flow.visit(&mut |_, role, tensor| {
        if role == wanted {
            all.push(tensor.values());
        }
    });
    all
}

/// Sets the tensors of one role to what [`values_of`] gave.
pub(super) fn set_values_of<E: Real>(
    wanted: Role,
    flow: &mut Flow<E>,
    values: &[Vec<E>],
) -> Result<()> {
    let mut next = values.iter();
    flow.visit_mut(&mut |_, role, tensor| match next.as_slice().first() {
        Some(values) if role == wanted => {
            next.next();
            set_values(tensor, values)
        }
        _ => Ok(()),
    })
}

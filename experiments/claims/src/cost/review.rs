//! How costs grow in the review.

use super::axis::Axis;
use super::model::Model;
use super::quantity::{Operation, Quantity};

impl Model {
    /// The exponent that the review gives, if it gives one.
    pub(super) fn review(
        self,
        axis: Axis,
        operation: Operation,
        quantity: Quantity,
    ) -> Option<f64> {
        match (quantity, axis) {
            (Quantity::Evaluations, Axis::Dimension) => Some(self.passes(operation)),
            (Quantity::Evaluations, Axis::Rows) => Some(0.0),
            (Quantity::Evaluations | Quantity::Multiplications, Axis::Threads) => Some(0.0),
            (Quantity::Evaluations, Axis::Depth) => Some(1.0),
            (Quantity::Multiplications | Quantity::Seconds, Axis::Dimension) => {
                Some(self.pass() + self.passes(operation) + self.products(operation))
            }
            (Quantity::Multiplications | Quantity::Seconds, Axis::Rows | Axis::Depth) => Some(1.0),
            (Quantity::Seconds, Axis::Threads) => Some(-1.0),
            (Quantity::Bytes, Axis::Depth) if self == Self::Adjoint => match operation {
                Operation::Step => Some(0.0),
                Operation::Density | Operation::Draw => None,
            },
            _ => None,
        }
    }

    /// Exponent of D in the weights of a network.
    fn pass(self) -> f64 {
        if matches!(self, Self::Maf | Self::NsfAutoregressive) { 2.0 } else { 1.0 }
    }

    /// Exponent of D in the passes of an operation.
    fn passes(self, operation: Operation) -> f64 {
        if self == Self::Maf && operation == Operation::Draw { 1.0 } else { 0.0 }
    }

    /// Exponent of D in the products with a Jacobian; a draw without its density needs none.
    fn products(self, operation: Operation) -> f64 {
        if self == Self::ExactTrace && operation != Operation::Draw { 1.0 } else { 0.0 }
    }
}

//! Linear flows (review, Section 3.2 and Appendix B).

mod decompositions;
pub(crate) mod factors;
mod generator;
mod lu;
mod orthogonal;
mod permutation;
mod triangular;

pub use decompositions::{qr, svd};
pub use factors::Triangle;
pub use generator::Generator;
pub use lu::LuLinear;
pub use orthogonal::Orthogonal;
pub use permutation::Permutation;
pub use triangular::Triangular;

//! Linear flows (review, Section 3.2 and Appendix B).

mod decompositions;
mod generator;
mod lu;
mod orthogonal;
mod permutation;
mod triangular;
pub(crate) mod triangular_matrix;

pub use decompositions::{qr, svd};
pub use generator::Generator;
pub use lu::LuLinear;
pub use orthogonal::Orthogonal;
pub use permutation::Permutation;
pub use triangular::Triangular;
pub use triangular_matrix::Triangle;

//! Linear flows (review, Section 3.2 and Appendix B).

mod lu;
mod permutation;

pub use lu::LuLinear;
pub use permutation::Permutation;

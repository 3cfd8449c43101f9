//! Residual flows (review, Section 3.3).

mod contractive;
mod determinant;
mod fixed_point;
mod lipschitz;
mod log_det;
mod planar;
mod radial;
mod spectral;
mod sylvester;
mod tangents;
mod tanh_root;

pub use contractive::Contractive;
pub use determinant::Determinant;
pub use lipschitz::{Constraint, LipschitzNetwork};
pub use planar::Planar;
pub use radial::Radial;
pub use spectral::Norm;
pub use sylvester::Sylvester;

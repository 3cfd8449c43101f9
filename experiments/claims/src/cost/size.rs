//! How large a measurement is.

/// How large a measurement is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Features D.
    pub(super) dim: usize,
    pub(super) rows: usize,
    /// Layers, or steps of a solver.
    pub(super) depth: usize,
    pub(super) threads: usize,
}

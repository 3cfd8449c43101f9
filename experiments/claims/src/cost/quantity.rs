//! What is measured, and of what.

/// What a flow is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Log-densities of a batch.
    Density,
    /// As many draws.
    Draw,
    /// Loss, gradient and update on a batch.
    Step,
}

/// What is measured of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    Evaluations,
    Multiplications,
    Seconds,
    Bytes,
}

impl Operation {
    pub(super) const ALL: [Self; 3] = [Self::Density, Self::Draw, Self::Step];

    /// Name for readers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Density => "density",
            Self::Draw => "draw",
            Self::Step => "training step",
        }
    }
}

impl Quantity {
    /// Name for readers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Evaluations => "evaluations",
            Self::Multiplications => "multiplications",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }
}

//! Claims whose subject this workspace does not have yet.

use crate::{Check, Claim};

pub(crate) const C41: Claim = Claim {
    id: "C41",
    title: "Piecewise-invertible maps",
    review: "A map that is invertible on each of several regions has an exact density, one preimage \
             for each region or a choice among them (Section 5.2).",
    method: "The density of a folded line against a histogram of its draws, and its integral.",
    check: Check::NotBuilt(
        "There is no layer that partitions its space (real-and-discrete flows).",
    ),
};

pub(crate) const C42: Claim = Claim {
    id: "C42",
    title: "Discrete flows",
    review: "A bijection of a discrete space only permutes the probabilities of its states \
             (Section 5.3).",
    method: "The sorted probabilities before and after, and the bound of dequantisation against the \
             exact probability.",
    check: Check::NotBuilt("There are no flows over discrete variables; tables are dequantised."),
};

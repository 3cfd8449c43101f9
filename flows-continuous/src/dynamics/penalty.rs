//! Path regularisation of continuous flows, which makes them easier to integrate.

use flows_core::Result;
use serde::{Deserialize, Serialize};

use crate::dynamics::divergence::Divergence;
use crate::field::Structure;
use crate::requirement::require;

/// Weights of path integrals that are added to the training loss, in nats per unit of each.
///
/// | field | integrand | source |
/// |---|---|---|
/// | `kinetic` | \|f\|^2, the squared speed | RNODE, eq. 7; twice the transport cost of OT-Flow |
/// | `frobenius` | \|J\|_F^2, exact or estimated with the probes of the trace | RNODE, eq. 8 |
/// | `hamilton_jacobi` | \|residual of the Hamilton-Jacobi-Bellman equation\| | OT-Flow, eq. 7 |
///
/// The last one has a kink where its residual changes sign; there the gradient of an adaptive
/// solver is accurate to about the root of its tolerance. All default to 0, which costs nothing;
/// `frobenius` needs tangents, `hamilton_jacobi` a potential field.
///
/// # Reference
/// Finlay, Jacobsen, Nurbekyan, Oberman, *How to Train Your Neural ODE*, ICML 2020.
/// <https://arxiv.org/abs/2002.02798>
/// Onken, Fung, Li, Ruthotto, *OT-Flow*, AAAI 2021. <https://arxiv.org/abs/2006.00104>
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Penalties {
    /// Weight of the kinetic energy.
    pub kinetic: f64,
    /// Weight of the squared Frobenius norm of the Jacobian.
    pub frobenius: f64,
    /// Weight of the Hamilton-Jacobi-Bellman residual.
    pub hamilton_jacobi: f64,
}

/// A penalty integrand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalty {
    /// Squared speed.
    Kinetic,
    /// Squared Frobenius norm of the Jacobian.
    Frobenius,
    /// Absolute residual of the Hamilton-Jacobi-Bellman equation.
    HamiltonJacobi,
}

impl Penalties {
    /// The penalties with a positive weight, and their weights.
    #[must_use]
    pub fn active(self) -> Vec<(Penalty, f64)> {
        let all = [
            (Penalty::Kinetic, self.kinetic),
            (Penalty::Frobenius, self.frobenius),
            (Penalty::HamiltonJacobi, self.hamilton_jacobi),
        ];
        all.into_iter().filter(|(_, weight)| *weight != 0.0).collect()
    }

    /// Checks the weights, and that field and divergence can give the penalties.
    ///
    /// # Errors
    /// [`Error::Parameter`](flows_core::Error::Parameter) otherwise.
    pub fn check(self, divergence: Divergence, structure: Structure) -> Result<()> {
        for (name, weight) in [
            ("weight of the kinetic energy", self.kinetic),
            ("weight of the Frobenius norm", self.frobenius),
            ("weight of the Hamilton-Jacobi residual", self.hamilton_jacobi),
        ] {
            require(weight >= 0.0 && weight.is_finite(), name, "finite and not negative", weight)?;
        }
        let fits = self.frobenius == 0.0 || !divergence.is_structural();
        let requirement = "0 unless the divergence uses tangents (exact, hutchinson, ..)";
        require(fits, "weight of the Frobenius norm", requirement, self.frobenius)?;
        let fits = self.hamilton_jacobi == 0.0 || structure == Structure::Potential;
        let requirement = "0 unless the field is a potential field";
        require(fits, "weight of the Hamilton-Jacobi residual", requirement, self.hamilton_jacobi)
    }
}

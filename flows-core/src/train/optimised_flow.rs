//! The flow as the optimiser sees it.

use crate::parameters::{Parameters, Role, Visitor, VisitorMut, visit_part, visit_part_mut};
use crate::{Flow, Real, Result};

/// A flow whose base is learned by gradient steps, or fixed because it is fitted.
#[derive(Debug)]
pub(super) struct OptimisedFlow<'a, E: Real> {
    pub(super) flow: &'a mut Flow<E>,
    pub(super) base: Role,
}

/// The role of a tensor of a base that is `base`.
fn of_base(base: Role, role: Role) -> Role {
    if base == Role::Fixed { Role::Fixed } else { role }
}

/// In the order and under the names of [`Flow`].
impl<E: Real> Parameters<E> for OptimisedFlow<'_, E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        let base = self.base;
        visit_part(self.flow.base(), "base", &mut |name, role, t| f(name, of_base(base, role), t));
        visit_part(self.flow.bijector(), "bijector", f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        let base = self.base;
        visit_part_mut(self.flow.base_mut(), "base", &mut |name, role, t| {
            f(name, of_base(base, role), t)
        })?;
        visit_part_mut(self.flow.bijector_mut(), "bijector", f)
    }
}

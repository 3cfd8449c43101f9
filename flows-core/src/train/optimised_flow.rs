//! The flow as the optimiser sees it.

use crate::parameters::{Parameters, Role, Visitor, VisitorMut};
use crate::{Flow, Real, Result};

/// A flow whose base is learned by gradient steps, or fixed because it is fitted.
#[derive(Debug)]
pub(super) struct OptimisedFlow<'a, E: Real> {
    pub(super) flow: &'a mut Flow<E>,
    pub(super) base: Role,
}

impl<E: Real> OptimisedFlow<'_, E> {
    fn role(base: Role, name: &str, role: Role) -> Role {
        if name.starts_with("base.") && base == Role::Fixed { Role::Fixed } else { role }
    }
}

impl<E: Real> Parameters<E> for OptimisedFlow<'_, E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.flow.visit(&mut |name, role, t| f(name, Self::role(self.base, name, role), t));
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        let base = self.base;
        self.flow.visit_mut(&mut |name, role, t| f(name, Self::role(base, name, role), t))
    }
}

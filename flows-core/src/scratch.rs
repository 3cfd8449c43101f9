//! Memory of one block of rows whose type only its user knows.

use std::any::Any;

/// A slot for what the pass over a block leaves for the pass back, and for buffers that are kept
/// from one pass to the next.
///
/// Whoever computes a block puts a value of a type of its own there, so that operations, maps, networks
/// and vector fields of all kinds stand behind one interface without a type parameter.
#[derive(Debug, Default)]
pub struct Scratch(Option<Box<dyn Any + Send>>);

impl Scratch {
    /// An empty slot.
    #[must_use]
    pub fn new() -> Self {
        Self(None)
    }

    /// The value, or a default one where there is none of this type yet: for a forward pass, which
    /// finds the buffers of an earlier pass or new ones.
    pub fn or_default<T: Default + Send + 'static>(&mut self) -> &mut T {
        if !self.0.as_ref().is_some_and(|slot| slot.is::<T>()) {
            self.0 = Some(Box::new(T::default()));
        }
        self.left()
    }

    /// The value that the forward pass left.
    ///
    /// # Panics
    /// Where it left none, or one of another type: a mistake in the code that calls it, which would
    /// otherwise show up as a wrong gradient.
    #[expect(
        clippy::panic,
        reason = "a backward pass without its forward pass is a mistake in code"
    )]
    pub fn left<T: 'static>(&mut self) -> &mut T {
        match self.0.as_mut().and_then(|slot| slot.downcast_mut()) {
            Some(value) => value,
            None => panic!("scratch: no {} was left here", std::any::type_name::<T>()),
        }
    }
}

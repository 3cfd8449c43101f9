//! Scratch memory of a block of rows.

use std::any::Any;

/// A slot of any type, for what the pass over a block leaves for the backward pass, and for buffers
/// that are reused.
///
/// Each user stores a type of its own, so operations, maps, networks and vector fields stand behind
/// one interface without a type parameter.
#[derive(Debug, Default)]
pub struct Scratch(Option<Box<dyn Any + Send>>);

impl Scratch {
    /// An empty slot.
    #[must_use]
    pub fn new() -> Self {
        Self(None)
    }

    /// The value, or a default one if there is none of this type: for a forward pass, which finds
    /// the buffers of an earlier pass or new ones.
    pub fn or_default<T: Default + Send + 'static>(&mut self) -> &mut T {
        if !self.0.as_ref().is_some_and(|slot| slot.is::<T>()) {
            self.0 = Some(Box::new(T::default()));
        }
        self.left()
    }

    /// The value that the forward pass left.
    ///
    /// # Panics
    /// If there is none of this type: a bug in the caller, which would otherwise give a wrong
    /// gradient.
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

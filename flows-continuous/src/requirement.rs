//! Checks of settings.

use flows_core::{Error, Result};

/// Checks a setting.
///
/// # Errors
/// [`Error::Parameter`] unless it `holds`.
pub(crate) fn require(
    holds: bool,
    name: &'static str,
    requirement: &'static str,
    value: f64,
) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Parameter { name, requirement, value }) }
}

/// Checks that none of the named sizes is 0.
pub(crate) fn require_positive(sizes: &[(&'static str, usize)]) -> Result<()> {
    sizes.iter().try_for_each(|&(name, size)| require(size > 0, name, "at least 1", 0.0))
}

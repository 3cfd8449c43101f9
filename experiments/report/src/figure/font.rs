//! The one font by which text is measured, compiled in so that no system library is needed.

use std::sync::OnceLock;

use anyhow::{Result, ensure};
use plotters::style::{FontStyle, register_font};

/// Font family of all text in figures.
pub(crate) const FAMILY: &str = "sans-serif";

/// Makes [`FAMILY`] known to the plotting library, once for the whole process.
pub(crate) fn register() -> Result<()> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let bytes = epaint_default_fonts::UBUNTU_LIGHT;
    let known = REGISTERED.get_or_init(|| register_font(FAMILY, FontStyle::Normal, bytes).is_ok());
    ensure!(*known, "the embedded font cannot be read");
    Ok(())
}

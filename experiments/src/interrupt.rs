//! Signals that ask a command to end: Ctrl-C, TERM and HUP.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// Exit code of a command that was asked to end, that of a process ended by Ctrl-C.
pub const EXIT_CODE: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// What ended early on request, and how to go on.
#[derive(Debug)]
pub struct Interrupted(pub String);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Interrupted {}

/// From now on the first signal is noted and training ends after its step; a second one ends the
/// process at once.
///
/// # Errors
/// If the system refuses.
pub fn listen() -> Result<()> {
    let handler = || {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_CODE.into());
        }
        eprintln!("stopping after this step; once more to stop at once");
    };
    ctrlc::set_handler(handler).context("signals cannot be listened to")
}

/// Whether a signal has come.
#[must_use]
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Ends work between two of its parts once a signal has come.
///
/// # Errors
/// [`Interrupted`], if one has.
pub fn check() -> Result<()> {
    if asked() {
        return Err(Interrupted("stopped before the evaluation was done".into()).into());
    }
    Ok(())
}

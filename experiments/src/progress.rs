//! Progress bars on a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for training, in thousandths of its budget.
pub fn training(name: &str) -> ProgressBar {
    let bar = ProgressBar::new(1000);
    let template = "{prefix:32} {bar:30} {elapsed:>4} {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    bar
}

/// A spinner for work of unknown length.
pub fn working(name: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_message(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

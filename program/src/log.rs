//! Logs of the programs in this process, for people who look at a terminal or a journal.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Whether standard error may carry colours (<https://no-color.org>).
pub fn colours() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !no_color
}

/// Begins to log what the filter lets through (`info`, `orchestra_master=debug,warn`).
/// What cannot be read of it is left out.
///
/// # Panics
/// When it is called twice.
pub fn log_to_stderr(filter: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours())
        .with_writer(io::stderr)
        .init();
}

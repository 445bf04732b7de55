//! What `orchestra`, `orchestra-master` and `orchestra-worker` do alike: listen
//! for signals, write logs, say that they failed.

mod log;
mod signals;

pub use log::{colours, log_to_stderr};
pub use signals::{Signals, soft_then_hard};

/// Orchestra itself failed, as opposed to the command; the code that `docker run`
/// and `env` use for the same.
pub const OWN_FAILURE: u8 = 125;

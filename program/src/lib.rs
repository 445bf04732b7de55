//! What `orchestra`, `orchestra-master` and `orchestra-worker` do alike: run and
//! end, listen for signals, write logs, send spans, say that they failed.

mod log;
mod signals;
mod trace;

use std::{process::ExitCode, time::Duration};

use tokio::runtime::Runtime;

pub use log::{LogFormat, colours, log_to_stderr, set_log_filter};
pub use signals::{Hangups, Signals, soft_then_hard};
pub use trace::{NoTrace, Span, SpanKind, TraceParent, export_spans};

/// Orchestra itself failed, as opposed to the command; the code that `docker run`
/// and `env` use for the same.
pub const OWN_FAILURE: u8 = 125;

/// What still blocks a thread then (a name that is looked up, a folder on a machine that is
/// away) has no part in the result.
const LAST: Duration = Duration::from_secs(5);

/// Runs a whole program. When `main` has ended so does the process, soon, whatever is
/// under way.
///
/// # Panics
/// When the system grants no threads.
pub fn run(main: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = Runtime::new().expect("a runtime can be started");
    let code = runtime.block_on(main);
    trace::flush();
    runtime.shutdown_timeout(LAST);
    code
}

#[cfg(test)]
mod tests {
    use std::{thread::sleep, time::Instant};

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a thread that blocks is what it is about")]
    fn a_thread_that_is_held_up_keeps_no_program_from_its_end() {
        let begun = Instant::now();
        let code = run(async {
            drop(tokio::task::spawn_blocking(|| sleep(6 * LAST)));
            ExitCode::from(OWN_FAILURE)
        });
        assert_eq!(code, ExitCode::from(OWN_FAILURE));
        assert!(begun.elapsed() < 3 * LAST);
    }
}

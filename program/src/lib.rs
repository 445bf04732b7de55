//! What `orchestra`, `orchestra-master` and `orchestra-worker` have in common: the runtime and its
//! end, signals, logs, spans and the exit code for failures.

mod log;
mod signals;
mod trace;

use std::{process::ExitCode, time::Duration};

use tokio::runtime::Runtime;

pub use log::{LogFormat, colours, log_to_stderr, set_log_filter};
pub use signals::{Hangups, Signals, soft_then_hard};
pub use trace::{NoTrace, Span, SpanKind, TraceParent, export_spans};

/// The exit code if Orchestra itself failed, as opposed to the command. `docker run` and `env` use
/// the same.
pub const OWN_FAILURE: u8 = 125;

/// How long to wait for blocked threads at the end. Whatever still blocks then (a name lookup, a
/// folder on an unreachable machine) does not affect the result.
const LAST: Duration = Duration::from_secs(5);

/// Runs a whole program. The process ends soon after `main`, even if other work is still running.
///
/// # Panics
/// If the system cannot create threads.
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

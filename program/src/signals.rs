//! Ctrl-C and SIGTERM. While a program listens for them, neither ends it directly: the first asks
//! it to shut down, the second to stop at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Receives both signals from now on.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// # Panics
    /// Outside of a runtime with a signal driver.
    pub fn listen() -> Self {
        let listen = |kind| signal(kind).expect("the runtime was built with its signal driver");
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
        }
    }

    /// Waits for the next of either. A signal since the last call is not missed.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}

/// Receives SIGHUP, which then no longer ends the program.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// # Panics
    /// Outside of a runtime with a signal driver.
    pub fn listen() -> Self {
        let hangups = signal(SignalKind::hangup());
        Self(hangups.expect("the runtime was built with its signal driver"))
    }

    /// Waits for the next one. A signal since the last call is not missed.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// Cancels `soft` at the first signal, and returns at the second.
pub async fn soft_then_hard(soft: &CancellationToken) {
    let mut signals = Signals::listen();
    signals.next().await;
    tracing::info!("shutting down; a second signal ends it at once");
    soft.cancel();
    signals.next().await;
}

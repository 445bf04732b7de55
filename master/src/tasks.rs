//! The master's background tasks, and what happens when one of them crashes.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::MasterError;

/// The limit on shutdown. Longer than any task takes: the server drains requests for ten seconds.
const LIMIT: Duration = Duration::from_secs(20);

/// Named background tasks. They run until `shutdown` is cancelled. A task that ends before that has
/// crashed: it shuts the master down with an error.
#[derive(Debug)]
pub(crate) struct Tasks {
    shutdown: CancellationToken,
    running: JoinSet<&'static str>,
}

impl Tasks {
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Self { shutdown, running: JoinSet::new() }
    }

    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.running.spawn(async move {
            task.await;
            name
        });
    }

    /// Waits until all tasks have ended, for whatever reason.
    pub(crate) async fn all_ended(mut self) -> Result<(), MasterError> {
        let mut crash = Ok(());
        loop {
            let ended = tokio::select! {
                biased;
                ended = self.running.join_next() => ended,
                () = overdue(&self.shutdown) => {
                    tracing::error!(left = self.running.len(), "tasks that do not end are cut off");
                    self.running.shutdown().await;
                    return crash;
                }
            };
            let Some(ended) = ended else { return crash };
            let was_asked_to = self.shutdown.is_cancelled();
            let error = match ended {
                Ok(_) if was_asked_to => continue,
                Ok(task) => MasterError::Crashed { task, reason: String::new() },
                Err(error) => {
                    let reason = format!(" ({error})");
                    MasterError::Crashed { task: "a background task", reason }
                }
            };
            tracing::error!(%error, "shutting down");
            crash = crash.and(Err(error));
            self.shutdown.cancel();
        }
    }
}

/// Returns [`LIMIT`] after the shutdown signal.
async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(LIMIT).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_end_well_when_asked_to() {
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("one", shutdown.clone().cancelled_owned());
        shutdown.cancel();
        assert!(tasks.all_ended().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_end_is_not_waited_for() {
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("one", std::future::pending());
        shutdown.cancel();
        assert!(tasks.all_ended().await.is_ok());
    }

    #[tokio::test]
    async fn a_crash_ends_the_others_and_is_told() {
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("one", shutdown.clone().cancelled_owned());
        tasks.spawn("two", async { panic!("on purpose") });
        assert!(matches!(tasks.all_ended().await, Err(MasterError::Crashed { .. })));
        assert!(shutdown.is_cancelled());
    }
}

//! Whether the engine answers. It is pinged at intervals, also while jobs run, and each change is
//! logged once.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Engine, EngineError};
use crate::executor::Trouble;

const EVERY: Duration = Duration::from_secs(2);
/// An engine that starts sixteen containers at once answers a ping in under a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// The result of the last ping. Clones share it.
#[derive(Clone)]
pub(crate) struct Health(Arc<watch::Sender<Option<Trouble>>>);

impl Health {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Trouble>> {
        self.0.subscribe()
    }

    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.0.borrow().clone()
    }

    /// Pings at intervals until this future is dropped.
    pub(crate) async fn watch(&self, engine: &Engine) {
        loop {
            self.look(engine).await;
            sleep(EVERY).await;
        }
    }

    /// Pings now, and answers whether the engine replied.
    pub(crate) async fn look(&self, engine: &Engine) -> bool {
        let asked = Instant::now();
        let answer = timeout(PATIENCE, engine.ping())
            .await
            .unwrap_or(Err(EngineError::TimedOut { what: "answer", limit: PATIENCE }));
        self.note(answer.as_ref().err().map(ToString::to_string), asked);
        answer.is_ok()
    }

    fn note(&self, reason: Option<String>, asked: Instant) {
        self.0.send_if_modified(|trouble| match (&trouble, reason) {
            (None, Some(reason)) => {
                tracing::warn!(
                    "the engine does not answer, so no jobs are claimed until it does: {reason}"
                );
                *trouble = Some(Trouble { since: asked, reason });
                true
            }
            (Some(Trouble { since, .. }), None) => {
                tracing::info!("the engine is well again after {:.0?}", since.elapsed());
                *trouble = None;
                true
            }
            (None, None) | (Some(_), Some(_)) => false,
        });
    }

    /// Returns once the engine has not answered for `long` without a break.
    pub(crate) async fn dead_for(&self, long: Duration) -> Trouble {
        let mut health = self.subscribe();
        loop {
            let trouble = health.borrow_and_update().clone();
            let dead = async {
                match &trouble {
                    Some(trouble) => sleep_until(trouble.since + long).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = health.changed() => changed.expect("self holds the sender"),
                () = dead => return trouble.expect("only trouble lasts"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TROUBLE: &str = "the engine did not answer";

    #[tokio::test(start_paused = true)]
    async fn only_what_changes_is_told() {
        let health = Health::new();
        let mut seen = health.subscribe();
        health.note(None, Instant::now());
        assert!(!seen.has_changed().unwrap());
        health.note(Some(TROUBLE.to_owned()), Instant::now());
        assert!(seen.borrow_and_update().is_some());
        health.note(Some(TROUBLE.to_owned()), Instant::now());
        assert!(!seen.has_changed().unwrap(), "it is the same trouble");
        health.note(None, Instant::now());
        assert!(seen.borrow_and_update().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_comes_back_in_time_was_not_dead() {
        let (health, start) = (Health::new(), Instant::now());
        let comes_and_goes = async {
            health.note(Some(TROUBLE.to_owned()), Instant::now());
            sleep(Duration::from_secs(9)).await;
            health.note(None, Instant::now());
            sleep(Duration::from_secs(1)).await;
            health.note(Some(TROUBLE.to_owned()), Instant::now());
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = comes_and_goes => (),
            trouble = health.dead_for(Duration::from_secs(10)) => {
                assert_eq!(trouble.since - start, Duration::from_secs(10));
            }
        }
        assert_eq!(start.elapsed(), Duration::from_secs(20));
    }
}

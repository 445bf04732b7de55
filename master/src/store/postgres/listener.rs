//! Notifications of what other masters have committed. Nothing depends on them: a lost one is made up
//! for by the poll once a second.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::Notification;

pub(super) const CHANNEL: &str = "orchestra";
/// PostgreSQL takes 8000 bytes.
const MOST: usize = 7900;
/// More jobs than this are not told apart any more: nobody has fetched what was said before.
const MOST_JOBS: usize = 4096;
/// After a failure to connect.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Message<'a> {
    /// The sender, which ignores its own notifications.
    from: &'a str,
    #[serde(flatten)]
    notification: Notification,
}

/// The message about one commit.
pub(super) fn message(from: &str, notification: Notification) -> String {
    let text = |notification| {
        let message = Message { from, notification };
        serde_json::to_string(&message).expect("our own types have string keys")
    };
    let said = text(notification);
    if said.len() <= MOST { said } else { text(Notification::everything()) }
}

/// Notifications that were received and not yet fetched.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    notification: Mutex<Notification>,
    changed: Notify,
}

impl Inbox {
    /// Waits for a notification.
    pub(super) async fn next(&self) -> Notification {
        loop {
            let heard = self.lock().take();
            if !heard.is_empty() {
                return heard;
            }
            self.0.changed.notified().await;
        }
    }

    fn put(&self, notification: Notification) {
        let mut heard = self.lock();
        heard.add(notification);
        if heard.jobs.len() > MOST_JOBS {
            *heard = Notification::everything();
        }
        self.0.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Notification> {
        self.0.notification.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens until `closing` is cancelled.
pub(super) async fn listen(
    options: PgConnectOptions,
    name: String,
    inbox: Inbox,
    closing: CancellationToken,
) {
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            ended = hear(&options, &name, &inbox) => {
                if let Err(error) = ended {
                    tracing::warn!(%error, "other masters are not heard: looking once a second");
                }
            }
        }
        tokio::select! {
            () = closing.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Listens with one session, until it breaks.
async fn hear(options: &PgConnectOptions, name: &str, inbox: &Inbox) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    // What was said before nobody has heard.
    inbox.put(Notification::everything());
    while let Some(notification) = listener.try_recv().await? {
        match serde_json::from_str::<Message<'_>>(notification.payload()) {
            Ok(message) if message.from == name => {}
            Ok(message) => inbox.put(message.notification),
            // Another version says it in other words.
            Err(_) => inbox.put(Notification::everything()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::JobId;

    use super::*;

    #[test]
    fn what_is_too_much_to_say_is_said_in_one_word() {
        let jobs = |count: i64| Notification {
            jobs: (0..count).map(JobId).collect(),
            ..Notification::default()
        };
        let few: Message<'_> = serde_json::from_str(r#"{"from":"m","jobs":[0,1]}"#).unwrap();
        assert_eq!(few.notification, jobs(2));
        let few = message("m", jobs(2));
        assert_eq!(few, r#"{"from":"m","jobs":[0,1]}"#);
        assert_eq!(message("m", jobs(5000)), r#"{"from":"m","everything":true}"#);
    }

    #[tokio::test]
    async fn what_is_not_fetched_is_kept_together() {
        let inbox = Inbox::default();
        for id in [1, 2] {
            inbox.put(Notification {
                jobs: [JobId(id)].into(),
                claimable: id == 1,
                ..Notification::default()
            });
        }
        let both = Notification {
            jobs: [JobId(1), JobId(2)].into(),
            claimable: true,
            ..Notification::default()
        };
        assert_eq!(inbox.next().await, both);
        inbox.put(Notification { jobs: (0..9999).map(JobId).collect(), ..Notification::default() });
        assert_eq!(inbox.next().await, Notification::everything());
    }
}

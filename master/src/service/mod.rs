//! The use cases, one file a verb. This module owns the order of steps: check, store, then wake the
//! waiters. It knows no HTTP and no SQL.
//!
//! A commit that changes a job or its log wakes the hub; a commit that makes a job claimable wakes
//! the dispatcher. Both only say "look again", and both sides poll once a second anyway: a caller
//! who disconnects between commit and wake-up causes a delay of a second at most.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use orchestra_contracts::{AttemptNo, JobId, Size, Span};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    courier::{Courier, Reachable},
    domain::{Effects, Job, JobEvent, LeasePolicy, RetryPolicy, Rules},
    live::{Hub, OrderSignals},
    metrics::{End, History, Metrics},
    store::{Applied, Report, Store},
};

mod artifacts;
mod caller;
mod cancel;
mod claim;
mod closing;
mod delete;
mod deliver;
mod dispatch;
mod error;
mod expiry;
mod explain;
mod keyring;
mod list;
mod log;
mod measure;
mod notifications;
mod offers;
mod queues;
mod read;
mod repro;
mod retention;
mod retry;
mod schedule_step;
mod schedules;
mod stale;
mod submit;
mod tail;
mod tokens;
mod trace;
mod update;
mod uploads;
mod vault;
mod view;
mod webhooks;
mod workers;

pub use artifacts::PieceUpload;
pub use caller::Caller;
pub use delete::Deletion;
pub use deliver::run as deliver;
pub use dispatch::{ClaimQueue, run as dispatch};
pub use error::ServiceError;
pub use list::Page;
pub use log::Upload;
pub use notifications::run as heed;
pub use retention::{Keep, Retention};
pub use stale::StaleCounts;
pub use submit::Submission;
pub use tokens::{Adopted, new_token};
pub use update::ReportReply;
pub use vault::Vault;
pub use view::job as view_job;

/// No long poll is held open for longer than this: proxies and clients on the
/// way give up on silent requests sooner or later.
pub const MAX_WAIT: Span = Span::from_secs(300);

/// The operator's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How long a lease lasts after a heartbeat.
    pub lease: Span,
    /// The longest lease that a job may ask for.
    pub max_lease: Span,
    /// The timeout of an attempt whose job names none.
    pub job_timeout: Span,
    /// The longest timeout that a job may ask for.
    pub max_job_timeout: Span,
    pub retry: RetryPolicy,
    /// The limit on clients that read logs or wait for a job's end.
    pub max_streams: usize,
    /// The limit on the size of all artifacts of one attempt, in bytes.
    pub artifacts_limit: Size,
    /// The limit on the size of one uploaded file, in bytes.
    pub upload_limit: Size,
    /// What is kept of jobs that have ended.
    pub retention: Retention,
    /// The addresses that webhooks may reach.
    pub reachable: Reachable,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: LeasePolicy::default().base,
            max_lease: LeasePolicy::default().max,
            job_timeout: Span::from_secs(3600),
            max_job_timeout: Span::from_secs(24 * 3600),
            retry: RetryPolicy::default(),
            max_streams: 8192,
            artifacts_limit: Size::mib(256),
            upload_limit: Size::mib(256),
            retention: Retention::default(),
            reachable: Reachable::default(),
        }
    }
}

impl Settings {
    fn leases(&self) -> LeasePolicy {
        LeasePolicy { base: self.lease, max: self.max_lease }
    }
}

/// Everything that can be done with jobs and workers.
#[derive(Debug)]
pub struct Service {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    hub: Hub,
    readers: Arc<Semaphore>,
    order_signals: OrderSignals,
    stale: stale::Stale,
    heartbeats: workers::LastHeartbeats,
    offers: offers::KnownOffers,
    dispatcher: dispatch::DispatcherHandle,
    keyring: keyring::Keyring,
    /// Held while a token is issued or revoked, so that the keyring is never behind.
    changing_tokens: tokio::sync::Mutex<()>,
    settings: Settings,
    vault: Vault,
    renewals: expiry::Renewals,
    courier: Courier,
    metrics: Arc<Metrics>,
    history: History,
    oldest: measure::Oldest,
    keeping: retention::Keeping,
    started_at: Timestamp,
    /// Notified when there may be a new delivery to a webhook.
    outbox: Notify,
    shutdown: CancellationToken,
}

impl Service {
    /// Creates the service, and the queue for [`dispatch()`], without which no claim is answered.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        settings: Settings,
        vault: Vault,
        shutdown: CancellationToken,
    ) -> (Arc<Self>, ClaimQueue) {
        let (dispatcher, queue) = dispatch::open();
        let renewals = expiry::Renewals::possible_from_now(&*clock);
        let started_at = clock.now();
        let (hub, order_signals, heartbeats, offers) = Default::default();
        let service = Self {
            store,
            clock,
            hub,
            readers: Arc::new(Semaphore::new(settings.max_streams.min(Semaphore::MAX_PERMITS))),
            order_signals,
            stale: stale::Stale::default(),
            heartbeats,
            offers,
            dispatcher,
            keyring: keyring::Keyring::default(),
            changing_tokens: tokio::sync::Mutex::default(),
            courier: Courier::new(settings.reachable.clone()),
            metrics: Arc::default(),
            history: History::default(),
            oldest: measure::Oldest::default(),
            keeping: retention::Keeping::with(settings.retention),
            started_at,
            outbox: Notify::new(),
            settings,
            vault,
            renewals,
            shutdown,
        };
        (Arc::new(service), queue)
    }

    /// Cancelled when the master shuts down; every open response ends with it.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// The calls that were refused because their lease was lost.
    pub fn stale(&self) -> StaleCounts {
        self.stale.counts()
    }

    /// Whether the database is usable.
    pub async fn check(&self) -> Result<(), ServiceError> {
        Ok(self.store.check().await?)
    }

    /// How many clients read logs or wait for a job's end now.
    pub fn reading(&self) -> usize {
        let places = self.settings.max_streams.min(Semaphore::MAX_PERMITS);
        places.saturating_sub(self.readers.available_permits())
    }

    /// A permit to read or wait, given back when it is dropped.
    fn place(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        self.readers.clone().try_acquire_owned().map_err(|_| ServiceError::Crowded)
    }

    fn rules(&self) -> Rules {
        Rules { now: self.clock.now(), retry: self.settings.retry, jitter: rand::random() }
    }

    /// Applies one event through the state machine and wakes the waiters.
    async fn apply(&self, id: JobId, event: JobEvent) -> Result<(Job, Effects), ServiceError> {
        self.report(Report { job: id, event, rest: None }).await
    }

    /// The same for a report with the rest of the log.
    async fn report(&self, report: Report) -> Result<(Job, Effects), ServiceError> {
        let begun = Instant::now();
        let (id, rest) = (report.job, rest_bytes(&report));
        let applying = self.store.report(report, self.rules());
        let applied = self.metrics.stored("apply", applying).await?;
        self.reported(id, applied, rest, begun.elapsed())
    }

    /// Handles a stored report, with so many bytes of its log: counts it and wakes the waiters.
    /// `took` is the time that the store needed.
    fn reported(
        &self,
        id: JobId,
        applied: Option<Applied>,
        rest: u64,
        took: Duration,
    ) -> Result<(Job, Effects), ServiceError> {
        let applied = applied.ok_or(ServiceError::NoSuchJob(id))?;
        if applied.result.as_ref().is_ok_and(|effects| effects.attempt_ended.is_some()) {
            self.metrics.log_uploaded(rest);
        }
        self.wake_for(&applied, took);
        Ok((applied.job, applied.result?))
    }

    /// Wakes the waiters after a commit, which took `took`.
    fn wake_for(&self, applied: &Applied, took: Duration) {
        if let Ok(effects) = &applied.result {
            if let Some(finish) = &effects.attempt_ended {
                self.metrics.ended(&finish.outcome, finish.usage.as_ref());
                let end = End::of(applied.job.status(), effects.delete);
                self.history.ended(self.clock.now(), end);
                trace::ended(applied, finish, took);
            }
            self.hub.wake(applied.job.id);
            if applied.job.status().is_final() {
                self.outbox.notify_one();
            }
            if effects.claimable {
                self.dispatcher.look_again();
            }
            if !applied.along.is_empty() {
                applied.along.iter().for_each(|id| self.hub.wake(*id));
                self.dispatcher.look_again();
            }
            if effects.stop_worker
                && let Some(lease) = applied.job.lease()
            {
                self.order_signals.signal(&lease.worker);
            }
        }
    }
}

/// The bytes of the log in a report.
fn rest_bytes(report: &Report) -> u64 {
    report.rest.as_ref().map_or(0, |rest| rest.frames.len() as u64)
}

/// The newest attempt of a job; `None` before the first claim.
fn newest_attempt(job: &Job) -> Option<AttemptNo> {
    (job.attempts > 0).then_some(AttemptNo(job.attempts))
}

fn signed(span: Span) -> jiff::SignedDuration {
    jiff::SignedDuration::from_millis(span.as_millis())
}

//! What every adapter must do, as cases that each adapter runs.
//!
//! The name of the adapter is in the name of the test:
//! `store::conformance::claiming::sqlite::the_oldest_goes_first`.

mod artifacts;
mod claiming;
mod durable;
mod events;
mod leases;
mod listing;
mod log_model;
mod logs;
mod offers;
mod queues;
mod reports;
mod retention;
mod schedules;
mod submitting;
mod tokens;
mod uploads;
mod waiting;
mod webhooks;
mod workers;

use std::{ops::Deref, sync::Arc};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use orchestra_contracts::{
    AttemptNo, JobId, JobSpec, LeaseToken, Outcome, Size, Span, WorkerName,
    frame::{Body, Frame, Stream},
    worker::LeaseRef,
};
use orchestra_tests::Postgres;
use tempfile::TempDir;

use super::{Applied, Claim, ClaimSpec, LeaseTerms, LogAppend, LogCodec, MemoryStore, Store};
use crate::domain::{AttemptResults, Job, JobEvent, LeasePolicy, Proof, RetryPolicy, Rules};

macro_rules! run_on {
    ($adapter:ident: $($case:ident)+) => {
        mod $adapter {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(store) = crate::store::conformance::TestStore::$adapter().await {
                    super::$case(store).await;
                }
            })+
        }
    };
}

/// Makes a test of each case for each adapter; a further adapter joins by a line here.
macro_rules! every_adapter {
    ($($case:ident),+ $(,)?) => {
        crate::store::conformance::run_on!(sqlite: $($case)+);
        crate::store::conformance::run_on!(memory: $($case)+);
        crate::store::conformance::run_on!(postgres: $($case)+);
    };
}

use every_adapter;
use run_on;

/// A new, empty database, gone with the end of the test.
struct TestStore {
    store: Arc<dyn Store>,
    kept: Kept,
}

/// Where what was stored outlives the store that is open.
enum Kept {
    File { url: String, _folder: TempDir },
    Server { url: String },
    Memory(MemoryStore),
}

impl TestStore {
    async fn sqlite() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("jobs.db").display());
        let store = super::open(&url).await.unwrap();
        Some(Self { store, kept: Kept::File { url, _folder: folder } })
    }

    #[expect(clippy::unused_async, reason = "as every other adapter's")]
    async fn memory() -> Option<Self> {
        let store = MemoryStore::default();
        Some(Self { store: Arc::new(store.reopened()), kept: Kept::Memory(store) })
    }

    /// `None` where there is no server: the lane has said so.
    async fn postgres() -> Option<Self> {
        let url = Postgres::shared()?.database();
        let store = super::open(&url).await.unwrap();
        Some(Self { store, kept: Kept::Server { url } })
    }

    /// As after a restart of the master.
    async fn reopen(&mut self) {
        self.reopen_packing(LogCodec::default()).await;
    }

    /// The same, with logs packed so from then on.
    async fn reopen_packing(&mut self, codec: LogCodec) {
        self.store.close().await;
        self.store = match &self.kept {
            Kept::File { url, .. } | Kept::Server { url } => {
                super::open_with(url, Size(0), codec).await.unwrap()
            }
            Kept::Memory(store) => Arc::new(store.reopened()),
        };
    }

    /// A handle for a task.
    fn share(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Inserts one job with this command.
    async fn submit(&self, spec: JobSpec) -> Job {
        self.store.insert(vec![spec], at(0).now).await.unwrap().remove(0)
    }

    /// Claims one job for this worker, which must be there.
    async fn claim_one(&self, name: &str, rules: Rules) -> Held {
        let mut jobs = self.store.claim(vec![claim(name, 1)], rules).await.unwrap().remove(0);
        Held { job: jobs.pop().expect("there is a job to claim") }
    }

    /// Submits one job and claims it at second 1.
    async fn submit_and_claim(&self, spec: JobSpec) -> Held {
        self.submit(spec).await;
        self.claim_one("worker", at(1)).await
    }

    /// Applies an event to a job that exists.
    async fn event(&self, id: JobId, event: JobEvent, rules: Rules) -> Applied {
        self.store.apply(id, event, rules).await.unwrap().expect("the job exists")
    }

    /// Reads a job that exists.
    async fn read(&self, id: JobId) -> Job {
        self.store.job(id).await.unwrap().expect("the job exists")
    }
}

impl Deref for TestStore {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

/// A claimed job and what its worker may do with it.
struct Held {
    job: Job,
}

impl Held {
    fn proof(&self) -> Proof {
        let lease = self.job.lease().unwrap();
        Proof {
            worker: lease.worker.clone(),
            token: lease.token.clone(),
            attempt: Some(AttemptNo(self.job.attempts)),
        }
    }

    fn lease(&self) -> LeaseRef {
        let token = self.proof().token;
        LeaseRef { job: self.job.id, attempt: AttemptNo(self.job.attempts), token }
    }

    fn started(&self) -> JobEvent {
        JobEvent::Started { proof: self.proof(), ran: None }
    }

    fn ended(&self, outcome: Outcome) -> JobEvent {
        JobEvent::Ended {
            proof: self.proof(),
            outcome,
            usage: None,
            log: None,
            tail: None,
            results: AttemptResults::default(),
        }
    }

    fn append(&self, offset: u64, frames: Bytes) -> LogAppend {
        let attempt = AttemptNo(self.job.attempts);
        LogAppend { job: self.job.id, attempt, proof: self.proof(), offset, frames }
    }
}

/// So many seconds after 1970.
fn at(seconds: i64) -> Rules {
    let now = Timestamp::from_second(seconds).unwrap();
    Rules { now, retry: RetryPolicy::default(), jitter: 1.0 }
}

const TTL: LeasePolicy = LeasePolicy { base: Span::from_secs(60), max: Span::from_secs(600) };

fn worker(name: &str) -> WorkerName {
    name.parse().unwrap()
}

fn spec(command: &str) -> JobSpec {
    JobSpec::new(command)
}

/// For so many jobs of the default queue, with tokens that nobody else has.
fn claim(name: &str, slots: usize) -> Claim {
    claim_spec(name, slots).into()
}

fn claim_spec(name: &str, slots: usize) -> ClaimSpec {
    ClaimSpec {
        worker: worker(name),
        queues: vec!["default".into()],
        tokens: (0..slots)
            .map(|_| LeaseToken::new(format!("{:032x}", rand::random::<u128>())))
            .collect(),
        terms: LeaseTerms::Renewed(TTL),
        request_id: None,
    }
}

fn ids(jobs: &[Job]) -> Vec<i64> {
    jobs.iter().map(|job| job.id.0).collect()
}

fn stdout(text: &str) -> Frame {
    Frame { time: 1, body: Body::Bytes(Stream::Stdout, text.to_owned().into()) }
}

/// A log of six kilobytes that compresses well, for the first attempt of this job.
pub(super) fn compiler_log(job: &Job) -> LogAppend {
    let lease = job.lease().expect("it is claimed");
    let proof = Proof { worker: lease.worker.clone(), token: lease.token.clone(), attempt: None };
    let frames = encode(&[stdout(&"a line as compilers write them\n".repeat(200))]);
    LogAppend { job: job.id, attempt: AttemptNo(job.attempts), proof, offset: 0, frames }
}

fn encode(frames: &[Frame]) -> Bytes {
    let mut buffer = BytesMut::new();
    for frame in frames {
        frame.encode(&mut buffer);
    }
    buffer.freeze()
}

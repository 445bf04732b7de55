//! What is PostgreSQL's own: several masters at once, and a server that goes away. What every
//! adapter must do is in `store/conformance`.

mod counting;
mod many;
mod moving;
mod schema;
mod trouble;
mod upgrading;

use jiff::Timestamp;
use orchestra_contracts::{JobSpec, LeaseToken, Span};
use orchestra_tests::Postgres;

use super::PostgresStore;
use crate::{
    domain::{AttemptResults, Job, JobEvent, LeasePolicy, Proof, RetryPolicy, Rules},
    store::{Claim, ClaimSpec, LeaseTerms},
};

/// A database that several masters open; `None` where there is no server.
struct Place {
    server: &'static Postgres,
    url: String,
}

impl Place {
    fn new() -> Option<Self> {
        let server = Postgres::shared()?;
        Some(Self { server, url: server.database() })
    }

    async fn open(&self) -> PostgresStore {
        PostgresStore::open(&self.url).await.unwrap()
    }

    fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }

    /// What somebody with psql does to it.
    fn run(&self, statement: &str) -> String {
        self.server.run(self.name(), statement)
    }

    /// Ends the sessions of which this is true.
    fn cut_off(&self, which: &str) {
        let those = format!("datname = current_database() AND pid <> pg_backend_pid() AND {which}");
        self.run(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {those}"));
    }
}

fn at(seconds: i64) -> Rules {
    let now = Timestamp::from_second(seconds).unwrap();
    Rules { now, retry: RetryPolicy::default(), jitter: 1.0 }
}

fn specs(count: usize) -> Vec<JobSpec> {
    vec![JobSpec::new("true"); count]
}

fn claim(name: &str, slots: usize) -> Claim {
    claim_spec(name, slots).into()
}

fn claim_spec(name: &str, slots: usize) -> ClaimSpec {
    let token = |_| LeaseToken::new(format!("{:032x}", rand::random::<u128>()));
    let base = Span::from_secs(60);
    ClaimSpec {
        worker: name.parse().unwrap(),
        queues: vec!["default".to_owned()],
        tokens: (0..slots).map(token).collect(),
        terms: LeaseTerms::Renewed(LeasePolicy { base, max: base }),
        request_id: None,
    }
}

/// The end of a job that is held.
fn ended(job: &Job) -> JobEvent {
    let lease = job.lease().unwrap();
    let (worker, token) = (lease.worker.clone(), lease.token.clone());
    JobEvent::Ended {
        proof: Proof { worker, token, attempt: None },
        outcome: orchestra_contracts::Outcome::Exited { code: 0 },
        usage: None,
        log: None,
        tail: None,
        results: AttemptResults::default(),
    }
}

//! What is SQLite's own; what every adapter must do is in `store/conformance`.

mod copying;
mod counting;
mod damaged;
mod disk_space;
mod opening;
mod plans;
mod trouble;
mod upgrading;
mod writing;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use orchestra_contracts::{JobSpec, LeaseToken};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::SqliteStore;
use crate::{
    domain::{LeasePolicy, RetryPolicy, Rules},
    store::{Claim, ClaimSpec, LeaseTerms},
};

/// Where a test keeps its database.
struct Place {
    folder: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        Self { folder, path }
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path).await.unwrap()
    }

    /// The sentence with which opening fails.
    async fn refusal(&self) -> String {
        match SqliteStore::open(&self.path).await {
            Ok(_) => panic!("{} was opened", self.path.display()),
            Err(error) => error.to_string(),
        }
    }

    /// What another program would have.
    async fn outsider(&self) -> SqliteConnection {
        self.outsider_of(&self.path).await
    }

    async fn outsider_of(&self, path: &Path) -> SqliteConnection {
        SqliteConnectOptions::new().filename(path).connect().await.unwrap()
    }
}

fn at(seconds: i64) -> Rules {
    let now = Timestamp::from_second(seconds).unwrap();
    Rules { now, retry: RetryPolicy::default(), jitter: 1.0 }
}

fn specs(count: usize) -> Vec<JobSpec> {
    vec![JobSpec::new("true"); count]
}

/// Of one job, with the request in place of the token.
fn claim(request: &str) -> Claim {
    claim_spec(request).into()
}

fn claim_spec(request: &str) -> ClaimSpec {
    ClaimSpec {
        worker: "worker".parse().unwrap(),
        queues: vec!["default".to_owned()],
        tokens: vec![LeaseToken::new(request)],
        terms: LeaseTerms::Renewed(LeasePolicy::default()),
        request_id: Some(request.to_owned()),
    }
}

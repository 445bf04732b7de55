//! What the tests of several modules share: a master and an executor that
//! follow a script, and short ways to make leases and names.

mod cutter;
mod executor;
mod master;

use orchestra_contracts::{AttemptNo, JobId, LeaseToken, WorkerName, worker::LeaseRef};

pub(crate) use self::{
    cutter::Cutter,
    executor::ScriptedExecutor,
    master::{Append, FakeMaster},
};

pub(crate) fn worker(name: &str) -> WorkerName {
    name.parse().unwrap()
}

pub(crate) fn lease_ref(job: i64, attempt: u32) -> LeaseRef {
    let token = LeaseToken::new(format!("token-{job}-{attempt}"));
    LeaseRef { job: JobId(job), attempt: AttemptNo(attempt), token }
}

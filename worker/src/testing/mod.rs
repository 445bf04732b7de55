//! Shared test support: a scripted master, a scripted executor, and short ways to make leases and
//! names.

mod cutter;
mod executor;
mod master;

use orchestra_contracts::{
    AttemptNo, Job, JobId, JobSpec, LeaseToken, Span, WorkerName,
    worker::{Claimed, Lease, LeaseRef},
};

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

/// The first attempt of a job, as a claim returns it.
pub(crate) fn claimed(id: i64, script: &str) -> Claimed {
    let job = serde_json::json!({
        "id": id, "status": "Assigned", "assignedWorker": "w", "retryCount": 0, "attempt": 1,
        "output": "", "error": "", "outputTruncated": false, "exitCode": null, "outcome": null,
        "reason": null, "usage": null, "createdAt": "2026-01-01T00:00:00Z",
        "startedAt": null, "finishedAt": null, "command": script,
    });
    let job: Job = serde_json::from_value(job).unwrap();
    assert_eq!(job.spec, JobSpec::new(script));
    let token = LeaseToken::new(format!("token-{id}"));
    Claimed { job, lease: Lease { attempt: AttemptNo(1), token, ttl: Span::from_secs(60) } }
}

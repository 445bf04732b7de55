//! The calls that only workers make. None is repeated automatically.

use std::time::Duration;

use bytes::Bytes;
use orchestra_contracts::{
    AttemptNo, Job, JobId, WorkerName, paths,
    worker::{
        ArtifactHead, ClaimRequest, ClaimTerms, Claimed, Heartbeat, HeartbeatReply, JobUpdate,
        LEASE_HEADER, LeaseRef, LogHead, Orders, Registration, Welcome,
    },
};
use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde::Deserialize;

use crate::{Client, ClientError};

/// The part of the answer to a report that holds newly claimed jobs, whichever of its two forms the
/// answer has.
#[derive(Deserialize)]
struct Brought {
    #[serde(default)]
    next: Vec<Claimed>,
}

impl Client {
    pub async fn register(
        &self,
        name: &WorkerName,
        registration: &Registration,
    ) -> Result<Welcome, ClientError> {
        self.fetch(self.call(Method::PUT, &paths::worker(name)).json(registration)).await
    }

    /// Claims jobs; the list is empty if there was none within `terms.wait`. Safe to repeat if the
    /// terms carry a request id.
    pub async fn claim(&self, terms: &ClaimTerms) -> Result<Vec<Claimed>, ClientError> {
        let request = self.waiting_call(Method::POST, paths::CLAIM, terms.wait.0);
        let response = self.send(request.json(&ClaimRequest::Full(terms.clone()))).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        self.read(response).await
    }

    pub async fn heartbeat(
        &self,
        name: &WorkerName,
        heartbeat: &Heartbeat,
    ) -> Result<HeartbeatReply, ClientError> {
        self.fetch(self.call(Method::POST, &paths::heartbeat(name)).json(heartbeat)).await
    }

    /// Returns the counter of [`Orders`]. With `known`, it waits until the counter differs from
    /// that or `wait` is over.
    pub async fn orders(
        &self,
        name: &WorkerName,
        known: Option<u64>,
        wait: Duration,
    ) -> Result<u64, ClientError> {
        let mut request = self.waiting_call(Method::GET, &paths::orders(name), wait);
        if let Some(known) = known {
            let wait = humantime::format_duration(wait).to_string();
            request = request.query(&[("after", known.to_string()), ("wait", wait)]);
        }
        let Orders { count } = self.fetch(request).await?;
        Ok(count)
    }

    /// Appends complete encoded frames at `offset` of the attempt's log. Safe to repeat.
    pub async fn append_log(
        &self,
        worker: &WorkerName,
        lease: &LeaseRef,
        offset: u64,
        frames: Bytes,
    ) -> Result<LogHead, ClientError> {
        let request = self
            .call(Method::POST, &paths::attempt_log(lease.job, lease.attempt))
            .query(&[("offset", offset.to_string()), ("worker", worker.to_string())])
            .header(LEASE_HEADER, lease.token.as_str())
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(frames);
        self.fetch(request).await
    }

    /// Appends a piece at `offset` of a file of the attempt. Safe to repeat. An empty file is one
    /// empty piece.
    pub async fn append_artifact(
        &self,
        worker: &WorkerName,
        lease: &LeaseRef,
        path: &str,
        offset: u64,
        piece: Bytes,
    ) -> Result<ArtifactHead, ClientError> {
        let offset = offset.to_string();
        let request = self
            .call(Method::POST, &paths::attempt_artifacts(lease.job, lease.attempt))
            .query(&[("path", path), ("offset", &offset), ("worker", worker.as_str())])
            .header(LEASE_HEADER, lease.token.as_str())
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(piece);
        self.fetch(request).await
    }

    /// How much of an attempt's log the master has stored.
    pub async fn log_head(&self, job: JobId, attempt: AttemptNo) -> Result<LogHead, ClientError> {
        self.fetch(self.call(Method::GET, &paths::attempt_log(job, attempt))).await
    }

    /// Returns the job as it is now. For a report with a claim use [`Client::report`].
    pub async fn update(&self, update: &JobUpdate) -> Result<Job, ClientError> {
        self.fetch(self.call(Method::POST, paths::UPDATE).json(update)).await
    }

    /// Sends a report and returns the jobs that its claim brought. Safe to repeat if the claim
    /// carries a request id.
    pub async fn report(&self, update: &JobUpdate) -> Result<Vec<Claimed>, ClientError> {
        let request = self.call(Method::POST, paths::UPDATE).json(update);
        let Brought { next } = self.fetch(request).await?;
        Ok(next)
    }
}

//! The calls that people make.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use orchestra_contracts::{
    Attempt, IdempotencyKey, Job, JobId, JobSpec, Queue, QueueChange, QueueName, Repro, WorkerName,
    explain::Explanation, paths, worker::Worker,
};
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, DATE, LINK},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    Backoff, Client, ClientError, JobQuery, LogQuery, Page,
    query::next_cursor,
    retry::{PATIENCE, retry},
};

/// How long one request of [`Client::wait`] is held open: shorter than the usual idle timeouts of
/// proxies.
const WAIT: Duration = Duration::from_secs(30);
/// The timeout for a whole list, or for a whole log that is not followed.
const LONG_READ: Duration = Duration::from_mins(10);

/// The result of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    Now,
    /// The job is running: it is cancelled first, and deleted when it has ended.
    WhenEnded,
}

/// The answer to `GET /healthz`.
#[derive(serde::Deserialize)]
struct Health {
    #[serde(rename = "status")]
    _status: String,
}

impl Client {
    /// Submits a job. When this returns, the job is stored durably and exactly once: if the answer
    /// is lost, the request is repeated under the same [`IdempotencyKey`]. If the master goes away
    /// during the call, this waits for it as long as [`Client::wait`] does; it does not wait for a
    /// master that was unreachable from the start.
    pub async fn submit(&self, spec: &JobSpec) -> Result<Job, ClientError> {
        self.submit_once(spec).await
    }

    /// Submits many jobs in the same way, all or none. Returns them in order, with each array
    /// expanded into its jobs.
    pub async fn submit_all(&self, specs: &[JobSpec]) -> Result<Vec<Job>, ClientError> {
        self.submit_once(specs).await
    }

    /// Checks whether these jobs would be accepted now; returns them as they would be stored.
    pub async fn check(&self, specs: &[JobSpec]) -> Result<Vec<JobSpec>, ClientError> {
        let request = self.call(Method::POST, paths::JOBS).query(&[("dryRun", "true")]);
        self.fetch(request.json(specs)).await
    }

    async fn submit_once<T: DeserializeOwned>(
        &self,
        body: &(impl Serialize + ?Sized),
    ) -> Result<T, ClientError> {
        let key = format!("{:032x}", rand::random::<u128>());
        let send = || {
            let request = self.call(Method::POST, paths::JOBS);
            self.fetch(request.header(IdempotencyKey::HEADER, &key).json(body))
        };
        match send().await {
            Err(ClientError::Unreachable { sent: true, .. }) => {
                retry(Backoff::default(), Instant::now() + PATIENCE, send).await
            }
            answer => answer,
        }
    }

    pub async fn job(&self, id: JobId) -> Result<Job, ClientError> {
        self.fetch(self.call(Method::GET, &paths::job(id))).await
    }

    /// Waits for the end of a job, however long that takes, and returns it. It waits up to a minute
    /// for an unavailable master.
    pub async fn wait(&self, id: JobId) -> Result<Job, ClientError> {
        loop {
            let deadline = Instant::now() + PATIENCE;
            let job: Job = retry(Backoff::default(), deadline, || {
                let request = self.waiting_call(Method::GET, &paths::job(id), WAIT);
                self.fetch(request.query(&[("wait", humantime::format_duration(WAIT).to_string())]))
            })
            .await?;
            if job.status.is_final() {
                return Ok(job);
            }
        }
    }

    pub async fn jobs(&self, query: &JobQuery) -> Result<Page, ClientError> {
        let request = self.open(Method::GET, paths::JOBS).timeout(LONG_READ);
        let response = self.send(request.query(&query.pairs())).await?;
        let link = response.headers().get(LINK).and_then(|link| link.to_str().ok());
        let next = link.and_then(next_cursor);
        Ok(Page { jobs: self.read(response).await?, next })
    }

    /// A job's attempts, oldest first.
    pub async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, ClientError> {
        self.fetch(self.call(Method::GET, &paths::attempts(id))).await
    }

    /// How to repeat the newest attempt by hand.
    pub async fn repro(&self, id: JobId) -> Result<Repro, ClientError> {
        self.fetch(self.call(Method::GET, &paths::repro(id))).await
    }

    /// Cancels a job; returns it as it is then. A running job has not ended yet.
    pub async fn cancel(&self, id: JobId) -> Result<Job, ClientError> {
        self.fetch(self.call(Method::POST, &paths::cancel(id))).await
    }

    /// Puts a job that has ended back into the queue.
    pub async fn retry(&self, id: JobId) -> Result<Job, ClientError> {
        self.fetch(self.call(Method::POST, &paths::retry(id))).await
    }

    pub async fn delete(&self, id: JobId) -> Result<Deleted, ClientError> {
        let response = self.send(self.call(Method::DELETE, &paths::job(id))).await?;
        Ok(match response.status() {
            StatusCode::ACCEPTED => Deleted::WhenEnded,
            _ => Deleted::Now,
        })
    }

    /// The log as text, exactly as the master writes it. It does not resume; [`Client::follow`]
    /// does.
    pub async fn log_text(
        &self,
        id: JobId,
        query: &LogQuery,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>, ClientError> {
        let mut request = self.open(Method::GET, &paths::log(id)).query(&query.pairs());
        if !query.follow {
            request = request.timeout(LONG_READ);
        }
        let response = self.send_open(request.header(ACCEPT, "text/plain")).await?;
        let url = self.url().to_owned();
        Ok(response.bytes_stream().map_err(move |error| ClientError::transport(&url, &error)))
    }

    /// Checks whether a master answers at the address.
    pub async fn healthy(&self) -> Result<(), ClientError> {
        // Many servers answer 200 to everything, but not with this body.
        let _: Health = self.fetch(self.call(Method::GET, paths::HEALTHZ)).await?;
        Ok(())
    }

    /// The time on the master's clock when it answered, truncated to seconds.
    pub async fn date(&self) -> Result<Timestamp, ClientError> {
        let response = self.send(self.call(Method::GET, paths::HEALTHZ)).await?;
        let status = response.status().as_u16();
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        // HTTP dates have one of the formats of RFC 2822.
        let date = date.map(|date| DateTimeParser::new().parse_timestamp(date));
        let wrong = |reason: String| ClientError::unreadable(self.url(), status, reason);
        match date {
            Some(Ok(date)) => Ok(date),
            Some(Err(error)) => Err(wrong(error.to_string())),
            None => Err(wrong("an answer without a date".to_owned())),
        }
    }

    /// Why a job waits, who holds it, or how it ended.
    pub async fn explain(&self, id: JobId) -> Result<Explanation, ClientError> {
        self.fetch(self.call(Method::GET, &paths::explain(id))).await
    }

    /// All queues, by name.
    pub async fn queues(&self) -> Result<Vec<Queue>, ClientError> {
        self.fetch(self.call(Method::GET, paths::QUEUES)).await
    }

    /// Pauses, resumes or limits a queue. Safe to repeat.
    pub async fn change_queue(
        &self,
        name: &QueueName,
        change: QueueChange,
    ) -> Result<Queue, ClientError> {
        self.fetch(self.call(Method::PATCH, &paths::queue(name)).json(&change)).await
    }

    /// Stops handing new jobs to a worker, or resumes that. Safe to repeat.
    pub async fn drain(&self, worker: &WorkerName, draining: bool) -> Result<Worker, ClientError> {
        let method = if draining { Method::POST } else { Method::DELETE };
        self.fetch(self.call(method, &paths::drain(worker))).await
    }

    /// Every worker that the master knows, by name.
    pub async fn workers(&self) -> Result<Vec<Worker>, ClientError> {
        self.fetch(self.call(Method::GET, paths::WORKERS)).await
    }
}

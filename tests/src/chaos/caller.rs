//! A client that tolerates any fault: it never panics over a missing answer, and records every
//! answer it gets.

use std::time::Duration;

use orchestra_contracts::{Attempt, Job, JobId, paths};
use reqwest::{Client, Method, Response, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Recorder;
use crate::check::{JobPlan, REQUEST_LABEL, What, Wish};

/// A request without an answer for this long counts as unanswered.
const PATIENCE: Duration = Duration::from_secs(15);

/// A client of one master.
#[derive(Clone, Debug)]
pub struct Caller {
    http: Client,
    base: String,
    recorder: Recorder,
}

impl Caller {
    /// # Panics
    /// Never: a plain client has all it needs.
    pub fn new(base: String, recorder: Recorder) -> Self {
        let http = crate::http::client();
        Self { http, base, recorder }
    }

    /// Sends a request. Returns the answer if one comes in time; records server errors.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Option<Response> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        request = request.timeout(PATIENCE);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.ok()?;
        self.note(&answer, path);
        Some(answer)
    }

    /// Opens an event stream, without a time limit for its body.
    ///
    /// # Errors
    /// The status when the master refuses; `None` when no answer comes.
    pub async fn open(
        &self,
        path: &str,
        last_event_id: Option<&str>,
    ) -> Result<Response, Option<u16>> {
        let mut request = self.http.get(format!("{}{path}", self.base));
        request = request.header(header::ACCEPT, "text/event-stream");
        if let Some(last) = last_event_id {
            request = request.header("Last-Event-ID", last);
        }
        let answer = tokio::time::timeout(PATIENCE, request.send()).await;
        let answer = answer.map_err(|_| None)?.map_err(|_| None)?;
        self.note(&answer, path);
        if answer.status().is_success() { Ok(answer) } else { Err(Some(answer.status().as_u16())) }
    }

    fn note(&self, answer: &Response, path: &str) {
        if answer.status().is_server_error() {
            let retry_after = answer.headers().contains_key(header::RETRY_AFTER);
            let (status, path) = (answer.status().as_u16(), path.to_owned());
            self.recorder.record(What::ServerError { status, path, retry_after });
        } else {
            self.recorder.answer();
        }
    }

    /// Submits once, with the request number as a label. Returns the id if it is known.
    pub async fn submit(&self, request: u64, mut spec: Value, plan: JobPlan) -> Option<JobId> {
        spec["labels"] = serde_json::json!({ REQUEST_LABEL: request.to_string() });
        self.recorder.record(What::SubmitSent { request, plan });
        let unknown = What::SubmitUnknown { request };
        let Some(answer) = self.call(Method::POST, paths::JOBS, Some(&spec)).await else {
            self.recorder.record(unknown);
            return None;
        };
        let status = answer.status().as_u16();
        let job = answer.json::<Job>().await;
        match (status, job) {
            (201, Ok(job)) => {
                self.recorder.record(What::Submitted { request, job: job.id });
                Some(job.id)
            }
            // An answer whose id was lost, or a database error after which the job may exist.
            (201 | 503, _) => {
                self.recorder.record(unknown);
                None
            }
            (status, _) => {
                self.recorder.record(What::SubmitRefused { request, status });
                None
            }
        }
    }

    /// Cancels or deletes a job, once.
    pub async fn wish(&self, job: JobId, wish: Wish) {
        let (method, path) = match wish {
            Wish::Cancel => (Method::POST, paths::cancel(job)),
            Wish::Delete => (Method::DELETE, paths::job(job)),
            Wish::Retry => (Method::POST, paths::retry(job)),
        };
        self.recorder.record(What::Asked { job, wish });
        let Some(answer) = self.call(method, &path, None).await else { return };
        let status = answer.status().as_u16();
        let body = answer.json::<Job>().await.ok();
        if wish == Wish::Cancel && body.is_none() && status < 300 {
            // The attempt in which it was cancelled is unknown.
            return;
        }
        let attempt = body.and_then(|job| job.attempt);
        self.recorder.record(What::Answered { job, wish, status, attempt });
    }

    /// Reads a job once and records what it says.
    pub async fn look(&self, id: JobId) -> Option<Job> {
        let since = self.recorder.now();
        let answer = self.call(Method::GET, &paths::job(id), None).await?;
        if answer.status().as_u16() == 404 {
            self.recorder.record(What::Missing { job: id, since });
            return None;
        }
        let job = answer.json::<Job>().await.ok()?;
        let (status, attempt, outcome) = (job.status, job.attempt, job.outcome.clone());
        self.recorder.record(What::Seen { job: id, since, status, attempt, outcome });
        Some(job)
    }

    /// Whether the master answers that there is no such job.
    pub async fn is_gone(&self, id: JobId) -> bool {
        let answer = self.call(Method::GET, &paths::job(id), None).await;
        answer.is_some_and(|answer| answer.status().as_u16() == 404)
    }

    pub async fn attempts(&self, id: JobId) -> Option<Vec<Attempt>> {
        self.read(&paths::attempts(id)).await
    }

    pub async fn jobs(&self, query: &str) -> Option<Vec<Job>> {
        self.read(&format!("{}{query}", paths::JOBS)).await
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        self.call(Method::GET, path, None).await?.json().await.ok()
    }
}

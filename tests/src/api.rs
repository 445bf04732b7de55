//! The REST API, called with no more knowledge than its documentation gives.

use std::time::Instant;

use bytes::Bytes;
use eventsource_stream::{Event, Eventsource};
use futures::{Stream, StreamExt, future::ready};
use orchestra_contracts::{Attempt, Job, JobId, JobStatus, paths, worker};
use reqwest::{Client, Method, RequestBuilder, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Reply, wait};

/// A master, reached by its base address.
#[derive(Clone, Debug)]
pub struct Api {
    http: Client,
    base: String,
    token: Option<String>,
}

impl Api {
    /// `base` is like `http://127.0.0.1:5216`.
    pub fn new(base: String) -> Self {
        let http = crate::http::client();
        Self { http, base, token: None }
    }

    /// The same client, sending this token with every request.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.trim().to_owned()), ..self }
    }

    /// The absolute URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.url(path));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// # Panics
    /// When no answer comes.
    pub async fn send(&self, request: RequestBuilder) -> Reply {
        Reply::read(request.send().await.expect("the master answers")).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        self.get(path).await.expect(200).json()
    }

    /// Submits a spec and returns the stored job.
    pub async fn submit(&self, spec: &Value) -> Job {
        let reply = self.post(paths::JOBS, spec).await.expect(201);
        let job: Job = reply.json();
        assert_eq!(reply.header("location"), Some(paths::job(job.id).as_str()));
        job
    }

    /// Submits a job that sets nothing but its command.
    pub async fn command(&self, command: &str) -> Job {
        self.submit(&json!({ "command": command })).await
    }

    /// Submits a spec and waits until the job has finished.
    pub async fn run(&self, spec: &Value) -> Job {
        let job = self.submit(spec).await;
        self.finished(job.id).await
    }

    pub async fn job(&self, id: JobId) -> Job {
        self.read(&paths::job(id)).await
    }

    pub async fn jobs(&self, query: &str) -> Vec<Job> {
        self.read(&format!("{}{query}", paths::JOBS)).await
    }

    pub async fn attempts(&self, id: JobId) -> Vec<Attempt> {
        self.read(&paths::attempts(id)).await
    }

    pub async fn workers(&self) -> Vec<worker::Worker> {
        self.read(paths::WORKERS).await
    }

    /// The registered workers; `None` while the master does not answer.
    pub async fn try_workers(&self) -> Option<Vec<worker::Worker>> {
        let answer = self.request(Method::GET, paths::WORKERS).send().await.ok()?;
        answer.json().await.ok()
    }

    /// The job's whole log as `text/plain`. `query` is like `?stream=stdout`, or empty.
    pub async fn log(&self, id: JobId, query: &str) -> Bytes {
        self.get(&format!("{}{query}", paths::log(id))).await.expect(200).body
    }

    /// Waits until the job has finished and returns it.
    ///
    /// # Panics
    /// When it has not finished within [`wait::JOB`].
    pub async fn finished(&self, id: JobId) -> Job {
        let start = Instant::now();
        loop {
            let job: Job = self.read(&format!("{}?wait=10s", paths::job(id))).await;
            if job.status.is_final() {
                return job;
            }
            assert!(start.elapsed() < wait::JOB, "the job does not end: {job:?}");
        }
    }

    /// Waits until the job has this status and returns it.
    ///
    /// # Panics
    /// When it does not within [`wait::SOON`], or when it finishes first.
    pub async fn reaches(&self, id: JobId, status: JobStatus) -> Job {
        wait::until(&format!("job {id} to be {status}"), wait::SOON, async || {
            let job = self.job(id).await;
            assert!(job.status == status || !job.status.is_final(), "ended before: {job:?}");
            (job.status == status).then_some(job)
        })
        .await
    }

    /// The job's log as events after `last_event_id`. Stops at a broken connection.
    pub async fn events(
        &self,
        id: JobId,
        last_event_id: Option<&str>,
    ) -> impl Stream<Item = Event> + Unpin + use<> {
        let mut request =
            self.request(Method::GET, &paths::log(id)).header(header::ACCEPT, "text/event-stream");
        if let Some(last) = last_event_id {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.expect("the master answers");
        assert_eq!(response.status(), 200);
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        let whole = response.bytes_stream().eventsource().take_while(|event| ready(event.is_ok()));
        Box::pin(whole.filter_map(|event| ready(event.ok())))
    }
}

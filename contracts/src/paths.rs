//! Every route, defined once. The constants are axum route patterns; the functions fill in their
//! parameters.

use crate::{
    AttemptNo, ContentHash, DeliveryId, JobId, QueueName, ScheduleName, TokenId, WebhookId,
    WorkerName,
};

pub const JOBS: &str = "/api/job";
pub const PENDING: &str = "/api/job/pending";
pub const CLAIM: &str = "/api/job/claim";
pub const UPDATE: &str = "/api/job/update";
pub const JOB: &str = "/api/job/{id}";
pub const CANCEL: &str = "/api/job/{id}/cancel";
pub const RETRY: &str = "/api/job/{id}/retry";
pub const EXPLAIN: &str = "/api/job/{id}/explain";
pub const LOG: &str = "/api/job/{id}/log";
pub const REPRO: &str = "/api/job/{id}/repro";
pub const ATTEMPTS: &str = "/api/job/{id}/attempts";
/// GET returns the `LogHead`, POST appends frames.
pub const ATTEMPT_LOG: &str = "/api/job/{id}/attempts/{attempt}/log";
/// POST appends a piece of a file.
pub const ATTEMPT_ARTIFACTS: &str = "/api/job/{id}/attempts/{attempt}/artifacts";
pub const ARTIFACTS: &str = "/api/job/{id}/artifacts";
pub const ARTIFACT: &str = "/api/job/{id}/artifacts/{*path}";
pub const CHANGES: &str = "/api/job/{id}/changes";
/// PUT uploads a file for a job, or a piece of it.
pub const UPLOAD: &str = "/api/upload/{sha256}";
pub const WORKERS: &str = "/api/worker";
pub const WORKER: &str = "/api/worker/{name}";
pub const HEARTBEAT: &str = "/api/worker/{name}/heartbeat";
pub const ORDERS: &str = "/api/worker/{name}/orders";
pub const DRAIN: &str = "/api/worker/{name}/drain";
pub const QUEUES: &str = "/api/queue";
pub const QUEUE: &str = "/api/queue/{name}";
pub const SCHEDULES: &str = "/api/schedule";
pub const SCHEDULE: &str = "/api/schedule/{name}";
pub const TOKENS: &str = "/api/token";
pub const TOKEN: &str = "/api/token/{id}";
pub const WEBHOOKS: &str = "/api/webhook";
pub const WEBHOOK: &str = "/api/webhook/{id}";
pub const DELIVERIES: &str = "/api/webhook/{id}/deliveries";
pub const REDELIVER: &str = "/api/webhook/{id}/deliveries/{delivery}/retry";

/// The API description for programs.
pub const DESCRIPTION: &str = "/openapi.json";

/// Metrics for Prometheus.
pub const METRICS: &str = "/metrics";

/// The web pages for people and their assets; no program calls them.
pub const HOME: &str = "/";
pub const JOBS_PAGE: &str = "/jobs";
pub const JOB_PAGE: &str = "/jobs/{id}";
pub const NEW_PAGE: &str = "/new";
pub const QUEUES_PAGE: &str = "/queues";
pub const WORKERS_PAGE: &str = "/workers";
pub const SCHEDULES_PAGE: &str = "/schedules";
pub const IMAGES_PAGE: &str = "/images";
pub const WEBHOOKS_PAGE: &str = "/webhooks";
pub const WEBHOOK_PAGE: &str = "/webhooks/{id}";
/// The API documentation for people.
pub const API_PAGE: &str = "/docs";
pub const SIGN_IN: &str = "/signin";
pub const SIGN_OUT: &str = "/signout";
pub const ASSET: &str = "/assets/{version}/{name}";

pub const HEALTHZ: &str = "/healthz";
pub const READYZ: &str = "/readyz";

pub fn upload(sha256: &ContentHash) -> String {
    format!("/api/upload/{sha256}")
}

pub fn job(id: JobId) -> String {
    format!("/api/job/{id}")
}

pub fn job_page(id: JobId) -> String {
    format!("/jobs/{id}")
}

pub fn webhook_page(id: WebhookId) -> String {
    format!("/webhooks/{id}")
}

pub fn cancel(id: JobId) -> String {
    format!("/api/job/{id}/cancel")
}

pub fn retry(id: JobId) -> String {
    format!("/api/job/{id}/retry")
}

pub fn explain(id: JobId) -> String {
    format!("/api/job/{id}/explain")
}

pub fn log(id: JobId) -> String {
    format!("/api/job/{id}/log")
}

pub fn repro(id: JobId) -> String {
    format!("/api/job/{id}/repro")
}

pub fn attempts(id: JobId) -> String {
    format!("/api/job/{id}/attempts")
}

pub fn attempt_log(id: JobId, attempt: AttemptNo) -> String {
    format!("/api/job/{id}/attempts/{attempt}/log")
}

pub fn attempt_artifacts(id: JobId, attempt: AttemptNo) -> String {
    format!("/api/job/{id}/attempts/{attempt}/artifacts")
}

pub fn artifacts(id: JobId) -> String {
    format!("/api/job/{id}/artifacts")
}

/// Percent-encodes `path`, but keeps its slashes.
pub fn artifact(id: JobId, path: &str) -> String {
    format!("/api/job/{id}/artifacts/{path}")
}

pub fn changes(id: JobId) -> String {
    format!("/api/job/{id}/changes")
}

pub fn worker(name: &WorkerName) -> String {
    format!("/api/worker/{name}")
}

pub fn orders(name: &WorkerName) -> String {
    format!("/api/worker/{name}/orders")
}

pub fn heartbeat(name: &WorkerName) -> String {
    format!("/api/worker/{name}/heartbeat")
}

pub fn drain(name: &WorkerName) -> String {
    format!("/api/worker/{name}/drain")
}

pub fn queue(name: &QueueName) -> String {
    format!("/api/queue/{name}")
}

pub fn schedule(name: &ScheduleName) -> String {
    format!("/api/schedule/{name}")
}

pub fn token(id: TokenId) -> String {
    format!("/api/token/{id}")
}

pub fn webhook(id: WebhookId) -> String {
    format!("/api/webhook/{id}")
}

pub fn deliveries(id: WebhookId) -> String {
    format!("/api/webhook/{id}/deliveries")
}

pub fn redeliver(id: WebhookId, delivery: DeliveryId) -> String {
    format!("/api/webhook/{id}/deliveries/{delivery}/retry")
}

//! The wire types that the master, the workers and the command line share.
//!
//! This crate holds serde types only: no async, no IO, no clock. These types are the wire format,
//! so a change here changes the protocol. `tests/wire.rs` keeps frozen examples of it.
//!
//! * [`JobSpec`] is what people submit; [`Job`] is what they read back.
//! * [`worker`] holds the calls that only workers make: register, claim, heartbeat, update.
//! * [`files`] describes how a job changed its files, and which files are kept.
//! * [`frame`] is the log format, on the wire and in the store.
//! * [`Problem`] is the body of every error; [`paths`] lists every route.

pub mod event;
pub mod explain;
pub mod files;
pub mod frame;
pub mod paths;
pub mod worker;

mod idempotency;
mod ids;
mod image;
mod job;
mod object;
mod one_or_many;
mod outcome;
mod problem;
mod queue;
mod ran;
mod schedule;
mod secret;
mod size;
mod span;
mod spec;
mod submission;
mod token;
mod upload;
mod webhook;

pub use idempotency::IdempotencyKey;
pub use ids::{AttemptNo, JobId, LeaseToken, QueueName, ScheduleName, WorkerName};
pub use image::{ImagePattern, ImageReference};
pub use job::{Attempt, Job, JobStatus};
pub use one_or_many::OneOrMany;
pub use outcome::{Blame, Outcome, Usage};
pub use problem::{CONTENT_TYPE as PROBLEM_JSON, FieldError, Problem, ProblemKind};
pub use queue::{Queue, QueueChange};
pub use ran::{Ran, Repro};
pub use schedule::{NewSchedule, Overlap, Schedule, ScheduleChange};
pub use secret::Secret;
pub use size::Size;
pub use span::Span;
pub use spec::{
    Array, Condition, Demand, JobFile, JobRef, JobSpec, Network, NotAnArray, Resources, Retry,
    RetryOn, Workspace, check_labels, limits,
};
pub use submission::Specs;
pub use token::{IssuedToken, NewToken, Role, Token, TokenId, TokenInfo};
pub use upload::{ContentHash, Upload};
pub use webhook::{
    Delivery, DeliveryId, DeliveryState, NewWebhook, RegisteredWebhook, Webhook, WebhookId,
    every_end,
};

/// The default port of the master.
pub const DEFAULT_PORT: u16 = 5216;

/// The `OpenAPI` 3.1 description of the REST API, as the master serves it.
pub const OPENAPI: &str = include_str!("../openapi.json");

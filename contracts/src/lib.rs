//! The words that master, worker and command line say to each other.
//!
//! Serde types only: no async, no IO, no clock. What stands here is the wire
//! format, so a change here is a change of the protocol; `tests/wire.rs` keeps
//! frozen examples of it.
//!
//! * [`JobSpec`] is what people submit, [`Job`] is what they read back.
//! * [`worker`] holds the calls that only workers make: register, claim,
//!   heartbeat, update.
//! * [`files`] is what a job did to files, and what is kept of them.
//! * [`frame`] is the log as it travels and as it is stored.
//! * [`Problem`] is every refusal; [`paths`] is every address.

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

/// The port that everything speaks on unless told otherwise.
pub const DEFAULT_PORT: u16 = 5216;

/// The description of the REST API for programs (`OpenAPI` 3.1), as the master serves it.
pub const OPENAPI: &str = include_str!("../openapi.json");

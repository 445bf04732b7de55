//! A typed client for the Orchestra REST API, used by workers and by the command line.
//!
//! It handles timeouts, error responses and the resuming of logs. Calls are not repeated, except by
//! [`Client::submit`], [`Client::submit_all`], [`Client::bring`], [`Client::wait`] and
//! [`Client::follow`]. For the others only the caller knows whether a repetition is safe;
//! [`retry()`] does it.
//!
//! * `people.rs`, `schedules.rs`, `workers.rs`, `tokens.rs` and `webhooks.rs` have one short method
//!   per call.
//! * `artifacts.rs` downloads a job's artifacts and verifies them; `uploads.rs` uploads input
//!   files.
//! * `follow.rs` follows a job's log and resumes after a broken connection.
//! * `error.rs` defines the errors, and which of them are temporary.

mod artifacts;
mod client;
mod error;
mod follow;
mod people;
mod query;
mod retry;
mod schedules;
mod sse;
mod tls;
mod token;
mod tokens;
mod uploads;
mod webhooks;
mod workers;

pub use artifacts::FetchError;
pub use client::{Client, Transport};
pub use error::ClientError;
pub use follow::FollowEvent;
pub use people::Deleted;
pub use query::{JobQuery, ListOrder, LogQuery, Page};
pub use retry::{Backoff, retry};
pub use token::token_from;
pub use uploads::BringError;

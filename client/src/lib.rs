//! Typed client of the Orchestra REST API, for workers and for the command line.
//!
//! It owns timeouts, the reading of refusals and the resuming of logs. It never
//! repeats a call by itself, [`Client::wait`] and [`Client::follow`] excepted:
//! whether a repetition is safe is the caller's knowledge, and [`retry()`] its tool.
//!
//! * `people.rs`, `schedules.rs`, `workers.rs`, `tokens.rs` and `webhooks.rs` hold one short
//!   method a call.
//! * `artifacts.rs` fetches what a job left, and checks it; `uploads.rs` brings what one is to have.
//! * `follow.rs` follows a job's log through every break of the connection.
//! * `error.rs` says what can go wrong, and what of it may pass.

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

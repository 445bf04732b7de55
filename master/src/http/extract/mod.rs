//! Parsing at the edge. What does not parse is refused here, as a problem.

mod body;
mod json;
mod key;
mod path;
mod query;
mod readable;

pub(super) use body::{Draining, Frames};
pub(super) use json::Json;
pub(super) use key::Key;
pub(super) use path::{AttemptPath, JobPath, QueuePath, SchedulePath, TokenPath, WorkerPath};
pub(super) use query::{FromQuery, NoQuery, Pairs, Query};

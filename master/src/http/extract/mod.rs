//! Parsing at the edge. What does not parse is refused here, as a problem.

mod body;
mod json;
mod path;
mod query;
mod readable;

pub(super) use body::{Draining, Frames};
pub(super) use json::Json;
pub(super) use path::{AttemptPath, JobPath, TokenPath, WorkerPath};
pub(super) use query::{FromQuery, NoQuery, Pairs, Query};

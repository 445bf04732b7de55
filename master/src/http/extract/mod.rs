//! Parsing at the edge. What does not parse is refused here, as a problem.

mod body;
mod json;
mod key;
mod path;
mod query;
mod readable;
mod submitted;

pub(super) use body::{Draining, Frames, Piece};
pub(super) use json::{Json, Report};
pub(super) use key::Key;
pub(super) use path::{
    ArtifactPath, AttemptPath, DeliveryPath, JobPath, QueuePath, SchedulePath, TokenPath,
    WebhookPath, WorkerPath,
};
pub(super) use query::{FromQuery, NoQuery, Pairs, Query};
pub(super) use submitted::Submitted;

//! Request parsing. Whatever does not parse is refused here, with a problem.

mod body;
mod form;
mod json;
mod key;
mod path;
mod query;
mod readable;
mod submitted;
mod trace;

pub(super) use body::{Draining, Frames, Piece, Pieces};
pub(super) use form::Form;
pub(super) use json::{Json, Report};
pub(super) use key::Key;
pub(super) use path::{
    ArtifactPath, AttemptPath, DeliveryPath, JobPath, QueuePath, SchedulePath, TokenPath,
    UploadPath, WebhookPath, WorkerPath,
};
pub(super) use query::{FromQuery, NoQuery, Pairs, Query};
pub(super) use submitted::Submitted;
pub(super) use trace::Trace;

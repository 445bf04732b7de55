//! The rows of the tables, the same for every adapter, and their conversion into the types of the
//! domain and back.
//!
//! A row that the code cannot have written becomes a [`StoreError::Corrupt`]. Rows are written as
//! JSON, many in one parameter.

mod artifact;
mod attempt;
mod job;
mod log;
mod queue;
mod schedule;
mod token;
mod webhook;
mod worker;

use std::fmt::Display;

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use super::StoreError;

pub(super) use artifact::{ArtifactRow, PieceRow, changes};
pub(super) use attempt::{AttemptRow, AttemptWrite};
pub(super) use job::{JobGuard, JobInsert, JobRow, JobWrite};
pub(super) use log::{ChunkRow, HeadRow};
pub(super) use queue::QueueRow;
pub(super) use schedule::ScheduleRow;
pub(super) use token::TokenRow;
#[cfg(any(test, feature = "memory-store"))]
pub(super) use webhook::JobAtEnd;
pub(super) use webhook::{DeliveryRow, DeliveryWrite, DueRow, WebhookRow};
pub(super) use worker::WorkerRow;

/// The table and row of a value, for the error that it cannot be read.
#[derive(Clone, Copy)]
struct Place {
    table: &'static str,
    id: i64,
}

impl Place {
    fn corrupt(self, reason: impl Display) -> StoreError {
        StoreError::Corrupt { table: self.table, id: self.id, reason: format!("{reason}") }
    }

    fn missing(self, column: &str) -> StoreError {
        self.corrupt(format!("{column} is missing"))
    }

    fn time(self, millis: i64) -> Result<Timestamp, StoreError> {
        Timestamp::from_millisecond(millis).map_err(|error| self.corrupt(error))
    }

    fn time_if(self, millis: Option<i64>) -> Result<Option<Timestamp>, StoreError> {
        millis.map(|millis| self.time(millis)).transpose()
    }

    fn json<T: DeserializeOwned>(self, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|error| self.corrupt(error))
    }

    fn json_if<T: DeserializeOwned>(self, text: Option<&str>) -> Result<Option<T>, StoreError> {
        text.map(|text| self.json(text)).transpose()
    }

    fn word<T: std::str::FromStr>(self, text: &str) -> Result<T, StoreError>
    where
        T::Err: Display,
    {
        text.parse().map_err(|error: T::Err| self.corrupt(error))
    }
}

/// Our own types as JSON text.
pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types have string keys and finite numbers")
}

//! Rows of logs: heads and chunks.

use orchestra_contracts::{JobId, worker::LogHead};
use serde::Deserialize;
use sqlx_macros::FromRow;

use super::Place;
use crate::store::{LogChunk, StoreError, compression::unpack};

/// How far an attempt's log is stored; the names are those of the columns.
#[derive(Clone, Copy, Debug, Deserialize, FromRow)]
#[expect(clippy::struct_field_names, reason = "a join flattens them into wider rows")]
pub(in crate::store) struct HeadRow {
    log_offset: i64,
    log_output: i64,
    log_gap: i64,
    log_crc32: i64,
}

impl From<HeadRow> for LogHead {
    fn from(row: HeadRow) -> Self {
        Self {
            offset: row.log_offset as u64,
            output: row.log_output as u64,
            gap: row.log_gap as u64,
            crc32: row.log_crc32 as u32,
        }
    }
}

/// A row of `log_chunk`.
#[derive(Debug, FromRow)]
pub(in crate::store) struct ChunkRow {
    log_offset: i64,
    stdout: i64,
    stderr: i64,
    system: i64,
    frames: Vec<u8>,
    bytes: Option<i64>,
}

impl ChunkRow {
    pub(in crate::store) fn chunk(self, id: JobId) -> Result<LogChunk, StoreError> {
        let place = Place { table: "log_chunk", id: id.0 };
        let frames = unpack(self.frames, self.bytes).map_err(|reason| place.corrupt(reason))?;
        Ok(LogChunk {
            offset: self.log_offset as u64,
            stdout: self.stdout as u64,
            stderr: self.stderr as u64,
            system: self.system as u64,
            frames: frames.into(),
        })
    }
}

//! What is read of a log: its head and its chunks.

use orchestra_contracts::worker::LogHead;
use sqlx::FromRow;

use crate::store::LogChunk;

/// How far an attempt's log is stored; the names are those of the columns.
#[derive(Clone, Copy, Debug, FromRow)]
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
}

impl From<ChunkRow> for LogChunk {
    fn from(row: ChunkRow) -> Self {
        Self {
            offset: row.log_offset as u64,
            stdout: row.stdout as u64,
            stderr: row.stderr as u64,
            system: row.system as u64,
            frames: row.frames.into(),
        }
    }
}

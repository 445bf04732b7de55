//! Rows of artifacts and their pieces.

use bytes::Bytes;
use orchestra_contracts::{
    JobId,
    files::{Artifact, Changes},
};
use sqlx_macros::FromRow;

use super::Place;
use crate::store::StoreError;

/// A row of `artifact` that has a name for everybody.
#[derive(Debug, FromRow)]
pub(in crate::store) struct ArtifactRow {
    path: String,
    bytes: i64,
    sha256: String,
    executable: bool,
}

impl From<ArtifactRow> for Artifact {
    fn from(row: ArtifactRow) -> Self {
        let ArtifactRow { path, bytes, sha256, executable } = row;
        Self { path, bytes: bytes as u64, sha256, executable }
    }
}

/// A row of `artifact_piece`.
#[derive(Debug, FromRow)]
pub(in crate::store) struct PieceRow {
    place: i64,
    content: Vec<u8>,
}

impl PieceRow {
    /// The piece from this byte of the file on; `None` if it ends before.
    pub(in crate::store) fn from(self, offset: u64) -> Option<Bytes> {
        let within = usize::try_from(offset.checked_sub(self.place as u64)?).ok()?;
        let content = Bytes::from(self.content);
        (within < content.len()).then(|| content.slice(within..))
    }
}

pub(in crate::store) fn changes(
    job: JobId,
    text: Option<&str>,
) -> Result<Option<Changes>, StoreError> {
    Place { table: "attempt", id: job.0 }.json_if(text)
}

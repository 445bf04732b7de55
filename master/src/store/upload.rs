//! Files that are brought before the jobs that have them: how their pieces come, and how long
//! they stay.

use bytes::Bytes;
use jiff::Timestamp;
use orchestra_contracts::{ContentHash, JobSpec, Size, Span, Upload};

/// How long one stays that no job has, counted from when somebody last brought some of it.
pub const UPLOADS_KEPT: Span = Span::from_secs(24 * 60 * 60);

/// A piece of a file.
#[derive(Clone, Debug)]
pub struct UploadPiece {
    pub sha256: ContentHash,
    /// Where in the file it begins. What is stored already is skipped; a hole is refused. With
    /// 0 the file begins anew, unless it is there whole: what an earlier caller brought of it
    /// may have been something else.
    pub offset: u64,
    pub content: Bytes,
    /// The file has so many bytes, at most.
    pub limit: Size,
    pub now: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadStored {
    /// New or again.
    Stored(Upload),
    /// It begins behind the end of what is stored, which is there.
    Misplaced(u64),
    /// The file is too large: nothing is stored of it now.
    OverLimit,
}

impl UploadPiece {
    /// Which of its bytes are new where so many are stored of the file already.
    pub(super) fn place(&self, stored: u64) -> Result<Bytes, UploadStored> {
        let Some(known) = stored.checked_sub(self.offset) else {
            return Err(UploadStored::Misplaced(stored));
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(self.content.len());
        let new = self.content.slice(known..);
        if stored.saturating_add(new.len() as u64) > self.limit.0 {
            return Err(UploadStored::OverLimit);
        }
        Ok(new)
    }

    pub(super) fn stored(&self, bytes: u64, complete: bool) -> UploadStored {
        UploadStored::Stored(Upload { sha256: self.sha256.clone(), bytes, complete })
    }
}

/// The uploads that a job is to have.
pub(super) fn wanted(spec: &JobSpec) -> impl Iterator<Item = &ContentHash> {
    spec.files.iter().filter_map(|file| file.upload.as_ref())
}

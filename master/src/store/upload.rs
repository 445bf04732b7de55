//! Uploads: files that arrive before the jobs that use them, in pieces, and how long they are kept.

use bytes::Bytes;
use jiff::Timestamp;
use orchestra_contracts::{ContentHash, JobSpec, Size, Span, Upload};

/// How long an upload is kept that no job uses, since its last piece arrived.
pub const UPLOADS_KEPT: Span = Span::from_secs(24 * 60 * 60);

/// A piece of an upload.
#[derive(Clone, Debug)]
pub struct UploadPiece {
    pub sha256: ContentHash,
    /// Where in the file the piece begins. Bytes that are stored already are skipped; a hole is
    /// refused. With 0 the file begins anew, unless it is complete: an earlier caller may have sent
    /// other content.
    pub offset: u64,
    pub content: Bytes,
    /// The limit on the size of the file, in bytes.
    pub limit: Size,
    pub now: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadStored {
    /// Stored, now or before.
    Stored(Upload),
    /// The piece begins behind the end of the stored file, which is here.
    Misplaced(u64),
    /// The file is too large; nothing of it is stored.
    OverLimit,
}

impl UploadPiece {
    /// Which of its bytes are new, where so many bytes of the file are stored.
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

/// The uploads that a job uses.
pub(super) fn wanted(spec: &JobSpec) -> impl Iterator<Item = &ContentHash> {
    spec.files.iter().filter_map(|file| file.upload.as_ref())
}

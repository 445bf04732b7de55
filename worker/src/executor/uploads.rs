//! Where an executor gets a job's uploaded files. The job's spec only references them.

use async_trait::async_trait;
use bytes::Bytes;
use orchestra_contracts::ContentHash;

/// A source of uploaded files, read piece by piece.
///
/// Attempts that cannot have any use [`NoUploads`].
#[async_trait]
pub(crate) trait UploadSource: Send + Sync {
    /// Bytes of a file from `offset` on, and the size of the whole file. Keeps waiting while the
    /// master does not answer; the lease bounds that wait. The error is a sentence for people.
    async fn piece(&self, sha256: &ContentHash, offset: u64) -> Result<(Bytes, u64), String>;
}

/// A source without files.
pub(crate) struct NoUploads;

#[async_trait]
impl UploadSource for NoUploads {
    async fn piece(&self, sha256: &ContentHash, _: u64) -> Result<(Bytes, u64), String> {
        Err(format!("there is no upload {sha256} here"))
    }
}

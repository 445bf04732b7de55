//! Where an executor gets the uploaded files of a job from; the job's spec only names them.

use async_trait::async_trait;
use bytes::Bytes;
use orchestra_contracts::ContentHash;

/// A source of uploaded files, read piece by piece.
///
/// [`NoUploads`] is for attempts that cannot have any.
#[async_trait]
pub(crate) trait UploadSource: Send + Sync {
    /// Bytes of a file from `offset` on, and the size of the file. Waits for a master that does not
    /// answer: the lease decides for how long. The error is a sentence for people.
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

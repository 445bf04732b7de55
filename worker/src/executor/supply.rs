//! Files that a job has and that its spec only names: where an executor gets them from.

use async_trait::async_trait;
use bytes::Bytes;
use orchestra_contracts::ContentHash;

/// Brings uploaded files, piece by piece.
///
/// [`Nothing`] is for attempts that cannot have any.
#[async_trait]
pub(crate) trait Supply: Send + Sync {
    /// Bytes of a file from `offset` on, and how many it has in all. Waits for a master that
    /// does not answer: that is for the lease to decide. The error is a sentence for people.
    async fn piece(&self, sha256: &ContentHash, offset: u64) -> Result<(Bytes, u64), String>;
}

/// Has no file.
pub(crate) struct Nothing;

#[async_trait]
impl Supply for Nothing {
    async fn piece(&self, sha256: &ContentHash, _: u64) -> Result<(Bytes, u64), String> {
        Err(format!("there is no upload {sha256} here"))
    }
}

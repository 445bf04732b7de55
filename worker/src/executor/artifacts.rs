//! The artifacts of an attempt, as its executor hands them out.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// The artifacts of an attempt that has ended. They can be read for as long as this is held.
#[async_trait]
pub trait ArtifactSource: Send + Sync {
    /// Below the working folder, in order.
    fn paths(&self) -> &[String];

    /// Why others are left out, each a sentence for the log.
    fn left_out(&self) -> &[String] {
        &[]
    }

    /// One of them, from its beginning. It may be opened again.
    async fn open(&self, path: &str) -> Result<ArtifactFile, ReadError>;
}

/// A file that is being read.
pub struct ArtifactFile {
    pub bytes: u64,
    pub executable: bool,
    /// So many bytes in all, or an error.
    pub content: BoxStream<'static, Result<Bytes, ReadError>>,
}

/// Why a file could not be read; a phrase for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Whoever has it does not answer, for now.
    #[error("{0}")]
    Away(String),
    /// It broke off, and may not do so again.
    #[error("{0}")]
    Broken(String),
    /// It is not there, or is nothing that may be kept.
    #[error("{0}")]
    Unfit(String),
}

impl fmt::Debug for dyn ArtifactSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArtifactSource({} files)", self.paths().len())
    }
}

impl fmt::Debug for ArtifactFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArtifactFile({} bytes)", self.bytes)
    }
}

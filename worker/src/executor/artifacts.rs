//! The artifacts of an attempt, as its executor provides them.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// The artifacts of an attempt that has ended. They stay readable while this value lives.
#[async_trait]
pub trait ArtifactSource: Send + Sync {
    /// Paths relative to the working folder, sorted.
    fn paths(&self) -> &[String];

    /// Why other files are left out. Each entry is a sentence for the log.
    fn left_out(&self) -> &[String] {
        &[]
    }

    /// Opens one of them, to read it from its beginning. It may be opened more than once.
    async fn open(&self, path: &str) -> Result<ArtifactFile, ReadError>;
}

/// An artifact being read.
pub struct ArtifactFile {
    pub bytes: u64,
    pub executable: bool,
    /// Yields exactly `bytes` bytes in total, or an error.
    pub content: BoxStream<'static, Result<Bytes, ReadError>>,
}

/// Why a file could not be read. Its text is a phrase for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The source does not answer at the moment.
    #[error("{0}")]
    Away(String),
    /// The read broke off. A retry may succeed.
    #[error("{0}")]
    Broken(String),
    /// The file does not exist, or it must not be kept.
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

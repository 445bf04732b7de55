//! Reads stored files piece by piece: one artifact or upload, or all artifacts of an attempt as a
//! tar archive. However large they are, one piece is in memory.

use std::{io, mem, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use orchestra_contracts::{AttemptNo, ContentHash, JobId, files::Artifact};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError};

/// The size of a tar block, in bytes.
const BLOCK: usize = 512;

/// Why a response is cut off before the end of the file.
#[derive(Debug, thiserror::Error)]
pub enum CutOff {
    #[error("the master is shutting down")]
    ShuttingDown,
    #[error("it was deleted meanwhile")]
    Deleted,
    #[error("its path cannot stand in a tar archive: {0}")]
    Path(io::Error),
    #[error("the database cannot be used: {0}")]
    Store(#[from] StoreError),
}

/// The file to read.
#[derive(Clone, Debug)]
pub enum Content {
    Artifact(JobId, AttemptNo, String),
    Upload(ContentHash),
}

/// Access to stored files, with a permit to read.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) shutdown: CancellationToken,
    /// The permit, held while files are read.
    pub(crate) _place: Arc<OwnedSemaphorePermit>,
}

impl Files {
    pub(crate) fn of(self, content: Content) -> Reader {
        Reader { files: self, content }
    }
}

/// A reader of one file.
#[derive(Clone, Debug)]
pub struct Reader {
    files: Files,
    content: Content,
}

impl Reader {
    /// Streams the bytes in `range`.
    pub fn bytes(
        self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, CutOff>> + Send + 'static {
        stream::try_unfold((self, range), async |(reader, range)| {
            if range.is_empty() {
                return Ok(None);
            }
            let piece = reader.piece(&range).await.inspect_err(|error| {
                tracing::debug!(file = ?reader.content, %error, "a file is cut off");
            })?;
            let rest = range.start + piece.len() as u64..range.end;
            Ok(Some((piece, (reader, rest))))
        })
    }

    async fn piece(&self, range: &Range<u64>) -> Result<Bytes, CutOff> {
        let Files { store, shutdown, .. } = &self.files;
        if shutdown.is_cancelled() {
            return Err(CutOff::ShuttingDown);
        }
        let read = match &self.content {
            Content::Artifact(job, attempt, path) => {
                store.artifact_bytes(*job, *attempt, path, range.start)
            }
            Content::Upload(sha256) => store.upload_bytes(sha256, range.start),
        };
        let mut piece = read.await?.ok_or(CutOff::Deleted)?;
        piece.truncate(usize::try_from(range.end - range.start).unwrap_or(usize::MAX));
        Ok(piece)
    }
}

/// A reader of an attempt's artifacts.
#[derive(Clone, Debug)]
pub struct ArtifactReader {
    pub(crate) files: Files,
    pub(crate) job: JobId,
    pub(crate) attempt: AttemptNo,
}

impl ArtifactReader {
    /// A reader of one artifact.
    pub fn file(self, path: String) -> Reader {
        self.files.of(Content::Artifact(self.job, self.attempt, path))
    }

    /// Streams these artifacts as a tar archive, each with this modification time.
    pub fn archive(
        self,
        files: Vec<Artifact>,
        time: Timestamp,
    ) -> impl Stream<Item = Result<Bytes, CutOff>> + Send + 'static {
        let entry = move |file: Artifact| {
            let padding = (BLOCK - file.bytes as usize % BLOCK) % BLOCK;
            let padding = (padding > 0).then(|| Ok(Bytes::from(vec![0; padding])));
            let head = head(&file, time).map_err(CutOff::Path);
            let content = self.clone().file(file.path).bytes(0..file.bytes);
            stream::iter([head]).chain(content).chain(stream::iter(padding))
        };
        let end = Bytes::from(vec![0; 2 * BLOCK]);
        stream::iter(files).map(entry).flatten().chain(stream::iter([Ok(end)]))
    }
}

/// The tar header of a file. A long path takes more than one block.
fn head(file: &Artifact, time: Timestamp) -> io::Result<Bytes> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(file.bytes);
    header.set_mode(if file.executable { 0o755 } else { 0o644 });
    header.set_mtime(u64::try_from(time.as_second()).unwrap_or_default());
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, &file.path, io::empty())?;
    Ok(mem::take(builder.get_mut()).into())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_head_is_read_back_whatever_the_path() {
        let deep = "a/".repeat(120) + &"x".repeat(200);
        for path in ["a", "a b/ä", "-rf", "a\\b", "...", ".hidden/..x", &deep] {
            let file = Artifact {
                path: path.to_owned(),
                bytes: 3,
                sha256: String::new(),
                executable: true,
            };
            let mut bytes = head(&file, Timestamp::from_second(7).unwrap()).unwrap().to_vec();
            assert_eq!(bytes.len() % BLOCK, 0);
            bytes.extend(b"abc");
            bytes.resize(bytes.len() + 3 * BLOCK - 3, 0);
            let mut archive = tar::Archive::new(&*bytes);
            let mut entries = archive.entries().unwrap();
            let mut entry = entries.next().unwrap().unwrap();
            assert_eq!(entry.path().unwrap().to_str(), Some(path));
            assert_eq!(entry.header().mode().unwrap(), 0o755);
            assert_eq!(entry.header().mtime().unwrap(), 7);
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            assert_eq!(content, "abc");
        }
    }
}

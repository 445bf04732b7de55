//! Reads one file from the tar stream that the engine sends for it. The format is parsed with the
//! `tar` crate. No more than one piece of the file is in memory.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use tar::{EntryType, Header, PaxExtensions};

use super::engine::EngineError;
use crate::{
    config::JobUser,
    executor::artifacts::{ArtifactFile, ReadError},
};

/// The unit of a tar archive, in bytes.
const BLOCK: usize = 512;
/// Size limit, in bytes, for the records before a file: its long name, times with fractions.
const ABOUT: u64 = 64 << 10;

/// The first file of the archive, if this user may read it.
pub(super) async fn file_of(
    pieces: impl Stream<Item = Result<Bytes, EngineError>> + Send + Unpin + 'static,
    reader: JobUser,
) -> Result<ArtifactFile, ReadError> {
    let mut archive = Archive { pieces, buffer: BytesMut::new() };
    let mut size = None;
    let header = loop {
        let header = archive.header().await?;
        match header.entry_type() {
            EntryType::XHeader => {
                let about = archive.about(&header).await?;
                size = size_in(&about).or(size);
            }
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XGlobalHeader => {
                archive.about(&header).await?;
            }
            EntryType::Regular => break header,
            _ => return Err(ReadError::Unfit("it is not a file any more".to_owned())),
        }
    };
    let mode = header.mode().map_err(|error| garbled(&error))?;
    let owner = (header.uid().ok(), header.gid().ok());
    if !may_read(reader, owner, mode) {
        // The engine can read everything. It must not hand out what the job itself cannot read.
        return Err(ReadError::Unfit("the job's user cannot read it".to_owned()));
    }
    let bytes = match size {
        Some(size) => size,
        None => header.entry_size().map_err(|error| garbled(&error))?,
    };
    Ok(ArtifactFile {
        bytes,
        executable: mode & 0o111 != 0,
        content: archive.content(bytes).boxed(),
    })
}

/// The kernel's permission check, see `path_resolution(7)`.
fn may_read(reader: JobUser, owner: (Option<u64>, Option<u64>), mode: u32) -> bool {
    let (user, group) = (Some(u64::from(reader.uid)), Some(u64::from(reader.gid)));
    let right = match owner {
        (owner, _) if owner == user => 0o400,
        (_, owners) if owners == group => 0o040,
        _ => 0o004,
    };
    reader.uid == 0 || mode & right != 0
}

fn size_in(about: &[u8]) -> Option<u64> {
    let mut records = PaxExtensions::new(about).flatten();
    let record = records.find(|record| record.key_bytes() == b"size")?;
    record.value().ok()?.parse().ok()
}

fn garbled(error: &std::io::Error) -> ReadError {
    ReadError::Broken(format!("the engine's archive of it cannot be read: {error}"))
}

/// The engine ends the stream early if the size of the file changes during the read.
fn broke_off() -> ReadError {
    ReadError::Broken("it was written to while it was read".to_owned())
}

impl From<EngineError> for ReadError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotFound(_) => Self::Unfit("it is not there any more".to_owned()),
            error if error.is_absence() => Self::Away(error.to_string()),
            error => Self::Broken(error.to_string()),
        }
    }
}

struct Archive<S> {
    pieces: S,
    buffer: BytesMut,
}

impl<S: Stream<Item = Result<Bytes, EngineError>> + Send + Unpin + 'static> Archive<S> {
    /// The next `count` bytes. The count must be small.
    async fn take(&mut self, count: usize) -> Result<BytesMut, ReadError> {
        while self.buffer.len() < count {
            let piece = self.pieces.next().await.ok_or_else(broke_off)??;
            self.buffer.extend_from_slice(&piece);
        }
        Ok(self.buffer.split_to(count))
    }

    async fn header(&mut self) -> Result<Header, ReadError> {
        let block = self.take(BLOCK).await?;
        let header = Header::from_byte_slice(&block).clone();
        if block.iter().all(|byte| *byte == 0) || header.cksum().ok() != Some(sum_of(&block)) {
            return Err(ReadError::Broken("the engine's archive of it is no archive".to_owned()));
        }
        Ok(header)
    }

    /// The record before a file that describes it.
    async fn about(&mut self, header: &Header) -> Result<BytesMut, ReadError> {
        let size = header.entry_size().map_err(|error| garbled(&error))?;
        if size > ABOUT {
            return Err(ReadError::Broken("the engine's archive of it is no archive".to_owned()));
        }
        let mut about = self.take(size as usize + padding(size)).await?;
        about.truncate(size as usize);
        Ok(about)
    }

    /// The next `bytes` bytes as they arrive, then a check that the archive ends there.
    fn content(self, bytes: u64) -> impl Stream<Item = Result<Bytes, ReadError>> + Send {
        stream::try_unfold((self, bytes), move |(mut archive, left)| async move {
            if left == 0 {
                let end = archive.take(padding(bytes) + BLOCK).await?;
                // More data from the file, where the archive should end.
                return if end.iter().all(|byte| *byte == 0) { Ok(None) } else { Err(broke_off()) };
            }
            if archive.buffer.is_empty() {
                let piece = archive.pieces.next().await.ok_or_else(broke_off)??;
                archive.buffer.extend_from_slice(&piece);
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(archive.buffer.len());
            let piece = archive.buffer.split_to(most).freeze();
            let left = left - piece.len() as u64;
            Ok(Some((piece, (archive, left))))
        })
    }
}

/// Bytes up to the next block.
fn padding(size: u64) -> usize {
    (BLOCK - size as usize % BLOCK) % BLOCK
}

/// The checksum of a header, with blanks in place of the checksum field.
fn sum_of(block: &[u8]) -> u32 {
    let sum = 148..156;
    let byte = |(at, byte): (usize, &u8)| if sum.contains(&at) { 32 } else { u32::from(*byte) };
    block.iter().enumerate().map(byte).sum()
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use rstest::rstest;

    use super::*;

    const READER: JobUser = JobUser { uid: 1000, gid: 100 };

    /// The archive that an engine sends for a file.
    fn archive(kind: EntryType, mode: u32, (uid, gid): (u64, u64), content: &[u8]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let records: [(&str, &[u8]); 2] = [("mtime", b"1.5"), ("path", &[b'x'; 300])];
        builder.append_pax_extensions(records).unwrap();
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_size(content.len() as u64);
        header.set_path("short").unwrap();
        header.set_cksum();
        builder.append(&header, content).unwrap();
        builder.into_inner().unwrap()
    }

    fn in_pieces(
        bytes: &[u8],
        size: usize,
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + Unpin + 'static + use<> {
        let pieces: Vec<_> = bytes.chunks(size).map(Bytes::copy_from_slice).map(Ok).collect();
        stream::iter(pieces)
    }

    async fn read(bytes: &[u8], size: usize) -> Result<Vec<u8>, ReadError> {
        let file = file_of(in_pieces(bytes, size), READER).await?;
        let pieces: Vec<Bytes> = file.content.try_collect().await?;
        let content = pieces.concat();
        assert_eq!(content.len() as u64, file.bytes);
        Ok(content)
    }

    fn plain(content: &[u8]) -> Vec<u8> {
        archive(EntryType::Regular, 0o644, (1000, 100), content)
    }

    #[rstest]
    #[tokio::test]
    async fn a_file_arrives_whole_however_the_stream_is_cut(
        #[values(1, 511, 512, 5000, 1 << 20)] size: usize,
        #[values(0, 1, 512, 1300)] length: usize,
    ) {
        let content: Vec<u8> = (0..length).map(|n| n as u8).collect();
        assert_eq!(read(&plain(&content), size).await.unwrap(), content);
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_or_longer_is_noticed() {
        let all = plain(&[7; 1300]);
        let (content, padded) = (1300, 1536);
        let begin = all.len() - padded - 1024;
        for end in [begin, begin + 1, begin + content - 1, begin + content, begin + padded] {
            let broken = read(&all[..end], 400).await.unwrap_err();
            assert_eq!(broken, broke_off(), "cut at {end}");
        }
        let mut longer = all.clone();
        longer[begin + content] = 7;
        assert_eq!(read(&longer, 400).await.unwrap_err(), broke_off());
        assert_eq!(read(&all[..begin + padded + 512], 400).await.unwrap().len(), content);
    }

    #[rstest]
    #[case::link(EntryType::Symlink)]
    #[case::twin(EntryType::Link)]
    #[case::pipe(EntryType::Fifo)]
    #[case::device(EntryType::Char)]
    #[case::folder(EntryType::Directory)]
    #[tokio::test]
    async fn what_is_no_file_is_refused(#[case] kind: EntryType) {
        let error = read(&archive(kind, 0o644, (1000, 100), b""), 512).await.unwrap_err();
        assert_eq!(error, ReadError::Unfit("it is not a file any more".to_owned()));
    }

    #[rstest]
    #[case::its_own(0o400, (1000, 5), true)]
    #[case::its_own_and_shut(0o044, (1000, 100), false)]
    #[case::of_its_group(0o040, (5, 100), true)]
    #[case::of_its_group_and_shut(0o404, (5, 100), false)]
    #[case::of_all(0o004, (0, 0), true)]
    #[case::of_root_alone(0o600, (0, 0), false)]
    #[tokio::test]
    async fn what_the_job_cannot_read_is_refused(
        #[case] mode: u32,
        #[case] owner: (u64, u64),
        #[case] readable: bool,
    ) {
        let read = read(&archive(EntryType::Regular, mode, owner, b"x"), 512).await;
        assert_eq!(read.is_ok(), readable, "{read:?}");
    }

    #[tokio::test]
    async fn what_is_no_archive_is_refused() {
        for bytes in [&b""[..], b"short", &[0; 2048], &[7; 2048]] {
            assert!(matches!(read(bytes, 512).await, Err(ReadError::Broken(_))), "{bytes:?}");
        }
    }
}

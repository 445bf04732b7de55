//! Uploads the artifacts of an attempt to the master: one after the other, each read once and sent
//! in pieces, every byte exactly once.
//!
//! Like the log upload, it never gives up on a master that does not answer: the lease decides that.
//! A file that cannot be kept is left out, and the job's log says why.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use orchestra_client::{Backoff, ClientError};
use orchestra_contracts::{
    ProblemKind, WorkerName,
    files::Artifact,
    worker::{ARTIFACT_PIECE, LeaseRef},
};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use crate::{
    clock,
    executor::{
        artifacts::{ArtifactSource, ReadError},
        line_at,
    },
    master::{Link, Master, is_lease_lost},
    outbox::Outbox,
};

/// The most passes over a file, each from its beginning.
const READS: u32 = 4;
/// How long to wait for an engine that does not answer.
const AWAY: Duration = Duration::from_mins(2);
/// The most left-out files that the log names.
const NAMED: usize = 20;

type Hash = sha2::digest::Output<Sha256>;

/// The attempt no longer belongs to this worker.
#[derive(Debug)]
pub(crate) struct LeaseLost;

/// Uploads the artifacts of one attempt.
pub(crate) struct ArtifactUploader<'a> {
    pub(crate) master: &'a dyn Master,
    pub(crate) link: &'a Link,
    pub(crate) worker: &'a WorkerName,
    pub(crate) lease: &'a LeaseRef,
    pub(crate) log: &'a Outbox,
}

/// Why a pass over a file did not produce an artifact.
enum Fault {
    LeaseLost,
    /// Permanent. The text is a phrase for the log.
    LeftOut(String),
    /// Another pass from the beginning may succeed.
    Again(String),
    /// The same, once its engine answers again.
    Away(String),
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Away(reason) => Self::Away(reason),
            ReadError::Broken(reason) => Self::Again(reason),
            ReadError::Unfit(reason) => Self::LeftOut(reason),
        }
    }
}

/// What the master has of a file, as far as known.
#[derive(Default)]
struct Stored {
    /// The offset at which it wants more; `None` before its first answer.
    offset: Option<u64>,
    /// How many bytes from the beginning were sent, and their hash.
    beginning: Option<(u64, Hash)>,
}

impl ArtifactUploader<'_> {
    /// Uploads all artifacts, and returns those stored completely, for the end report.
    pub(crate) async fn store(
        &self,
        artifacts: &dyn ArtifactSource,
    ) -> Result<Vec<Artifact>, LeaseLost> {
        let mut stored = Vec::new();
        let mut left_out: Vec<_> = artifacts.left_out().to_vec();
        for path in artifacts.paths() {
            match self.bring(artifacts, path).await {
                Ok(artifact) => stored.push(artifact),
                Err(Fault::LeaseLost) => return Err(LeaseLost),
                Err(Fault::LeftOut(why) | Fault::Again(why) | Fault::Away(why)) => {
                    left_out.push(format!("{path}: {why}"));
                }
            }
        }
        for why in left_out.iter().take(NAMED) {
            self.note(&format!("left out of the artifacts: {why}")).await;
        }
        if let Some(more @ 1..) = left_out.len().checked_sub(NAMED) {
            self.note(&format!("left out of the artifacts: {more} more")).await;
        }
        Ok(stored)
    }

    async fn note(&self, text: &str) {
        self.log.push(line_at(clock::wall_micros(), text)).await;
    }

    /// Uploads one file, and reads it again if that may help.
    async fn bring(&self, artifacts: &dyn ArtifactSource, path: &str) -> Result<Artifact, Fault> {
        let (mut stored, mut backoff) = (Stored::default(), Backoff::default());
        let (mut reads, begun) = (0, Instant::now());
        loop {
            let fault = match self.read_through(artifacts, path, &mut stored).await {
                Ok(artifact) => return Ok(artifact),
                Err(fault) => fault,
            };
            match &fault {
                Fault::Again(_) => reads += 1,
                Fault::Away(_) if begun.elapsed() < AWAY => {}
                _ => return Err(fault),
            }
            if reads == READS {
                return Err(fault);
            }
            sleep(backoff.next()).await;
        }
    }

    /// Reads the file from its beginning, and sends what is not stored yet.
    async fn read_through(
        &self,
        artifacts: &dyn ArtifactSource,
        path: &str,
        stored: &mut Stored,
    ) -> Result<Artifact, Fault> {
        let mut file = artifacts.open(path).await?;
        let (mut hash, mut sent) = (Sha256::new(), 0);
        let mut piece = BytesMut::new();
        loop {
            let next = file.content.next().await.transpose()?;
            let ended = next.is_none();
            let mut rest = next.unwrap_or_default();
            // Pieces begin at the same offsets in every pass.
            while !rest.is_empty() || ended {
                let room = ARTIFACT_PIECE - piece.len();
                piece.extend_from_slice(&rest.split_to(room.min(rest.len())));
                if piece.len() == ARTIFACT_PIECE || (ended && (!piece.is_empty() || sent == 0)) {
                    let whole = piece.split().freeze();
                    let end = sent + whole.len() as u64;
                    stored.take_in(&mut hash, sent, &whole)?;
                    self.send(path, sent, whole, stored).await?;
                    stored.sent_to(end, &hash);
                    sent = end;
                }
                if ended {
                    break;
                }
            }
            if ended {
                break;
            }
        }
        if stored.offset != Some(sent) {
            return Err(Fault::LeftOut("it became shorter after it was read".to_owned()));
        }
        let sha256 = hex::encode(hash.finalize());
        Ok(Artifact { path: path.to_owned(), bytes: sent, sha256, executable: file.executable })
    }

    /// Sends the part of this piece that is not stored yet. The piece begins at `at`.
    async fn send(
        &self,
        path: &str,
        at: u64,
        piece: Bytes,
        stored: &mut Stored,
    ) -> Result<(), Fault> {
        let end = at + piece.len() as u64;
        loop {
            let from = stored.offset.unwrap_or(at).max(at);
            if stored.offset.is_some_and(|offset| offset >= end) {
                return Ok(());
            }
            let rest = piece.slice((from - at) as usize..);
            let offset = self.append(path, from, rest).await?;
            let before = stored.offset.replace(offset);
            if offset < at || (before == Some(offset) && offset < end) {
                return Err(Fault::Again("the master lost a part of it".to_owned()));
            }
        }
    }

    /// Repeats the call until the master answers with the offset of the next piece.
    async fn append(&self, path: &str, offset: u64, piece: Bytes) -> Result<u64, Fault> {
        let mut backoff = Backoff::default();
        loop {
            let (worker, lease) = (self.worker, self.lease);
            let sent =
                self.master.append_artifact(worker, lease, path, offset, piece.clone()).await;
            self.link.note(&sent);
            match sent {
                Ok(head) => return Ok(head.offset),
                Err(error) if is_lease_lost(&error) => return Err(Fault::LeaseLost),
                Err(error) if error.is_temporary() => sleep(backoff.next()).await,
                Err(ClientError::Refused(problem))
                    if problem.kind == ProblemKind::ArtifactOffset =>
                {
                    let head = problem.artifact.map(|head| head.offset);
                    return head.ok_or_else(|| Fault::LeftOut(problem.to_string()));
                }
                Err(error) => return Err(Fault::LeftOut(error.to_string())),
            }
        }
    }
}

impl Stored {
    /// Adds a piece to the hash of everything before it. The part that an earlier pass has sent
    /// must be unchanged.
    fn take_in(&self, hash: &mut Sha256, at: u64, piece: &[u8]) -> Result<(), Fault> {
        let end = at + piece.len() as u64;
        let Some((length, before)) = self.beginning.filter(|it| at < it.0 && it.0 <= end) else {
            hash.update(piece);
            return Ok(());
        };
        let (known, new) = piece.split_at((length - at) as usize);
        hash.update(known);
        if hash.clone().finalize() != before {
            return Err(Fault::LeftOut("it was written to while it was read".to_owned()));
        }
        hash.update(new);
        Ok(())
    }

    fn sent_to(&mut self, end: u64, hash: &Sha256) {
        if self.beginning.is_none_or(|(length, _)| length < end) {
            self.beginning = Some((end, hash.clone().finalize()));
        }
    }
}

#[cfg(test)]
mod tests;

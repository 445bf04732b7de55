//! Artifacts.

use std::collections::BTreeMap;

use bytes::Bytes;
use orchestra_contracts::{
    AttemptNo, JobId,
    files::{Artifact, Changes},
    worker::ArtifactHead,
};

use super::tables::Tables;
use crate::{
    domain::AttemptResults,
    store::{
        ArtifactPiece, PieceStored,
        artifact::{ArtifactTotals, PiecePlace, Running, place},
    },
};

/// An attempt's files by path, and what its worker said of the others.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<String, File>,
    changes: Option<Changes>,
}

#[derive(Debug, Default)]
struct File {
    content: Vec<u8>,
    hash: Running,
    /// Since the attempt ended with it.
    shown: Option<Artifact>,
}

impl Files {
    fn totals(&self) -> ArtifactTotals {
        let bytes = self.files.values().map(|file| file.content.len() as u64).sum();
        ArtifactTotals { files: self.files.len() as u64, bytes }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.totals().bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn drop_all(&mut self) {
        self.files.clear();
    }

    fn add(&mut self, piece: &ArtifactPiece) -> PieceStored {
        let stored = self.files.get(&piece.path).map(|file| file.content.len() as u64);
        let known = match place(piece, stored, self.totals()) {
            PiecePlace::Known(head) => return PieceStored::Stored(head),
            PiecePlace::Misplaced(head) => return PieceStored::Misplaced(head),
            PiecePlace::OverLimit(exceeded) => {
                self.files.remove(&piece.path);
                return PieceStored::OverLimit(exceeded);
            }
            PiecePlace::New(known) => known,
        };
        let file = self.files.entry(piece.path.clone()).or_default();
        file.content.extend_from_slice(&piece.content[known..]);
        file.hash.add(&piece.content[known..]);
        PieceStored::Stored(ArtifactHead { offset: file.content.len() as u64 })
    }

    /// As the machine has to know it before it decides on the end.
    pub(super) fn compare(&self, results: AttemptResults) -> AttemptResults {
        results.compared(|path| {
            let file = self.files.get(path)?;
            Some((file.content.len() as u64, file.hash.clone().end()))
        })
    }

    pub(super) fn end(&mut self, results: AttemptResults) {
        for artifact in results.artifacts {
            if let Some(file) = self.files.get_mut(&artifact.path) {
                file.shown = Some(artifact);
            }
        }
        self.files.retain(|_, file| file.shown.is_some());
        self.changes = results.changes.map(|changes| *changes);
    }
}

impl Tables {
    pub(super) fn append_artifact(&mut self, piece: &ArtifactPiece) -> PieceStored {
        let Some(entry) = self.jobs.get_mut(&piece.job) else { return PieceStored::NoSuchJob };
        let keeps = !entry.job.spec.artifacts.is_empty();
        let proof = &piece.proof;
        let names_it = proof.attempt.is_none_or(|attempt| attempt == piece.attempt);
        let held = entry.held_as(&proof.worker, piece.attempt, &proof.token).is_some();
        match entry.attempts.last_mut().filter(|_| held && names_it) {
            None => PieceStored::LeaseLost,
            Some(_) if !keeps => PieceStored::KeepsNone,
            Some(kept) => kept.files.add(piece),
        }
    }

    pub(super) fn artifacts(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: Option<&str>,
    ) -> Vec<Artifact> {
        let files = self.kept(id, attempt).into_iter().flat_map(|kept| kept.files.files.values());
        let wanted = |artifact: &Artifact| path.is_none_or(|path| path == artifact.path);
        files.filter_map(|file| file.shown.clone()).filter(wanted).collect()
    }

    pub(super) fn artifact_bytes(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: &str,
        offset: u64,
    ) -> Option<Bytes> {
        let file = self.kept(id, attempt)?.files.files.get(path)?;
        let rest = file.content.get(usize::try_from(offset).ok()?..)?;
        (!rest.is_empty()).then(|| Bytes::copy_from_slice(rest))
    }

    pub(super) fn changes(&self, id: JobId, attempt: AttemptNo) -> Option<Changes> {
        self.kept(id, attempt)?.files.changes.clone()
    }
}

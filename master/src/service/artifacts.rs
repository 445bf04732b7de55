//! Artifacts: workers upload them, people list and fetch them.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use orchestra_contracts::{
    Attempt, AttemptNo, FieldError, JobId, LeaseToken, WorkerName,
    files::{Artifact, Artifacts, AttemptChanges, Changes, is_path},
    limits,
    worker::{ArtifactHead, JobUpdate},
};

use super::{Service, ServiceError};
use crate::{
    domain::{AttemptResults, Proof, Refusal},
    live::{ArtifactReader, Files},
    store::{ArtifactPiece, PieceStored},
};

/// A piece of an artifact, and its sender.
#[derive(Clone, Debug)]
pub struct PieceUpload {
    pub job: JobId,
    pub attempt: AttemptNo,
    pub worker: WorkerName,
    /// Defaults to the worker's name, see [`LeaseToken::of_name`].
    pub token: Option<LeaseToken>,
    pub path: String,
    pub offset: u64,
    pub content: Bytes,
}

impl Service {
    /// Stores a piece of a file, once. Returns how much of the file is stored now.
    pub async fn append_artifact(&self, piece: PieceUpload) -> Result<ArtifactHead, ServiceError> {
        let PieceUpload { job, attempt, worker, token, path, offset, content } = piece;
        if !is_path(&path) {
            return Err(ServiceError::NotAPath(path));
        }
        let token = token.unwrap_or_else(|| LeaseToken::of_name(&worker));
        let proof = Proof { worker, token, attempt: Some(attempt) };
        let limit = self.settings.artifacts_limit;
        let piece = ArtifactPiece { job, attempt, proof, path, offset, content, limit };
        match self.metrics.stored("append_artifact", self.store.append_artifact(piece)).await? {
            PieceStored::Stored(head) => Ok(head),
            PieceStored::Misplaced(head) => Err(ServiceError::ArtifactOffset(head)),
            PieceStored::OverLimit(exceeded) => {
                Err(ServiceError::ArtifactOverLimit { exceeded, limit })
            }
            PieceStored::KeepsNone => Err(ServiceError::NoUpload(job)),
            PieceStored::LeaseLost => {
                self.stale.artifact();
                Err(Refusal::LeaseLost.into())
            }
            PieceStored::NoSuchJob => Err(ServiceError::NoSuchJob(job)),
        }
    }

    /// The artifacts of this attempt, or of the last that has ended.
    pub async fn artifacts(
        &self,
        id: JobId,
        attempt: Option<AttemptNo>,
    ) -> Result<(Artifacts, Attempt), ServiceError> {
        let attempt = self.keeping(id, attempt).await?;
        let artifacts = self.store.artifacts(id, attempt.number, None).await?;
        Ok((Artifacts { attempt: attempt.number, artifacts }, attempt))
    }

    /// One artifact.
    pub async fn artifact(
        &self,
        id: JobId,
        attempt: Option<AttemptNo>,
        path: &str,
    ) -> Result<(AttemptNo, Artifact), ServiceError> {
        let number = self.keeping(id, attempt).await?.number;
        let found = self.store.artifacts(id, number, Some(path)).await?.pop();
        let found = found.ok_or_else(|| ServiceError::NoSuchArtifact(id, number, path.to_owned()));
        Ok((number, found?))
    }

    /// Returns a reader of an attempt's artifacts.
    ///
    /// # Errors
    /// [`ServiceError::Crowded`] when the limit on readers is reached.
    pub fn artifact_reader(
        &self,
        job: JobId,
        attempt: AttemptNo,
    ) -> Result<ArtifactReader, ServiceError> {
        Ok(ArtifactReader { files: self.files()?, job, attempt })
    }

    pub(super) fn files(&self) -> Result<Files, ServiceError> {
        let (store, shutdown) = (self.store.clone(), self.shutdown.clone());
        Ok(Files { store, shutdown, _place: Arc::new(self.place()?) })
    }

    /// What an attempt's command did to the files in its folder.
    pub async fn changes(
        &self,
        id: JobId,
        attempt: Option<AttemptNo>,
    ) -> Result<AttemptChanges, ServiceError> {
        self.find(id).await?;
        let attempt = self.ended(id, attempt).await?.number;
        let changes = self.store.changes(id, attempt).await?;
        let changes = changes.ok_or(ServiceError::NoChanges(id, attempt))?;
        Ok(AttemptChanges { attempt, changes })
    }

    /// Finds the attempt, of a job that asks for artifacts.
    async fn keeping(
        &self,
        id: JobId,
        attempt: Option<AttemptNo>,
    ) -> Result<Attempt, ServiceError> {
        let job = self.find(id).await?;
        if job.spec.artifacts.is_empty() {
            return Err(ServiceError::KeepsNone(id));
        }
        self.ended(id, attempt).await
    }

    async fn ended(&self, id: JobId, wanted: Option<AttemptNo>) -> Result<Attempt, ServiceError> {
        let mut attempts = self.store.attempts(id).await?;
        let Some(wanted) = wanted else {
            attempts.retain(|attempt| attempt.finished_at.is_some());
            return attempts.pop().ok_or(ServiceError::NoneEnded(id));
        };
        let attempt = attempts.into_iter().find(|attempt| attempt.number == wanted);
        match attempt.ok_or(ServiceError::NoSuchAttempt(id, wanted))? {
            attempt if attempt.finished_at.is_none() => Err(ServiceError::NotEnded(id, wanted)),
            attempt => Ok(attempt),
        }
    }
}

/// The artifacts and changes of a report, checked.
pub(super) fn results(update: &JobUpdate) -> Result<AttemptResults, ServiceError> {
    let mut errors = check(&update.artifacts);
    errors.extend(update.changes.as_deref().into_iter().flat_map(check_changes));
    if !errors.is_empty() {
        return Err(ServiceError::Invalid(errors));
    }
    let (artifacts, changes) = (update.artifacts.clone(), update.changes.clone());
    Ok(AttemptResults { artifacts, changes, ran: update.ran.clone(), missing: None })
}

fn check(artifacts: &[Artifact]) -> Vec<FieldError> {
    let error = |pointer: String, detail: &str| FieldError { pointer, detail: detail.to_owned() };
    if artifacts.len() > limits::ARTIFACTS {
        let detail = format!("has more than {} entries", limits::ARTIFACTS);
        return vec![error("/artifacts".to_owned(), &detail)];
    }
    let hexadecimal = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    let (mut errors, mut paths) = (Vec::new(), BTreeSet::new());
    for (place, Artifact { path, sha256, .. }) in artifacts.iter().enumerate() {
        if !is_path(path) {
            let detail = "is not a path below the working folder";
            errors.push(error(format!("/artifacts/{place}/path"), detail));
        } else if !paths.insert(path) {
            errors.push(error(format!("/artifacts/{place}/path"), "stands there twice"));
        }
        if sha256.len() != 64 || !sha256.bytes().all(hexadecimal) {
            let detail = "is not a SHA-256 in 64 lower-case hexadecimal digits";
            errors.push(error(format!("/artifacts/{place}/sha256"), detail));
        }
    }
    errors.truncate(SHOWN);
    errors
}

/// At most so many wrong fields are listed.
const SHOWN: usize = 10;

fn check_changes(changes: &Changes) -> impl Iterator<Item = FieldError> {
    let Changes { created, modified, deleted, .. } = changes;
    let lists = [("created", created), ("modified", modified), ("deleted", deleted)];
    let long = lists.into_iter().filter(|(_, paths)| paths.len() > limits::CHANGES);
    long.map(|(name, _)| FieldError {
        pointer: format!("/changes/{name}"),
        detail: format!("has more than {} entries", limits::CHANGES),
    })
}

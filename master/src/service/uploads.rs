//! Uploads: files that arrive before the jobs that use them.

use bytes::Bytes;
use orchestra_contracts::{ContentHash, FieldError, JobSpec, Upload};

use super::{Service, ServiceError};
use crate::{
    live::{Content, Reader},
    store::{UploadPiece, UploadStored},
};

impl Service {
    /// Stores a piece of an upload, once. Returns how much of it is stored now.
    pub async fn append_upload(
        &self,
        sha256: ContentHash,
        offset: u64,
        content: Bytes,
    ) -> Result<Upload, ServiceError> {
        let (limit, now) = (self.settings.upload_limit, self.clock.now());
        let piece = UploadPiece { sha256, offset, content, limit, now };
        match self.store.append_upload(piece).await? {
            UploadStored::Stored(upload) => Ok(upload),
            UploadStored::Misplaced(end) => Err(ServiceError::UploadOffset(end)),
            UploadStored::OverLimit => Err(ServiceError::UploadOverLimit(limit)),
        }
    }

    /// The size of a complete upload, in bytes.
    pub async fn upload(&self, sha256: &ContentHash) -> Result<u64, ServiceError> {
        let found = self.store.upload(sha256).await?;
        found.ok_or_else(|| ServiceError::NoSuchUpload(sha256.clone()))
    }

    /// Returns a reader of an upload.
    ///
    /// # Errors
    /// [`ServiceError::Crowded`] when the limit on readers is reached.
    pub fn upload_reader(&self, sha256: ContentHash) -> Result<Reader, ServiceError> {
        Ok(self.files()?.of(Content::Upload(sha256)))
    }

    /// Drops uploads that no job uses any more. Returns how many.
    pub async fn forget_uploads(&self) -> Result<usize, ServiceError> {
        Ok(self.store.forget_uploads(self.clock.now()).await?)
    }
}

/// Errors for uploads that jobs name and that do not exist.
pub(super) fn missing(specs: &[JobSpec], missing: &[ContentHash]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (place, spec) in specs.iter().enumerate() {
        for (number, file) in spec.files.iter().enumerate() {
            if file.upload.as_ref().is_some_and(|upload| missing.contains(upload)) {
                let pointer = format!("/{place}/files/{number}/upload");
                let detail = "is not there, or not whole: bring it first, with PUT to /api/upload/";
                errors.push(FieldError { pointer, detail: detail.to_owned() });
            }
        }
    }
    errors
}
